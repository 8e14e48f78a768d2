//! `GET /v1/health`

use keystone_operations::routes::health::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve_public(&ROUTE, &[], handle).await
}
