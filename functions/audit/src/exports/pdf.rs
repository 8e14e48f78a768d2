//! Volumes as signed reports.

use keystone::Problem;
use keystone::tenant::StoreError;
use keystone_report::Attachment;

use super::Context;
use super::rows::describe;
use crate::report::{AuditReport, Row, render};

/// The signed report of `rows`, with their bundle attached.
///
/// # Errors
/// [`Problem`] when it cannot be rendered, or KMS does not sign.
pub async fn file(
    context: &Context<'_, '_>,
    rows: &[Row],
    bundle: Vec<u8>,
) -> Result<Vec<u8>, Problem> {
    let signer = context.signer().await?;
    let export = &context.export.entity;
    let pdf = render(AuditReport {
        tenant_name: &context.tenant.profile().legal_name,
        tenant_id: context.tenant.id().as_str(),
        volume: context.volume,
        from: context.filter.from,
        to: context.filter.to,
        filter: &describe(&context.filter),
        generated_at: context.made_at,
        generated_by: &format!("{} ({})", export.requested_by, export.role),
        export: &context.export.id.to_string(),
        rows,
        tree_size: context.snapshot.size,
        tree_root: &context.snapshot.root.to_string(),
        checkpoint: &context.snapshot.checkpoint,
        keys: &context.snapshot.keys,
        attachments: vec![
            Attachment {
                name: "bundle.jsonl",
                mime: "application/jsonl",
                description: "Entries in canonical form, with all that proves them",
                bytes: bundle,
            },
            Attachment {
                name: "checkpoint.txt",
                mime: "text/plain",
                description: "Size and root of the Merkle tree, signed (C2SP tlog-checkpoint)",
                bytes: context.snapshot.checkpoint.clone().into_bytes(),
            },
        ],
    });
    let pdf = pdf.map_err(StoreError::defect)?;
    Ok(signer.sign(pdf, "Audit report", context.made_at).await?)
}
