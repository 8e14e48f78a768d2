//! `GET /v1/sub-processor-changes`

use keystone_disclosure::routes::list_sub_processor_changes::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
