//! `POST /v1/recalls/{id}/close`

use keystone_traceability::routes::close_recall::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
