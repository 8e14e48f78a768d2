//! `GET /v1/audit/reviews`

use keystone_audit::routes::list_audit_reviews::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
