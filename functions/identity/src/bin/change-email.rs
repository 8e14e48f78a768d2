//! `POST /v1/auth/email/confirm`

use keystone_identity::routes::change_email::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve_public(&ROUTE, &SETTINGS, handle).await
}
