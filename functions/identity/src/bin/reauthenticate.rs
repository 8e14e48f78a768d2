//! `POST /v1/auth/reauthenticate`

use keystone_identity::routes::reauthenticate::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
