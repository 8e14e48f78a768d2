//! `POST /v1/auth/password`

use keystone_identity::routes::change_password::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
