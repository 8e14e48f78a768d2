//! `POST /v1/data-subject-requests`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::request::{NewRequest, RequestView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-data-subject-request",
        method: Method::Post,
        path: "/v1/data-subject-requests",
        summary: "Records a person's request about their data; the clock runs from its receipt.",
        query: None,
        body: Some(schema_of::<NewRequest>),
        answer: Answer::json(201, schema_of::<RequestView>),
    },
    permission: Permission::HandleSubjectRequests,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewRequest = call.request().body()?;
    let id = call.new_id()?;
    let request = new.open(call.tenant(), id, call.principal().user(), call.now()).await?;
    call.audited("data_subject_request.open", async |tx| {
        let stored = tx.insert(id, request.clone()).await?;
        let view = RequestView::new(&stored, call.now());
        let location = format!("/v1/data-subject-requests/{id}");
        Ok(Reply::created(location, &view)?.with_version(stored.version))
    })
    .await
}
