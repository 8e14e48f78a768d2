//! `POST /v1/mfa/totp/activate`

use keystone_identity::routes::activate_totp::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
