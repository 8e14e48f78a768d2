//! An audit entry as it is shown.

use keystone::Problem;
use keystone::audit::entry::at_text;
use keystone::tenant::{AuditRecord, SignedCheckpoint, StoreError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An audit entry. Personal values that were erased stand as
/// `{"commitment": "…", "erased": true}`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntryView {
    /// Number in the tenant's trail, from 0 without gaps.
    pub seq: u64,
    /// Id.
    pub id: String,
    /// When the action took place.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// The tenant.
    pub tenant_id: String,
    /// Who acted: kind, id, role, session.
    pub actor: Value,
    /// What was done, such as `batch.create`.
    pub action: String,
    /// What was acted on: type and id.
    pub resource: Value,
    /// RFC 6902 operations with the values before and after.
    pub delta: Vec<Value>,
    /// The address that the request came from; absent for jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<Value>,
    /// The client's description of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Value>,
    /// Id of the request or of the job's run.
    pub request_id: String,
    /// `success`, `denied` or `failed`.
    pub outcome: String,
    /// Hash of the entry's leaf in the Merkle tree, hex.
    #[serde(default)]
    pub leaf_hash: String,
}

impl AuditEntryView {
    /// The view of `record`, its openings checked against its commitments.
    ///
    /// # Errors
    /// [`Problem::Internal`] when the stored record was tampered with.
    pub fn new(record: &AuditRecord) -> Result<Self, Problem> {
        let opened = record.entry.open(&record.personal).map_err(StoreError::defect)?;
        let mut view: Self = serde_json::from_value(opened).map_err(StoreError::defect)?;
        view.leaf_hash = record.leaf.to_string();
        Ok(view)
    }
}

/// A signed checkpoint: size and root of the audit trail at a moment.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointView {
    /// Number of entries that it covers.
    pub size: u64,
    /// When it was signed.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// The signed checkpoint, a C2SP note.
    pub checkpoint: String,
    /// Size of the checkpoint that it extends; 0 for the first.
    pub previous: u64,
    /// The proof that it does (RFC 6962 §2.1.2), hex.
    pub consistency: Vec<String>,
    /// What `keystone-verify checkpoints` names as its format.
    pub format: String,
}

impl CheckpointView {
    /// The view of `signed`.
    pub fn new(signed: &SignedCheckpoint) -> Self {
        let link = &signed.link;
        Self {
            size: signed.size,
            at: at_text(signed.at),
            checkpoint: link.checkpoint.clone(),
            previous: link.previous,
            consistency: link.consistency.iter().map(ToString::to_string).collect(),
            format: link.format.clone(),
        }
    }
}
