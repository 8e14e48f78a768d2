//! `DELETE /v1/mfa/totp`

use keystone_identity::routes::remove_totp::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
