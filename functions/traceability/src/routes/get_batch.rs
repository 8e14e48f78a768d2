//! `GET /v1/batches/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::batch::{Batch, BatchView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-batch",
        method: Method::Get,
        path: "/v1/batches/{id}",
        summary: "Reads a batch.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<BatchView>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let stored =
        call.tenant().get::<Batch>(call.request().path("id")?).await?.ok_or(Problem::NotFound)?;
    Ok(Reply::ok(&BatchView::new(&stored))?.with_version(stored.version))
}
