//! `GET /v1/recalls/{id}`

use keystone_traceability::routes::get_recall::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
