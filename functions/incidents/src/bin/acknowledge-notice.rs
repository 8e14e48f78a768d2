//! `POST /v1/notices/{id}/acknowledgement`

use keystone_incidents::routes::acknowledge_notice::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
