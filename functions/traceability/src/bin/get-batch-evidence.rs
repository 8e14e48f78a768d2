//! `GET /v1/batches/{id}/article-18`

use keystone_traceability::routes::get_batch_evidence::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
