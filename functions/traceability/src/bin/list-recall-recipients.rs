//! `GET /v1/recalls/{id}/recipients`

use keystone_traceability::routes::list_recall_recipients::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
