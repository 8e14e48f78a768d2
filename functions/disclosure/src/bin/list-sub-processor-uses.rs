//! `GET /v1/sub-processors`

use keystone_disclosure::routes::list_sub_processor_uses::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
