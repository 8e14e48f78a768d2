//! `GET /v1/data-subject-requests/{id}`

use keystone::Problem;
use keystone::audit::entry::Resource;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::Entity;

use crate::request::{RequestView, SubjectRequest};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-data-subject-request",
        method: Method::Get,
        path: "/v1/data-subject-requests/{id}",
        summary: "Reads a person's request about their data, with what they said.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<RequestView>),
    },
    permission: Permission::HandleSubjectRequests,
    assurance: Assurance::Full,
};

/// The handler. What people said is sealed, so that showing it is recorded
/// before it is done.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let stored = call.tenant().get::<SubjectRequest>(id).await?.ok_or(Problem::NotFound)?;
    let resource = Resource { kind: SubjectRequest::RESOURCE.into(), id: id.to_string() };
    let fields = SubjectRequest::COLLECTION.sealed;
    call.disclose("data_subject_request.disclose", resource, fields, 1).await?;
    let view = RequestView::with_words(call.tenant(), &stored, call.now()).await?;
    Ok(Reply::ok(&view)?.with_version(stored.version))
}
