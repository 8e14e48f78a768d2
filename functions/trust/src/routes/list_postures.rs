//! `GET /v1/trust/posture/log`

use keystone::Problem;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::posture_log::{self, PostureLog};

pub use super::get_posture::SETTINGS;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "list-postures",
        method: Method::Get,
        path: "/v1/trust/posture/log",
        summary: "Lists the published postures, newest first, or gives one with the proof that \
                  the provider's audit trail holds it.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<PostureLog>),
    },
};

/// Which of them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Number of the audit entry of one publication: with its document and
    /// proof.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    seq: Option<u64>,
    /// Those before this number.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    before: Option<u64>,
}

/// The handler.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let now = call.request().now;
    let provider = call.platform().registry(now).await?.provider(now).await?;
    Reply::ok(&match query.seq {
        Some(seq) => posture_log::proved(&provider, seq).await?,
        None => posture_log::list(&provider, query.before).await?,
    })
}
