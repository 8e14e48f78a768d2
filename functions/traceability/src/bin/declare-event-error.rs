//! `POST /v1/events/{id}/error-declaration`

use keystone_traceability::routes::declare_event_error::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
