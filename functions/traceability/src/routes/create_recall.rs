//! `POST /v1/recalls`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::recall::{NewRecall, RecallView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-recall",
        method: Method::Post,
        path: "/v1/recalls",
        summary: "Starts a recall or an exercise: finds all that is affected, and starts the clock.",
        query: None,
        body: Some(schema_of::<NewRecall>),
        answer: Answer::json(201, schema_of::<RecallView>),
    },
    permission: Permission::RunRecalls,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewRecall = call.request().body()?;
    let id = call.new_id()?;
    let (recall, finding) = new.trace(&call).await?;
    call.audited("recall.start", async |tx| {
        let stored = tx.insert(id, recall.clone()).await?;
        tx.insert(id, finding.clone()).await?;
        let view = RecallView::new(&stored, call.now());
        Ok(Reply::created(format!("/v1/recalls/{id}"), &view)?.with_version(stored.version))
    })
    .await
}
