//! `PATCH /v1/data-subject-requests/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::request::progress::{By, Patch};
use crate::request::{RequestView, SubjectRequest};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "update-data-subject-request",
        method: Method::Patch,
        path: "/v1/data-subject-requests/{id}",
        summary: "Takes steps of a request: who asks, more time, restriction, its end; needs If-Match.",
        query: None,
        body: Some(schema_of::<Patch>),
        answer: Answer::json(200, schema_of::<RequestView>),
    },
    permission: Permission::HandleSubjectRequests,
    assurance: Assurance::Full,
};

/// The handler. What people said is not shown: only a read discloses.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let version = call.request().if_match()?;
    let patch: Patch = call.request().body()?;
    call.audited("data_subject_request.update", async |tx| {
        let caller = call.caller_with(tx, Permission::HandleSubjectRequests).await?;
        let by = By { user: caller.id, role: caller.entity.role, now: call.now() };
        let before = tx.get::<SubjectRequest>(id).await?.ok_or(Problem::NotFound)?;
        let before = before.at_version(version)?;
        let after = patch.apply(tx, call.tenant(), &before, by).await?;
        let after = tx.replace(&before, after).await?;
        let view = RequestView::new(&after, call.now());
        Ok(Reply::ok(&view)?.with_version(after.version))
    })
    .await
}
