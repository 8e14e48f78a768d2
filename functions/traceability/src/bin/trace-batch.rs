//! `GET /v1/batches/{id}/trace`

use keystone_traceability::routes::trace_batch::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
