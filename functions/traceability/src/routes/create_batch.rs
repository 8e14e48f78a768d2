//! `POST /v1/batches`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::batch::{BatchView, NewBatch};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-batch",
        method: Method::Post,
        path: "/v1/batches",
        summary: "Creates a batch, and the event that says where it came from.",
        query: None,
        body: Some(schema_of::<NewBatch>),
        answer: Answer::json(201, schema_of::<BatchView>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewBatch = call.request().body()?;
    let (id, event) = (call.new_id()?, call.new_id()?);
    call.audited("batch.create", async |tx| {
        let stored = new.record(tx, &call, (id, event)).await?;
        let view = BatchView::new(&stored);
        Ok(Reply::created(format!("/v1/batches/{id}"), &view)?.with_version(stored.version))
    })
    .await
}
