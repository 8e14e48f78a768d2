//! `GET /v1/audit/{seq}/proof`

use keystone_audit::routes::get_audit_proof::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
