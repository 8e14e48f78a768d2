//! `POST /v1/data-subject-requests/{id}/bundle`

use keystone_privacy::routes::make_subject_bundle::{ROUTE, SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &SETTINGS, handle).await
}
