//! A signed PDF of audit entries.

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use jiff::Timestamp;
use keystone::Problem;
use keystone::audit::entry::{Outcome, Resource};
use keystone::audit::merkle::{Hash, TreeHead};
use keystone::config::Setting;
use keystone::http::Call;
use keystone::tenant::{AuditRecord, StoreError};
use serde_json::{Value, json};

use crate::filter::FilterInput;
use crate::pades::{CertificateChain, PadesError, Prepared};
use crate::report::{Attachment, Report, ReportError, Row, render};
use crate::view::AuditEntryView;

/// Entries that one export holds at most.
pub const MOST_ENTRIES: u64 = 10_000;

/// Largest file, in bytes: Lambda's answer may have 6 MiB, in base64 and with
/// its headers.
const MOST_BYTES: usize = 4_400_000;

/// A signed export.
pub struct SignedPdf {
    /// The file.
    pub bytes: Vec<u8>,
    /// How many entries it shows.
    pub entries: u64,
    /// The number of entries in the trail when it was made.
    pub tree_size: u64,
}

/// Makes the signed PDF of the entries that fit.
///
/// # Errors
/// 422 when more than 10,000 entries fit; 503 when a store or KMS does not
/// answer.
pub async fn signed_pdf(call: &Call, filter: FilterInput) -> Result<SignedPdf, Problem> {
    let described = describe(&filter);
    let period = (filter.from, filter.to);
    let wanted = filter.for_principal(call.principal())?;
    let most = MOST_ENTRIES;
    if call.tenant().count_audit_entries(&wanted, most + 1).await? > most {
        return Err(Problem::invalid(
            "/filter",
            "More than 10,000 entries fit. Narrow the period.",
        ));
    }
    // The tree is read first: every entry shown is then within its size or
    // was added while the export was made.
    let tree = call.tenant().audit_tree().await?;
    let limit = i64::try_from(most).map_err(StoreError::defect)?;
    let records = call.tenant().audit_entries_where(&wanted, Some(tree.size()), limit).await?;
    let pdf = document(call, &records, &tree, period, &described)?;
    let bytes = sign(call, pdf).await?;
    if bytes.len() > MOST_BYTES {
        return Err(Problem::invalid("/filter", "The report is too large. Narrow the period."));
    }
    Ok(SignedPdf { bytes, entries: records.len() as u64, tree_size: tree.size() })
}

/// Records the export, with the SHA-256 of the whole file: a signature does
/// not cover what is appended to a PDF, this does.
///
/// # Errors
/// As [`keystone::tenant::Tenant::record`]; the file must then not leave.
pub async fn record(call: &Call, pdf: &SignedPdf) -> Result<(), Problem> {
    let sha256 = Hash::of(&[&pdf.bytes]).to_string();
    let facts = json!({
        "format": "pdf",
        "entries": pdf.entries,
        "tree_size": pdf.tree_size,
        "sha256": sha256,
    });
    let resource = Resource { kind: "audit_export".into(), id: call.request().id.clone() };
    call.tenant()
        .record(&call.attribution()?, "audit.export", resource, Outcome::Success, facts)
        .await
}

fn document(
    call: &Call,
    records: &[AuditRecord],
    tree: &TreeHead,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    filter: &[String],
) -> Result<Vec<u8>, Problem> {
    let rows = records.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let entries = attached_entries(records)?;
    let head = json!({
        "tenant": call.tenant().id(),
        "size": tree.size(),
        "root": tree.root().to_string(),
    })
    .to_string();
    let attachments = [
        Attachment {
            name: "entries.jsonl",
            mime: "application/jsonl",
            description: "Entries in canonical form, with what opens their commitments",
            bytes: &entries,
        },
        Attachment {
            name: "tree-head.json",
            mime: "application/json",
            description: "Size and root of the Merkle tree",
            bytes: head.as_bytes(),
        },
    ];
    let by = format!("{} ({})", call.principal().user(), call.principal().role().name());
    let report = Report {
        tenant_name: &call.tenant().profile().legal_name,
        tenant_id: call.tenant().id().as_str(),
        from,
        to,
        filter,
        generated_at: call.now(),
        generated_by: &by,
        entries: &rows,
        tree_size: tree.size(),
        tree_root: &tree.root().to_string(),
        attachments: &attachments,
    };
    render(&report).map_err(|error: ReportError| StoreError::defect(error).into())
}

