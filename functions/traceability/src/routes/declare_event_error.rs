//! `POST /v1/events/{id}/error-declaration`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::correction::{Declared, NewDeclaration};
use crate::event::find_in;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "declare-event-error",
        method: Method::Post,
        path: "/v1/events/{id}/error-declaration",
        summary: "Declares an event wrong: what it said of lots no longer holds.",
        query: None,
        body: Some(schema_of::<NewDeclaration>),
        answer: Answer::json(201, schema_of::<Declared>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let event: String = call.request().path("id")?;
    let new: NewDeclaration = call.request().body()?;
    let id = call.new_id()?;
    call.audited("event.declare_error", async |tx| {
        let event = find_in(tx, &event).await?;
        let declared = new.record(tx, &call, &event, id).await?;
        Reply::created(format!("/v1/events/{id}"), &declared)
    })
    .await
}
