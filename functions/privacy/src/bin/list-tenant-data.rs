//! `GET /v1/tenant/data`

use keystone_privacy::routes::list_tenant_data::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
