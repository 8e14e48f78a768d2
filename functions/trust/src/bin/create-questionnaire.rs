//! `POST /v1/questionnaires`

use keystone_trust::routes::create_questionnaire::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
