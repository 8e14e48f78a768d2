//! `POST /v1/events/{id}/status`

use keystone_traceability::routes::set_event_status::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
