//! `GET /v1/events/{id}/history`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::event::find;
use crate::status::{HistoryView, is_audited, transitions};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-event-history",
        method: Method::Get,
        path: "/v1/events/{id}/history",
        summary: "Shows what became of an event's status, and verifies it.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<HistoryView>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id: String = call.request().path("id")?;
    let tenant = call.tenant();
    let mut stored = find(tenant, &id).await?;
    loop {
        let audited = is_audited(tenant, &stored).await?;
        let view = HistoryView::new(&stored, transitions(tenant, stored.id).await?, audited)?;
        // What changed while it was read is read again.
        let now = find(tenant, &id).await?;
        if now.version == stored.version {
            if !view.is_intact() {
                tracing::error!(event = %stored.id, "the history of an event is not intact");
            }
            return Ok(Reply::ok(&view)?.with_version(stored.version));
        }
        stored = now;
    }
}
