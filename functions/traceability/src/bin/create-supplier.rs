//! `POST /v1/suppliers`

use keystone_traceability::routes::create_supplier::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
