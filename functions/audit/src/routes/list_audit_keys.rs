//! `GET /v1/trust/audit-keys`

use keystone::Problem;
use keystone::audit::keys::CheckpointKeys;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use keystone::audit::keys::KEY_SETTINGS as SETTINGS;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "list-audit-keys",
        method: Method::Get,
        path: "/v1/trust/audit-keys",
        summary: "Lists the keys that verify signed checkpoints of a tenant's audit trail.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<AuditKeys>),
    },
};

/// Whose trail.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Slug of the tenant. Any slug gets an answer, so that it does not tell
    /// who is a customer.
    #[schemars(extend("format" = "tenant"))]
    tenant: String,
}

/// The keys of an audit trail.
#[derive(Serialize, JsonSchema)]
pub struct AuditKeys {
    /// The trail's name, the first line of its checkpoints. One that went on after
    /// a restore of the database has a number behind it.
    origin: String,
    /// Verifier keys (C2SP signed note): the one that signs now, then those
    /// that signed before; the same for each name that the trail can have.
    keys: Vec<String>,
}

/// The handler.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let keys = CheckpointKeys::of(call.platform()).await?;
    let listed = keys.of_tenant(&query.tenant)?;
    Reply::ok(&AuditKeys {
        origin: keys.origin(&query.tenant, 1),
        keys: listed.iter().map(ToString::to_string).collect(),
    })
}
