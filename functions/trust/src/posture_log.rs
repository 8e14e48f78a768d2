//! The log of published postures: those entries of the provider's audit trail
//! that publish one, and nothing else of it.

use keystone::Problem;
use keystone::audit::bundle::entry_line;
use keystone::audit::entry::at_text;
use keystone::audit::tlog_proof::TlogProof;
use keystone::tenant::{AuditFilter, AuditRecord, StoreError, Tenant};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::posture::{PUBLISH, Posture};

/// Publications that one answer lists.
const LISTED: i64 = 50;

/// Publications of the posture.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PostureLog {
    /// They, newest first; of one that is asked for, that one.
    pub items: Vec<Publication>,
    /// The next are asked for with this as `before`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_before: Option<u64>,
    /// Of one that is asked for: the document as it was published, the text that
    /// its digest is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Of one that is asked for, as soon as a signed checkpoint covers it: the
    /// audit entry with its inclusion proof and the checkpoint, a C2SP
    /// tlog-proof, which `keystone-verify proof` reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A publication.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Publication {
    /// Number of the entry in the provider's audit trail.
    pub seq: u64,
    /// When it was published.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// SHA-256 of the document, hex, as the entry has it.
    pub sha256: String,
}

impl Publication {
    fn of(record: &AuditRecord) -> Result<Self, StoreError> {
        let sha256 = record.entry.delta.iter().find(|change| change.path == "/sha256");
        let sha256 = sha256.and_then(|change| change.value.as_ref()).and_then(Value::as_str);
        let sha256 = sha256.ok_or_else(|| StoreError::defect("a publication has no digest"))?;
        Ok(Self { seq: record.entry.seq, at: at_text(record.entry.at), sha256: sha256.to_owned() })
    }
}

/// Publications before `before`.
///
/// # Errors
/// [`Problem::Unavailable`] when the database does not answer.
pub async fn list(provider: &Tenant, before: Option<u64>) -> Result<PostureLog, Problem> {
    let filter = AuditFilter { action: Some(PUBLISH.into()), ..AuditFilter::default() };
    let found = provider.audit_entries_where(&filter, before, LISTED).await?.records;
    let items = found.iter().map(Publication::of).collect::<Result<Vec<_>, _>>()?;
    let full = i64::try_from(items.len()).is_ok_and(|count| count >= LISTED);
    let next_before = items.last().filter(|_| full).map(|last| last.seq);
    Ok(PostureLog { items, next_before, document: None, text: None })
}

/// The publication of number `seq`, with what was published and its proof.
///
/// # Errors
/// 404 when the entry publishes no posture.
pub async fn proved(provider: &Tenant, seq: u64) -> Result<PostureLog, Problem> {
    let record = provider.audit_entry(seq).await?;
    let record = record.filter(|record| record.entry.action == PUBLISH);
    let record = record.ok_or(Problem::NotFound)?;
    let id = record.entry.resource.id.parse().map_err(|_| Problem::Internal)?;
    let posture = provider.get::<Posture>(id).await?.ok_or(Problem::Internal)?.entity;
    let publication = Publication::of(&record)?;
    let checkpoint = provider.last_checkpoint().await?.filter(|last| last.size > seq);
    let text = match checkpoint {
        Some(signed) => {
            let hashes = provider.audit_inclusion(seq, signed.size).await?;
            let line = entry_line(&record.entry, &record.leaf, &record.personal);
            let extra = Some(line.map_err(StoreError::defect)?);
            let checkpoint = signed.link.checkpoint;
            Some(TlogProof { extra, index: seq, hashes, checkpoint }.to_string())
        }
        None => None,
    };
    let document = Some(posture.document);
    Ok(PostureLog { items: vec![publication], next_before: None, document, text })
}
