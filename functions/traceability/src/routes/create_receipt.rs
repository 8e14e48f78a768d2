//! `POST /v1/receipts`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::entry::Recorded;
use crate::goods::NewReceipt;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-receipt",
        method: Method::Post,
        path: "/v1/receipts",
        summary: "Records goods that arrived from a supplier.",
        query: None,
        body: Some(schema_of::<NewReceipt>),
        answer: Answer::json(201, schema_of::<Recorded>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewReceipt = call.request().body()?;
    let id = call.new_id()?;
    call.audited("event.receive", async |tx| {
        let recorded = new.record(tx, &call, id).await?;
        Reply::created(format!("/v1/events/{id}"), &recorded)
    })
    .await
}
