//! `POST /v1/adjustments`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::entry::Recorded;
use crate::goods::NewAdjustment;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-adjustment",
        method: Method::Post,
        path: "/v1/adjustments",
        summary: "Records that a count found more or less of a lot than there should be.",
        query: None,
        body: Some(schema_of::<NewAdjustment>),
        answer: Answer::json(201, schema_of::<Recorded>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewAdjustment = call.request().body()?;
    let id = call.new_id()?;
    call.audited("event.adjust", async |tx| {
        let recorded = new.record(tx, &call, id).await?;
        Reply::created(format!("/v1/events/{id}"), &recorded)
    })
    .await
}
