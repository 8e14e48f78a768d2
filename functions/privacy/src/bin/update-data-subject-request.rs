//! `PATCH /v1/data-subject-requests/{id}`

use keystone_privacy::routes::update_data_subject_request::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
