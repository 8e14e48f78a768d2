//! `GET /v1/events/{id}/history`

use keystone_traceability::routes::get_event_history::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
