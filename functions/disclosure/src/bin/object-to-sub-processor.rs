//! `POST /v1/sub-processor-changes/{id}/objection`

use keystone_disclosure::routes::object_to_sub_processor::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
