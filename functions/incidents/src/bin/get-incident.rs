//! `GET /v1/incidents/{id}`

use keystone_incidents::routes::get_incident::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
