//! What proves the audit trail: hashes for proofs, signed checkpoints, and the
//! stored entries as they are, for whoever checks them.

use std::collections::HashMap;
use std::ops::Range;

use futures::TryStreamExt;
use jiff::Timestamp;
use keystone_log::chain::Link;
use mongodb::bson::{Bson, Document, deserialize_from_bson, doc, serialize_to_bson};

use super::audit_log::{IP_INDEX, SOURCE_IP, envelopes, owner_of, seq_of};
use super::read::bytes;
use super::{StoreError, Tenant, bson_time, schema, time_of};
use crate::audit::entry::{CommittedEntry, Personal};
use crate::audit::merkle::{Hash, Subtree, consistency_subtrees, gap, inclusion_subtrees, join};
use crate::crypto::Subject;

/// Characters that are shown of the id of something that has no number.
const LONGEST_ID: usize = 60;

/// A signed checkpoint as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// Number of entries that it covers.
    pub size: u64,
    /// When it was signed, to the millisecond; of one that was stored later than
    /// it was archived, when it was archived, to the second.
    pub at: Timestamp,
    /// The note, and the proof that it extends the one before.
    pub link: Link,
}

/// An audit entry as it lies in the store, unchecked.
#[derive(Debug)]
pub struct StoredEntry {
    /// Its number in the store.
    pub seq: u64,
    /// Its parts, or why they cannot be read.
    pub parts: Result<EntryParts, String>,
}

/// The parts of a stored audit entry that the tree is made of.
#[derive(Debug)]
pub struct EntryParts {
    /// The entry.
    pub entry: CommittedEntry,
    /// By which queries find it in time.
    pub at: Option<Timestamp>,
    /// Its leaf.
    pub leaf: Hash,
    /// The perfect subtrees that end with it, by height.
    pub nodes: Vec<Hash>,
    /// What opens its commitments.
    pub personal: Personal,
    /// Of whom sealed values do not open any more.
    pub erased: Vec<Subject>,
    /// Whether a query by its source address finds it, as far as that is known.
    pub found_by_ip: bool,
}

impl EntryParts {
    /// The personal values that are not there, and whose each is; `None` where
    /// it is a contact's of the tenant, who may be any of its users.
    pub fn removed(&self) -> Vec<(String, Option<Subject>)> {
        let paths = self.entry.personal_paths().into_iter();
        let absent = paths.filter(|path| !self.personal.contains_key(path));
        absent.map(|path| (path.clone(), owner_of(&self.entry, &path))).collect()
    }
}

