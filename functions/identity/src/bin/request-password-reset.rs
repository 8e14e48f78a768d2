//! `POST /v1/auth/password-reset`

use keystone_identity::routes::request_password_reset::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve_public(&ROUTE, &SETTINGS, handle).await
}
