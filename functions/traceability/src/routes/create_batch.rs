//! `POST /v1/batches`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::StoreError;

use crate::batch::{BatchView, NewBatch};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-batch",
        method: Method::Post,
        path: "/v1/batches",
        summary: "Creates a batch.",
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
    let id = call.new_id()?;
    call.audited("batch.create", async |tx| {
        let batch = new.clone().into_batch(tx).await?;
        let stored = tx.insert(id, batch).await.map_err(taken)?;
        let view = BatchView::new(&stored);
        Ok(Reply::created(format!("/v1/batches/{id}"), &view)?.with_version(stored.version))
    })
    .await
}

fn taken(error: StoreError) -> Problem {
    match error {
        StoreError::Duplicate => {
            Problem::Conflict("There is a batch of this product with this lot number.".into())
        }
        other => other.into(),
    }
}
