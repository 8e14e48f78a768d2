//! `GET /v1/batches/{id}/article-18`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::article_18::{Evidence, evidence};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-batch-evidence",
        method: Method::Get,
        path: "/v1/batches/{id}/article-18",
        summary: "One step back, one step forward, mass balance, and what is missing.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<Evidence>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    Reply::ok(&evidence(&call, call.request().path("id")?).await?)
}
