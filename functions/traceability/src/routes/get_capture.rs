//! `GET /v1/capture/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::capture::{Capture, CaptureView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-capture",
        method: Method::Get,
        path: "/v1/capture/{id}",
        summary: "Says what became of a captured document.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<CaptureView>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let stored =
        call.tenant().get::<Capture>(call.request().path("id")?).await?.ok_or(Problem::NotFound)?;
    Reply::ok(&CaptureView::new(&stored))
}
