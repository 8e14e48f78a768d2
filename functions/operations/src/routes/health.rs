//! `GET /v1/health`

use keystone::Problem;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use schemars::JsonSchema;
use serde::Serialize;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "health",
        method: Method::Get,
        path: "/v1/health",
        summary: "Says that the API answers, and from which region.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<Health>),
    },
};

/// The API answers.
#[derive(Serialize, JsonSchema)]
pub struct Health {
    /// Always `ok`.
    status: &'static str,
    /// Region in which the function runs.
    region: String,
    /// Version of the software.
    version: &'static str,
}

/// The handler. It touches no store: it tells whether functions start, not
/// whether everything behind them is well.
#[expect(clippy::unused_async, reason = "a handler is asynchronous")]
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let region = call
        .platform()
        .config()
        .get(keystone::config::Setting::Region)
        .map_err(|_| Problem::Internal)?;
    Reply::ok(&Health {
        status: "ok",
        region: region.to_owned(),
        version: env!("CARGO_PKG_VERSION"),
    })
}
