//! `GET /v1/audit/{seq}/proof`

use keystone::audit::bundle::entry_line;
use keystone::audit::merkle::Hash;
use keystone::audit::tlog_proof::TlogProof;
use keystone::auth::{Grant, Permission};
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::{SignedCheckpoint, StoreError};
use keystone::{FieldError, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-audit-proof",
        method: Method::Get,
        path: "/v1/audit/{seq}/proof",
        summary: "Proves that a signed checkpoint covers an audit entry.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<AuditProof>),
    },
    permission: Permission::QueryAudit,
    assurance: Assurance::Full,
};

/// To which checkpoint.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Number of entries that the checkpoint covers; the newest unless given.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    size: Option<u64>,
}

/// The proof that a checkpoint covers an entry.
#[derive(Serialize, JsonSchema)]
pub struct AuditProof {
    /// Number of the entry, which is the index of its leaf.
    seq: u64,
    /// Hash of its leaf, hex.
    leaf_hash: String,
    /// Number of entries that the checkpoint covers.
    size: u64,
    /// Inclusion proof of RFC 6962 §2.1.1, the leaf's sibling first, hex.
    hashes: Vec<String>,
    /// The signed checkpoint, a C2SP note.
    checkpoint: String,
    /// All of it with the entry as one text, a C2SP tlog-proof, which
    /// `keystone-verify proof` reads.
    text: String,
}

/// The handler. Where the matrix grants own actions only, others' entries do
/// not exist.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let tenant = call.tenant();
    let record = tenant.audit_entry(call.request().path("seq")?).await?;
    let record = record.ok_or(Problem::NotFound)?;
    let own_only = call.principal().grant(Permission::QueryAudit) == Grant::Own;
    if own_only && record.entry.actor.id != call.principal().user().to_string() {
        return Err(Problem::NotFound);
    }
    let seq = record.entry.seq;
    let signed = checkpoint(&call, seq, query.size).await?;
    let hashes = tenant.audit_inclusion(seq, signed.size).await?;
    let line = entry_line(&record.entry, &record.leaf, &record.personal);
    let proof = TlogProof {
        extra: Some(line.map_err(StoreError::defect)?),
        index: seq,
        hashes,
        checkpoint: signed.link.checkpoint,
    };
    Reply::ok(&AuditProof {
        seq,
        leaf_hash: record.leaf.to_string(),
        size: signed.size,
        hashes: proof.hashes.iter().map(Hash::to_string).collect(),
        text: proof.to_string(),
        checkpoint: proof.checkpoint,
    })
}

/// The checkpoint that is asked for, if it covers the entry.
async fn checkpoint(call: &Call, seq: u64, size: Option<u64>) -> Result<SignedCheckpoint, Problem> {
    let wrong = |message: &str| Problem::Invalid(vec![FieldError::new("size", message)]);
    match size {
        Some(size) if size <= seq => Err(wrong("Must be above the number of the entry.")),
        Some(size) => call
            .tenant()
            .checkpoint_of(size)
            .await?
            .ok_or_else(|| wrong("No checkpoint of this size was signed.")),
        None => {
            call.tenant().last_checkpoint().await?.filter(|last| last.size > seq).ok_or_else(|| {
                Problem::Conflict(
                    "No signed checkpoint covers the entry yet. One is signed within the hour, \
                     or at once by POST /v1/audit/checkpoints."
                        .into(),
                )
            })
        }
    }
}
