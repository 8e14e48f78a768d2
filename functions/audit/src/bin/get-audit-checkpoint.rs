//! `GET /v1/audit/checkpoint`

use keystone_audit::routes::get_audit_checkpoint::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
