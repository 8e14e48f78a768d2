//! `POST /v1/audit/checkpoints`

use keystone_audit::routes::create_audit_checkpoint::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
