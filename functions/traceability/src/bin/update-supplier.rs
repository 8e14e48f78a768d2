//! `PATCH /v1/suppliers/{id}`

use keystone_traceability::routes::update_supplier::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
