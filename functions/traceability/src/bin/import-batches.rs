//! `POST /v1/imports/batches`

use keystone_traceability::routes::import_batches::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
