//! `POST /v1/recalls/{id}/close`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::recall::closing::Close;
use crate::recall::{RecallView, with_finding};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "close-recall",
        method: Method::Post,
        path: "/v1/recalls/{id}/close",
        summary: "Closes a recall with its conclusion; needs If-Match.",
        query: None,
        body: Some(schema_of::<Close>),
        answer: Answer::json(200, schema_of::<RecallView>),
    },
    permission: Permission::RunRecalls,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let version = call.request().if_match()?;
    let close: Close = call.request().body()?;
    let (_, finding) = with_finding(call.tenant(), id).await?;
    call.audited("recall.close", async |tx| {
        let after = close.apply(&call, tx, (id, version), &finding).await?;
        let view = RecallView::new(&after, call.now());
        Ok(Reply::ok(&view)?.with_version(after.version))
    })
    .await
}
