//! `GET /v1/audit/exports`

use keystone_audit::routes::list_audit_exports::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
