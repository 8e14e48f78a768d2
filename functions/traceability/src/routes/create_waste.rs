//! `POST /v1/waste`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::entry::Recorded;
use crate::goods::NewWaste;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-waste",
        method: Method::Post,
        path: "/v1/waste",
        summary: "Records goods that were thrown away.",
        query: None,
        body: Some(schema_of::<NewWaste>),
        answer: Answer::json(201, schema_of::<Recorded>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewWaste = call.request().body()?;
    let id = call.new_id()?;
    call.audited("event.waste", async |tx| {
        let recorded = new.record(tx, &call, id).await?;
        Reply::created(format!("/v1/events/{id}"), &recorded)
    })
    .await
}
