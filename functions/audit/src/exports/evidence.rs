//! The evidence bundle of a volume: its entries in canonical form, and hashes
//! for the rest of the tree, so that each volume leads to the root by itself.
//!
//! Of the entries that a volume looked at and does not show, the hashes are made
//! from the entries that were read: as they lead to the root, those entries are
//! the ones that were signed, and none of them was left out for what it is not.
//! The rest of the tree are hashes that are stored, which must lead there too.

use keystone::audit::bundle::{Header, Writer};
use keystone::audit::merkle::{Hash, Subtree, gap, node_hash};
use keystone::tenant::{AuditRecord, StoreError};
use serde_json::{Map, Value, json};

use super::Context;

/// A bundle being written, as yet without its header: only at its end is it
/// known whether it shows everything.
pub struct Evidence {
    lines: Writer<Vec<u8>>,
    hidden: Hidden,
}

impl Evidence {
    /// A bundle whose first entry to look at is `start`.
    ///
    /// # Errors
    /// [`StoreError::Trail`] when hashes of what lies before are not stored;
    /// otherwise when the database does not answer.
    pub async fn new(context: &Context<'_, '_>, start: u64) -> Result<Self, StoreError> {
        let lines = Writer::resumed(Vec::new(), context.snapshot.size, 0, 0);
        let mut bundle = Self { lines, hidden: Hidden::default() };
        bundle.write_stored(context, start).await?;
        Ok(bundle)
    }

    /// Adds the next entry.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when it is not the next.
    pub fn show(&mut self, record: &AuditRecord) -> Result<(), StoreError> {
        self.write_hidden()?;
        let AuditRecord { entry, leaf, personal } = record;
        self.lines.entry(entry, leaf, personal).map_err(StoreError::defect)
    }

    /// Adds the next entry by its leaf, which is that of the entry as it was
    /// read.
    pub fn hide(&mut self, record: &AuditRecord) {
        self.hidden.push(record.entry.seq, record.leaf);
    }

    /// Bytes so far.
    pub fn len(&mut self) -> usize {
        self.lines.output().len()
    }

    /// The file.
    ///
    /// # Errors
    /// As [`Evidence::new`].
    pub async fn finish(mut self, context: &Context<'_, '_>) -> Result<Vec<u8>, StoreError> {
        let size = context.snapshot.size;
        self.write_hidden()?;
        self.write_stored(context, size).await?;
        let all = self.lines.entries() == size;
        let lines = self.lines.finish().map_err(StoreError::defect)?;
        let filter = if all { None } else { Some(chosen(context)?) };
        let tenant = context.tenant.id().as_str();
        let header = Header::new(tenant, &*context.snapshot.checkpoint, filter, context.made_at);
        let mut file = Writer::new(Vec::new(), &header, size).map_err(StoreError::defect)?;
        let file = std::mem::take(file.output());
        Ok([file, lines].concat())
    }

    fn write_hidden(&mut self) -> Result<(), StoreError> {
        for (subtree, root) in self.hidden.0.drain(..) {
            self.lines.subtree(subtree, &root).map_err(StoreError::defect)?;
        }
        Ok(())
    }

    /// Writes stored hashes for what is not looked at, up to before `end`.
    async fn write_stored(
        &mut self,
        context: &Context<'_, '_>,
        end: u64,
    ) -> Result<(), StoreError> {
        let subtrees: Vec<Subtree> = gap(self.lines.next(), end).collect();
        let roots = context.tenant.audit_subtrees(&subtrees).await?;
        for (subtree, root) in subtrees.into_iter().zip(roots) {
            self.lines.subtree(subtree, &root).map_err(StoreError::defect)?;
        }
        Ok(())
    }
}

/// Perfect subtrees over leaves that follow each other, as few as possible: at
/// most two for each level of the tree, however many leaves.
#[derive(Default)]
struct Hidden(Vec<(Subtree, Hash)>);

impl Hidden {
    fn push(&mut self, seq: u64, leaf: Hash) {
        let (mut height, mut root) = (0, leaf);
        let is_left =
            |left: &Subtree, height| left.height == height && (seq + 1).trailing_zeros() > height;
        while let Some((_, left)) = self.0.pop_if(|(left, _)| is_left(left, height)) {
            root = node_hash(&left, &root);
            height += 1;
        }
        self.0.push((Subtree { last: seq, height }, root));
    }
}

/// By what the entries of a volume were chosen: the filter, and which part.
fn chosen(context: &Context<'_, '_>) -> Result<Value, StoreError> {
    let filter = serde_json::to_value(&context.filter).map_err(StoreError::defect)?;
    let mut chosen: Map<String, Value> = filter.as_object().cloned().unwrap_or_default();
    chosen.insert("volume".into(), json!(context.volume));
    Ok(Value::Object(chosen))
}

#[cfg(test)]
mod tests {
    use keystone::audit::merkle::{leaf_hash, root_of};

    use super::*;

    #[test]
    fn hidden_leaves_are_the_subtrees_of_their_gap() {
        let leaves: Vec<Hash> = (0_u64..70).map(|seq| leaf_hash(&seq.to_be_bytes())).collect();
        for start in 0..leaves.len() {
            let mut hidden = Hidden::default();
            for end in start..leaves.len() {
                let wanted: Vec<(Subtree, Hash)> = gap(start as u64, end as u64)
                    .map(|subtree| {
                        let last = usize::try_from(subtree.last).unwrap();
                        let first = last + 1 - (1 << subtree.height);
                        (subtree, root_of(&leaves[first..=last]))
                    })
                    .collect();
                assert_eq!(hidden.0, wanted, "{start} to {end}");
                hidden.push(end as u64, leaves[end]);
            }
        }
    }
}
