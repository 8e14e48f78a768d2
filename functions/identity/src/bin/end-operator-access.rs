//! `POST /v1/operator-accesses/{id}/end`

use keystone_identity::routes::end_operator_access::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
