//! `POST /v1/suppliers/{id}/erase`

use keystone_traceability::routes::erase_supplier::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
