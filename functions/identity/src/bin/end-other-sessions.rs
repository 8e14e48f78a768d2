//! `DELETE /v1/auth/sessions`

use keystone_identity::routes::end_other_sessions::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
