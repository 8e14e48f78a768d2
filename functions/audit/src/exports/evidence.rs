//! The evidence bundle of a volume: its entries in canonical form, and hashes
//! for the rest of the tree, so that each volume leads to the root by itself.

use keystone::audit::bundle::{Header, Writer};
use keystone::audit::merkle::Subtree;
use keystone::tenant::{AuditRecord, StoreError};
use serde_json::{Map, Value, json};

use super::Context;

/// A bundle being written, as yet without its header: only at its end is it
/// known whether it shows everything.
pub struct Evidence {
    lines: Writer<Vec<u8>>,
}

impl Evidence {
    /// A bundle over the tree of `size` leaves.
    pub fn new(size: u64) -> Self {
        Self { lines: Writer::resumed(Vec::new(), size, 0, 0) }
    }

    /// Adds entries in the order of the trail, and what lies between.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn add(
        &mut self,
        context: &Context<'_, '_>,
        records: &[AuditRecord],
    ) -> Result<(), StoreError> {
        let mut next = self.lines.next();
        let mut gaps: Vec<Subtree> = Vec::new();
        for record in records {
            gaps.extend(keystone::audit::merkle::gap(next, record.entry.seq));
            next = record.entry.seq + 1;
        }
        let mut roots = context.tenant.audit_subtrees(&gaps).await?.into_iter();
        let mut gaps = gaps.into_iter();
        for AuditRecord { entry, leaf, personal } in records {
            while self.lines.next() < entry.seq {
                let (Some(gap), Some(root)) = (gaps.next(), roots.next()) else {
                    return Err(StoreError::defect("a gap without its hash"));
                };
                self.lines.subtree(gap, &root).map_err(StoreError::defect)?;
            }
            self.lines.entry(entry, leaf, personal).map_err(StoreError::defect)?;
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn len(&mut self) -> usize {
        self.lines.output().len()
    }

    /// The file.
    ///
    /// # Errors
    /// As [`Evidence::add`].
    pub async fn finish(mut self, context: &Context<'_, '_>) -> Result<Vec<u8>, StoreError> {
        let size = context.snapshot.size;
        let rest: Vec<Subtree> = self.lines.gap_before(size).collect();
        let roots = context.tenant.audit_subtrees(&rest).await?;
        for (gap, root) in rest.into_iter().zip(roots) {
            self.lines.subtree(gap, &root).map_err(StoreError::defect)?;
        }
        let all = self.lines.entries() == size;
        let lines = self.lines.finish().map_err(StoreError::defect)?;
        let filter = if all { None } else { Some(chosen(context)?) };
        let tenant = context.tenant.id().as_str();
        let header = Header::new(tenant, &*context.snapshot.checkpoint, filter, context.made_at);
        let mut file = Writer::new(Vec::new(), &header, size).map_err(StoreError::defect)?;
        let file = std::mem::take(file.output());
        Ok([file, lines].concat())
    }
}

/// By what the entries of a volume were chosen: the filter, and which part.
fn chosen(context: &Context<'_, '_>) -> Result<Value, StoreError> {
    let filter = serde_json::to_value(&context.filter).map_err(StoreError::defect)?;
    let mut chosen: Map<String, Value> = filter.as_object().cloned().unwrap_or_default();
    chosen.insert("volume".into(), json!(context.volume));
    Ok(Value::Object(chosen))
}
