//! `POST /v1/customers/{id}/erase`

use keystone_traceability::routes::erase_customer::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
