//! `GET /v1/audit/consistency`

use keystone::Problem;
use keystone::audit::merkle::Hash;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-audit-consistency",
        method: Method::Get,
        path: "/v1/audit/consistency",
        summary: "Proves that the audit trail of one size extends that of another.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<AuditConsistency>),
    },
    permission: Permission::QueryAudit,
    assurance: Assurance::Full,
};

/// Between which sizes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Number of entries of the smaller tree.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    from: u64,
    /// Number of entries of the larger tree.
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    to: u64,
}

/// The proof that a tree extends another.
#[derive(Serialize, JsonSchema)]
pub struct AuditConsistency {
    /// Number of entries of the smaller tree.
    from: u64,
    /// Number of entries of the larger tree.
    to: u64,
    /// Consistency proof of RFC 6962 §2.1.2, hex; empty from 0 and between
    /// equal sizes.
    hashes: Vec<String>,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let Query { from, to } = call.request().query()?;
    if from > to {
        return Err(Problem::invalid("from", "Must not be above `to`."));
    }
    if to > call.tenant().audit_tree().await?.size() {
        return Err(Problem::invalid("to", "The audit trail has fewer entries."));
    }
    let hashes = call.tenant().audit_consistency(from, to).await?;
    let hashes = hashes.iter().map(Hash::to_string).collect();
    Reply::ok(&AuditConsistency { from, to, hashes })
}
