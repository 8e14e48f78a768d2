//! `POST /v1/recalls/{id}/pack`

use keystone_traceability::routes::make_recall_pack::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