impl Tenant {
    /// The roots of perfect subtrees of the audit tree, in one query.
    ///
    /// # Errors
    /// [`StoreError::Trail`] when the trail does not hold one of them;
    /// otherwise when the database does not answer.
    pub async fn audit_subtrees(&self, wanted: &[Subtree]) -> Result<Vec<Hash>, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let lasts = wanted.iter().map(|subtree| i64::try_from(subtree.last).map(Bson::from));
        let lasts = lasts.collect::<Result<Vec<_>, _>>().map_err(StoreError::defect)?;
        let found: Vec<Document> = self
            .audit_entries()
            .find(doc! { "tenant_id": self.id().as_str(), "_id": { "$in": lasts } })
            .projection(doc! { "nodes": 1 })
            .await?
            .try_collect()
            .await?;
        let mut nodes: HashMap<u64, Vec<Hash>> = HashMap::new();
        for document in found {
            let seq = seq_of(&document)?;
            let stored = document.get("nodes").cloned().unwrap_or(Bson::Null);
            let stored = deserialize_from_bson(stored).map_err(|error| {
                StoreError::Trail(format!("the tree hashes of entry {seq} cannot be read: {error}"))
            });
            nodes.insert(seq, stored?);
        }
        wanted
            .iter()
            .map(|Subtree { last, height }| {
                let of_entry = nodes.get(last);
                of_entry.and_then(|of_entry| of_entry.get(*height as usize)).copied().ok_or_else(
                    || {
                        StoreError::Trail(format!(
                            "the audit trail has no hash of height {height} at entry {last}"
                        ))
                    },
                )
            })
            .collect()
    }

    /// The root of the tree of the first `size` entries, from stored hashes.
    ///
    /// # Errors
    /// As [`Tenant::audit_subtrees`].
    pub async fn audit_root(&self, size: u64) -> Result<Hash, StoreError> {
        let subtrees: Vec<Subtree> = gap(0, size).collect();
        Ok(join(&self.audit_subtrees(&subtrees).await?))
    }

    /// The proof that the tree of the first `size` entries holds entry `seq`
    /// (RFC 6962 §2.1.1), from stored hashes.
    ///
    /// # Errors
    /// As [`Tenant::audit_subtrees`]; [`StoreError::Defect`] when `seq` is not
    /// below `size`.
    pub async fn audit_inclusion(&self, seq: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        self.joined(inclusion_subtrees(seq, size).map_err(StoreError::defect)?).await
    }

    /// The proof that the tree of the first `to` entries extends that of the
    /// first `from` (RFC 6962 §2.1.2), from stored hashes.
    ///
    /// # Errors
    /// As [`Tenant::audit_subtrees`]; [`StoreError::Defect`] when `from` is above
    /// `to`.
    pub async fn audit_consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
        self.joined(consistency_subtrees(from, to).map_err(StoreError::defect)?).await
    }

    async fn joined(&self, groups: Vec<Vec<Subtree>>) -> Result<Vec<Hash>, StoreError> {
        let hashes = self.audit_subtrees(&groups.concat()).await?;
        let mut rest = hashes.as_slice();
        Ok(groups
            .iter()
            .map(|group| {
                let (of_group, others) = rest.split_at(group.len());
                rest = others;
                join(of_group)
            })
            .collect())
    }

    /// The newest signed checkpoint.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn last_checkpoint(&self) -> Result<Option<SignedCheckpoint>, StoreError> {
        Ok(self.checkpoints(None, 1).await?.pop())
    }

    /// The signed checkpoint that covers exactly the first `size` entries.
    ///
    /// # Errors
    /// As [`Tenant::last_checkpoint`].
    pub async fn checkpoint_of(&self, size: u64) -> Result<Option<SignedCheckpoint>, StoreError> {
        let Ok(size) = i64::try_from(size) else { return Ok(None) };
        let only = doc! { "tenant_id": self.id().as_str(), "_id": size };
        let found = self.audit_checkpoints().find_one(only).await?;
        found.as_ref().map(checkpoint_of).transpose()
    }

    /// Signed checkpoints, newest first, of sizes below `before`.
    ///
    /// # Errors
    /// As [`Tenant::last_checkpoint`].
    pub async fn checkpoints(
        &self,
        before: Option<u64>,
        limit: i64,
    ) -> Result<Vec<SignedCheckpoint>, StoreError> {
        let below = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        self.checkpoints_where(doc! { "$lt": below }, -1, limit).await
    }

    /// Signed checkpoints, oldest first, of sizes above `after`.
    ///
    /// # Errors
    /// As [`Tenant::last_checkpoint`].
    pub async fn checkpoints_after(
        &self,
        after: Option<u64>,
        limit: i64,
    ) -> Result<Vec<SignedCheckpoint>, StoreError> {
        let above = after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX));
        self.checkpoints_where(doc! { "$gt": above }, 1, limit).await
    }

    async fn checkpoints_where(
        &self,
        size: Document,
        order: i32,
        limit: i64,
    ) -> Result<Vec<SignedCheckpoint>, StoreError> {
        let found: Vec<Document> = self
            .audit_checkpoints()
            .find(doc! { "tenant_id": self.id().as_str(), "_id": size })
            .sort(doc! { "tenant_id": 1, "_id": order })
            .limit(limit)
            .await?
            .try_collect()
            .await?;
        found.iter().map(checkpoint_of).collect()
    }

    /// Stores a signed checkpoint, which must be archived: whoever runs the
    /// database sees it from here on. The store takes one successor of each
    /// checkpoint, so the chain cannot fork.
    ///
    /// # Errors
    /// [`StoreError::Duplicate`] when the one before has a successor already;
    /// otherwise when the database does not answer.
    pub async fn keep_checkpoint(&self, signed: &SignedCheckpoint) -> Result<(), StoreError> {
        let number = |size| i64::try_from(size).map_err(StoreError::defect);
        self.audit_checkpoints()
            .insert_one(doc! {
                "_id": number(signed.size)?,
                "tenant_id": self.id().as_str(),
                "at": bson_time(signed.at),
                "format": &signed.link.format,
                "checkpoint": &signed.link.checkpoint,
                "previous": number(signed.link.previous)?,
                "consistency": serialize_to_bson(&signed.link.consistency)?,
            })
            .await?;
        Ok(())
    }

    /// Audit entries as they are stored, oldest first, from number `from`. One
    /// that cannot be read is an element like any other; one without the number
    /// of an entry is none ([`Tenant::misplaced_audit_documents`]).
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn stored_audit_entries(
        &self,
        from: u64,
        limit: i64,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let from = i64::try_from(from).map_err(StoreError::defect)?;
        self.stored_entries(doc! { "$gte": from }, limit).await
    }

    /// Audit entries as they are stored, oldest first, with numbers in `range`,
    /// all of which come at once.
    ///
    /// # Errors
    /// As [`Tenant::stored_audit_entries`].
    pub async fn stored_audit_entries_within(
        &self,
        range: Range<u64>,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let number = |number: u64| i64::try_from(number).map_err(StoreError::defect);
        let limit = number(range.end.saturating_sub(range.start))?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let numbers = doc! { "$gte": number(range.start)?, "$lt": number(range.end)? };
        self.stored_entries(numbers, limit).await
    }

    async fn stored_entries(
        &self,
        numbers: Document,
        limit: i64,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let found: Vec<Document> = self
            .audit_entries()
            .find(doc! { "tenant_id": self.id().as_str(), "_id": numbers })
            .sort(doc! { "tenant_id": 1, "_id": 1 })
            .limit(limit)
            .await?
            .try_collect()
            .await?;
        let sealed = found.iter().filter_map(|document| envelopes(document).ok()).flatten();
        self.prefetch(sealed.map(|envelope| envelope.subject)).await?;
        let mut entries = Vec::with_capacity(found.len());
        for document in found {
            let Ok(seq) = seq_of(&document) else { continue };
            let parts = match self.entry_parts(document).await {
                Err(StoreError::Trail(what) | StoreError::Defect(what)) => Err(what),
                parts => Ok(parts?),
            };
            entries.push(StoredEntry { seq, parts });
        }
        Ok(entries)
    }

    /// What stands among the audit entries and has no number of one (a negative
    /// one, a fraction, a text), so that no read comes by it: at most `limit` of
    /// their ids, as text.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn misplaced_audit_documents(&self, limit: i64) -> Result<Vec<String>, StoreError> {
        let no_number = doc! { "_id": { "$not": { "$type": "long" } } };
        let found: Vec<Document> = self
            .audit_entries()
            .find(doc! { "$or": [no_number, { "_id": { "$lt": 0_i64 } }] })
            .projection(doc! { "_id": 1 })
            .limit(limit)
            .await?
            .try_collect()
            .await?;
        let id = |document: &Document| document.get("_id").map(ToString::to_string);
        let ids = found.iter().map(|document| id(document).unwrap_or_default());
        Ok(ids.map(|id| id.chars().take(LONGEST_ID).collect()).collect())
    }

    /// How many documents there are among the audit entries, whatever they are.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn count_audit_documents(&self) -> Result<u64, StoreError> {
        Ok(self.audit_entries().count_documents(doc! {}).await?)
    }

    async fn entry_parts(&self, mut document: Document) -> Result<EntryParts, StoreError> {
        let at = time_of(document.get("at"));
        let sealed = envelopes(&document)?;
        let mut part = |field| document.remove(field).unwrap_or(Bson::Null);
        let entry: CommittedEntry = deserialize_from_bson(part("entry"))?;
        let (personal, erased) = self.openings(entry.id.into(), &sealed).await?;
        let found_by_ip = match personal.get(SOURCE_IP).and_then(|found| found.value.as_str()) {
            Some(ip) => bytes(&self.keys.blind(IP_INDEX, ip.as_bytes())?) == part(IP_INDEX),
            None => true,
        };
        Ok(EntryParts {
            entry,
            leaf: deserialize_from_bson(part("leaf"))?,
            nodes: deserialize_from_bson(part("nodes"))?,
            at,
            personal,
            erased,
            found_by_ip,
        })
    }

    fn audit_checkpoints(&self) -> mongodb::Collection<Document> {
        self.database.tenant_audit(&self.record.id).collection(schema::AUDIT_CHECKPOINTS)
    }
}

fn checkpoint_of(document: &Document) -> Result<SignedCheckpoint, StoreError> {
    let text = |field| document.get_str(field).map(str::to_owned).map_err(StoreError::defect);
    let previous = document.get_i64("previous").map_err(StoreError::defect)?;
    let consistency = document.get("consistency").cloned().unwrap_or(Bson::Null);
    Ok(SignedCheckpoint {
        size: seq_of(document)?,
        at: time_of(document.get("at"))
            .ok_or_else(|| StoreError::defect("a checkpoint has no time"))?,
        link: Link {
            format: text("format")?,
            checkpoint: text("checkpoint")?,
            previous: u64::try_from(previous).map_err(StoreError::defect)?,
            consistency: deserialize_from_bson(consistency)?,
        },
    })
}
