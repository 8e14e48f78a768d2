//! `DELETE /v1/auth/sessions/{id}`

use keystone_identity::routes::end_session::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
