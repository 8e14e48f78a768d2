//! `PATCH /v1/sites/{id}`

use keystone_traceability::routes::update_site::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
