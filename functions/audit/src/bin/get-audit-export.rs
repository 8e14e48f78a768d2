//! `GET /v1/audit/exports/{id}`

use keystone_audit::routes::get_audit_export::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
