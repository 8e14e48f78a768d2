//! `POST /v1/dispatches`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::entry::Recorded;
use crate::goods::NewDispatch;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-dispatch",
        method: Method::Post,
        path: "/v1/dispatches",
        summary: "Records goods that went to a customer.",
        query: None,
        body: Some(schema_of::<NewDispatch>),
        answer: Answer::json(201, schema_of::<Recorded>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewDispatch = call.request().body()?;
    let id = call.new_id()?;
    call.audited("event.dispatch", async |tx| {
        let recorded = new.record(tx, &call, id).await?;
        Reply::created(format!("/v1/events/{id}"), &recorded)
    })
    .await
}
