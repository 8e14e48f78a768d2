//! `GET /openapi.json`

use keystone_operations::routes::openapi::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve_public(&ROUTE, &[], handle).await
}
