//! `POST /v1/data-subject-requests`

use keystone_privacy::routes::create_data_subject_request::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
