//! `POST /v1/auth/password-reset/confirm`

use keystone_identity::routes::reset_password::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve_public(&ROUTE, &SETTINGS, handle).await
}
