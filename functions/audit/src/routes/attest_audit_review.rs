//! `POST /v1/audit/reviews`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::WriteTx;

use crate::review::{NewReview, ReviewView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "attest-audit-review",
        method: Method::Post,
        path: "/v1/audit/reviews",
        summary: "Attests that the audit trail of a period was reviewed.",
        query: None,
        body: Some(schema_of::<NewReview>),
        answer: Answer::json(201, schema_of::<ReviewView>),
    },
    permission: Permission::ExportAudit,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewReview = call.request().body()?;
    let by = (call.principal().user(), call.principal().role().name());
    let review = new.attest(call.tenant(), by, call.now()).await?;
    let id = call.new_id()?;
    call.audited("audit_review.attest", async |tx: &mut WriteTx<'_>| {
        let stored = tx.insert(id, review.clone()).await?;
        Reply::created("/v1/audit/reviews".into(), &ReviewView::from(&stored))
    })
    .await
}
