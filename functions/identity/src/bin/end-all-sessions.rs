//! `POST /v1/tenant/end-sessions`

use keystone_identity::routes::end_all_sessions::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
