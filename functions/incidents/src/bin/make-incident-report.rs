//! `POST /v1/incidents/{id}/report`

use keystone_incidents::routes::make_incident_report::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
