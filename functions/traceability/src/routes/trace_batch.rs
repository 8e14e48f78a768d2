//! `GET /v1/batches/{id}/trace`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::article_18::lot_of;
use crate::trace::{DEPTH, Direction, Graph, graph};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "trace-batch",
        method: Method::Get,
        path: "/v1/batches/{id}/trace",
        summary: "Traces a batch to what it was made of and what was made of it.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<Graph>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// Which way and how far to go.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Which way to go; both unless given.
    direction: Option<Direction>,
    /// How many steps at most; 50 unless given.
    #[schemars(range(min = 1, max = DEPTH))]
    depth: Option<i64>,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let (_, _, lot) = lot_of(&call, call.request().path("id")?).await?;
    let direction = query.direction.unwrap_or(Direction::Both);
    let depth = query.depth.and_then(|depth| u32::try_from(depth).ok()).unwrap_or(DEPTH);
    Reply::ok(&graph(call.tenant(), &lot, direction, depth).await?)
}
