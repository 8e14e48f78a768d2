//! `GET /v1/duties`

use keystone_audit::routes::get_duties::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
