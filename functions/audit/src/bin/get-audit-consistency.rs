//! `GET /v1/audit/consistency`

use keystone_audit::routes::get_audit_consistency::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
