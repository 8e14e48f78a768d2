//! `GET /v1/audit/checkpoints`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};

use crate::view::CheckpointView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-audit-checkpoints",
        method: Method::Get,
        path: "/v1/audit/checkpoints",
        summary: "Pages through the signed checkpoints of the audit trail, newest first.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<CheckpointView>>),
    },
    permission: Permission::QueryAudit,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let page: PageQuery = call.request().query()?;
    let limit = page.limit();
    let found = call.tenant().checkpoints(page.after::<u64>()?, limit + 1).await?;
    Reply::ok(&List::new(found, limit, |signed| signed.size).map(CheckpointView::new))
}