/// One JSON object per line: the canonical entry, its leaf and its openings.
fn attached_entries(records: &[AuditRecord]) -> Result<Vec<u8>, Problem> {
    let mut lines = Vec::new();
    for record in records {
        let line = json!({
            "entry": record.entry,
            "leaf": record.leaf,
            "personal": record.personal,
        });
        serde_json::to_writer(&mut lines, &line).map_err(StoreError::defect)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn row(record: &AuditRecord) -> Result<Row, Problem> {
    let view = AuditEntryView::new(record)?;
    let entry = &record.entry;
    let actor = match &entry.actor.role {
        Some(role) => format!("{} ({role})", entry.actor.id),
        None => entry.actor.id.clone(),
    };
    Ok(Row {
        seq: entry.seq,
        at: entry.at,
        actor,
        action: entry.action.clone(),
        resource: format!("{} {}", entry.resource.kind, entry.resource.id),
        source_ip: view.source_ip.as_ref().map(in_words).unwrap_or_default(),
        request_id: entry.request_id.clone(),
        changes: view.delta.iter().map(change_in_words).collect(),
        leaf_hash: record.leaf.to_string(),
    })
}

/// `name: "A" → "B"`.
fn change_in_words(change: &Value) -> String {
    let path = change["path"].as_str().unwrap_or_default().trim_start_matches('/');
    let before = change.get("before").map(in_words);
    let after = change.get("value").map(in_words);
    match (before, after) {
        (Some(before), Some(after)) => format!("{path}: {before} → {after}"),
        (None, Some(after)) => format!("{path}: {after}"),
        (Some(before), None) => format!("{path}: {before} removed"),
        (None, None) => path.to_owned(),
    }
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            if members.get("erased") == Some(&Value::Bool(true)) {
                return "erased".into();
            }
            match (members.get("sealed"), members.get("secret")) {
                (Some(Value::String(tag)), _) => format!("sealed [{tag}]"),
                (_, Some(Value::String(tag))) => format!("secret [{tag}]"),
                _ => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}

fn describe(filter: &FilterInput) -> Vec<String> {
    let ip = filter.ip.map(|ip| ip.to_string());
    [
        ("actor", &filter.actor),
        ("action", &filter.action),
        ("resource type", &filter.resource_type),
        ("resource id", &filter.resource_id),
        ("source IP", &ip),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}: {value}")))
    .collect()
}

async fn sign(call: &Call, pdf: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let kms = call.platform().kms().await?;
    let key =
        call.platform().config().get(Setting::ReportSigningKey).map_err(|_| Problem::Internal)?;
    let chain = certificate(call, kms, key).await?;
    let prepared: Prepared = crate::pades::prepare(pdf, &chain, "Audit report", call.now())
        .map_err(|error: PadesError| Problem::from(StoreError::defect(error)))?;
    let signed = kms
        .sign()
        .key_id(key)
        .message_type(MessageType::Digest)
        .message(Blob::new(prepared.digest().to_vec()))
        .signing_algorithm(SigningAlgorithmSpec::RsassaPkcs1V15Sha256)
        .send()
        .await
        .map_err(|error| StoreError::unavailable("kms", &error))?;
    let signature = signed.signature.ok_or_else(|| StoreError::defect("KMS gave no signature"))?;
    Ok(prepared.finish(signature.as_ref()).map_err(StoreError::defect)?)
}

/// The certificate chain, once it is certain that it certifies the key.
async fn certificate(
    call: &Call,
    kms: &aws_sdk_kms::Client,
    key: &str,
) -> Result<CertificateChain, Problem> {
    #[derive(serde::Deserialize)]
    struct Secret {
        chain: String,
    }
    let secret = call.platform().secret(Setting::ReportCertificateSecret, call.now()).await?;
    let secret: Secret = serde_json::from_str(&secret).map_err(StoreError::defect)?;
    let chain = CertificateChain::from_pem(&secret.chain).map_err(StoreError::defect)?;
    let public = kms
        .get_public_key()
        .key_id(key)
        .send()
        .await
        .map_err(|error| StoreError::unavailable("kms", &error))?
        .public_key
        .ok_or_else(|| StoreError::defect("KMS gave no public key"))?;
    let certified = chain.public_key_spki_der().map_err(StoreError::defect)?;
    if certified.as_slice() != public.as_ref() {
        return Err(StoreError::defect("the certificate is not of the signing key").into());
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_like_sentences() {
        let shown = |change: Value| change_in_words(&change);
        assert_eq!(
            shown(
                json!({ "op": "replace", "path": "/state", "before": "available", "value": "on_hold" })
            ),
            "state: available → on_hold"
        );
        assert_eq!(
            shown(json!({ "op": "add", "path": "/banking", "value": { "sealed": "ab12" } })),
            "banking: sealed [ab12]"
        );
        assert_eq!(
            shown(json!({ "op": "remove", "path": "/gln", "before": "123" })),
            "gln: 123 removed"
        );
    }
}
