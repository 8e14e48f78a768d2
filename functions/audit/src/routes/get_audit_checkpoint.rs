//! `GET /v1/audit/checkpoint`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::view::CheckpointView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-audit-checkpoint",
        method: Method::Get,
        path: "/v1/audit/checkpoint",
        summary: "Reads the newest signed checkpoint of the audit trail.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<CheckpointView>),
    },
    permission: Permission::QueryAudit,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let last = call.tenant().last_checkpoint().await?.ok_or(Problem::NotFound)?;
    Reply::ok(&CheckpointView::new(&last))
}
