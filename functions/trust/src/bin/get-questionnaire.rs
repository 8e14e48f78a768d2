//! `GET /v1/questionnaires/{id}`

use keystone_trust::routes::get_questionnaire::{ROUTE, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::http::serve(&ROUTE, &[], handle).await
}
