//! `GET /v1/capture/{id}`

use keystone_traceability::routes::get_capture::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
