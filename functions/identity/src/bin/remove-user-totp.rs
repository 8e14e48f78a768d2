//! `DELETE /v1/users/{id}/totp`

use keystone_identity::routes::remove_user_totp::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
