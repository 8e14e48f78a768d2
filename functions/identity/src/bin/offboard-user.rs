//! `POST /v1/users/{id}/offboard`

use keystone_identity::routes::offboard_user::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
