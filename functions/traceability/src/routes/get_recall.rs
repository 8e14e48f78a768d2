//! `GET /v1/recalls/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::recall::RecallView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-recall",
        method: Method::Get,
        path: "/v1/recalls/{id}",
        summary: "Reads a recall: the clock, what was found, and what is accounted for.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<RecallView>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let view = RecallView::whole(&call, call.request().path("id")?).await?;
    Ok(Reply::ok(&view)?.with_version(view.version))
}
