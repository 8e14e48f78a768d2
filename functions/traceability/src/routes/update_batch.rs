//! `PATCH /v1/batches/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::batch::{Batch, BatchPatch, BatchView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "update-batch",
        method: Method::Patch,
        path: "/v1/batches/{id}",
        summary: "Changes a batch (JSON merge patch); needs If-Match.",
        query: None,
        body: Some(schema_of::<BatchPatch>),
        answer: Answer::json(200, schema_of::<BatchView>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let version = call.request().if_match()?;
    let patch: BatchPatch = call.request().body()?;
    call.audited("batch.update", async |tx| {
        let before = tx.get::<Batch>(id).await?.ok_or(Problem::NotFound)?.at_version(version)?;
        let after = tx.replace(&before, patch.apply(&before.entity)?).await?;
        Ok(Reply::ok(&BatchView::new(&after))?.with_version(after.version))
    })
    .await
}
