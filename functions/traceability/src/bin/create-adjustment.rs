//! `POST /v1/adjustments`

use keystone_traceability::routes::create_adjustment::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
