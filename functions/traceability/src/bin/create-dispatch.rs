//! `POST /v1/dispatches`

use keystone_traceability::routes::create_dispatch::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
