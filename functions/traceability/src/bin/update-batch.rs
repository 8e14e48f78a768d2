//! `PATCH /v1/batches/{id}`

use keystone_traceability::routes::update_batch::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
