//! `GET /v1/audit/{seq}`

use keystone_audit::routes::get_audit_entry::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
