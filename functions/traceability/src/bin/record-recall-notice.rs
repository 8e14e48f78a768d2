//! `POST /v1/recalls/{id}/notices`

use keystone_traceability::routes::record_recall_notice::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
