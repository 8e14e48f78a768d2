//! `GET /v1/audit/{seq}`

use keystone::Problem;
use keystone::auth::{Grant, Permission};
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::view::AuditEntryView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-audit-entry",
        method: Method::Get,
        path: "/v1/audit/{seq}",
        summary: "Reads one audit entry by its number.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<AuditEntryView>),
    },
    permission: Permission::QueryAudit,
    assurance: Assurance::Full,
};

/// The handler. Where the matrix grants own actions only, others' entries do
/// not exist.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let record =
        call.tenant().audit_entry(call.request().path("seq")?).await?.ok_or(Problem::NotFound)?;
    let own_only = call.principal().grant(Permission::QueryAudit) == Grant::Own;
    if own_only && record.entry.actor.id != call.principal().user().to_string() {
        return Err(Problem::NotFound);
    }
    Reply::ok(&AuditEntryView::new(&record)?)
}
