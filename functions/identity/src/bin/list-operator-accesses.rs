//! `GET /v1/operator-accesses`

use keystone_identity::routes::list_operator_accesses::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
