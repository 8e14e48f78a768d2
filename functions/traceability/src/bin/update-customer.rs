//! `PATCH /v1/customers/{id}`

use keystone_traceability::routes::update_customer::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
