//! `POST /v1/imports/dispatches`

use keystone_traceability::routes::import_dispatches::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
