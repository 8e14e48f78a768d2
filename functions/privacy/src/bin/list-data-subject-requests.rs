//! `GET /v1/data-subject-requests`

use keystone_privacy::routes::list_data_subject_requests::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
