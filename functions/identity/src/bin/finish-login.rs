//! `POST /v1/auth/mfa`

use keystone_identity::routes::finish_login::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve_public(&ROUTE, &SETTINGS, handle).await
}
