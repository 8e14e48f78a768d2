//! `GET /v1/events/{id}/history`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::event::find;
use crate::status::{HistoryView, transitions};

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
    let stored = find(call.tenant(), &id).await?;
    let view = HistoryView::new(&stored, transitions(call.tenant(), stored.id).await?)?;
    Ok(Reply::ok(&view)?.with_version(stored.version))
}
