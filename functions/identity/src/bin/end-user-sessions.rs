//! `DELETE /v1/users/{id}/sessions`

use keystone_identity::routes::end_user_sessions::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
