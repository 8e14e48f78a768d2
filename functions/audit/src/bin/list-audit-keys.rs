//! `GET /v1/trust/audit-keys`

use keystone_audit::routes::list_audit_keys::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve_public(&ROUTE, &SETTINGS, handle).await
}
