//! `GET /v1/batches/{id}/article-18`

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::article_18::{Evidence, evidence};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-batch-evidence",
        method: Method::Get,
        path: "/v1/batches/{id}/article-18",
        summary: "One step back, one step forward, mass balance of the lot and of its production, \
                  and what is missing. The lot is named as for its trace.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<Evidence>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// What is asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// As it was known then; as it is now unless given.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    as_of: Option<Timestamp>,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let id: String = call.request().path("id")?;
    Reply::ok(&evidence(&call, &id, query.as_of).await?)
}
