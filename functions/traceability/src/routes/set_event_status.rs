//! `POST /v1/events/{id}/status`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::event::find_in;
use crate::status::{CHANGED, Move, StatusView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "set-event-status",
        method: Method::Post,
        path: "/v1/events/{id}/status",
        summary: "Changes an event's status; needs If-Match.",
        query: None,
        body: Some(schema_of::<Move>),
        answer: Answer::json(200, schema_of::<StatusView>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let event: String = call.request().path("id")?;
    let version = call.request().if_match()?;
    let change: Move = call.request().body()?;
    let by = (call.new_id()?, call.principal().user(), call.now());
    call.audited(CHANGED, async |tx| {
        let before = find_in(tx, &event).await?;
        let after = change.apply(tx, &before, version, by).await?;
        Ok(Reply::ok(&StatusView::new(&after))?.with_version(after.version))
    })
    .await
}
