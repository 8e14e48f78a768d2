//! The audit trail as it is stored: entries in the tenant's append-only
//! database, and the tree's head in its data database.

use futures::TryStreamExt;
use jiff::Timestamp;
use mongodb::ClientSession;
use mongodb::bson::{
    Bson, Document, deserialize_from_bson, deserialize_from_document, doc, serialize_to_bson,
};
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::{StoreError, Tenant, TenantId, bson_time, schema};
use crate::audit::entry::{CommittedEntry, Draft, Opening, Personal};
use crate::audit::merkle::{Hash, TreeHead};
use crate::random;

const HEAD_ID: &str = "head";

/// The tree's right edge as a transaction found it.
pub(super) struct Head(TreeHead);

/// The head document of a tenant without entries.
pub(super) fn empty_head(tenant: &TenantId) -> Document {
    doc! {
        "_id": HEAD_ID,
        "tenant_id": tenant.as_str(),
        "size": 0_i64,
        "edge": Vec::<String>::new(),
        "claims": 0_i64,
    }
}

/// Reads the head and claims it for this transaction.
pub(super) async fn claim_head(
    tenant: &Tenant,
    session: &mut ClientSession,
) -> Result<Head, StoreError> {
    let found = tenant
        .collection::<Document>(schema::AUDIT_HEAD)
        .find_one_and_update(
            doc! { "_id": HEAD_ID, "tenant_id": tenant.id().as_str() },
            doc! { "$inc": { "claims": 1_i64 } },
        )
        .return_document(ReturnDocument::After)
        .session(session)
        .await?
        .ok_or_else(|| StoreError::defect("the audit head is missing"))?;
    head_of(&found).map(Head)
}

fn head_of(document: &Document) -> Result<TreeHead, StoreError> {
    let only = |field| document.get(field).cloned().unwrap_or(Bson::Null);
    Ok(deserialize_from_document(doc! { "size": only("size"), "edge": only("edge") })?)
}

/// Appends the entry and moves the head.
pub(super) async fn append(
    tenant: &Tenant,
    session: &mut ClientSession,
    head: &Head,
    draft: Draft,
) -> Result<(), StoreError> {
    let mut tree = head.0.clone();
    let at = draft.at;
    let (entry, personal) =
        draft.seal(tree.size(), random::bytes::<32>).map_err(StoreError::defect)?;
    let leaf = entry.leaf_hash().map_err(StoreError::defect)?;
    let seq = i64::try_from(entry.seq).map_err(StoreError::defect)?;
    let nodes = tree.append(leaf);
    let personal = personal
        .into_iter()
        .map(|(path, opening)| {
            let mut document = doc! { "path": path };
            if let Bson::Document(opening) = serialize_to_bson(&opening)? {
                document.extend(opening);
            }
            Ok(document)
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    tenant
        .audit_entries()
        .insert_one(doc! {
            "_id": seq,
            "tenant_id": tenant.id().as_str(),
            "at": bson_time(at),
            "entry": serialize_to_bson(&entry)?,
            "leaf": leaf.to_string(),
            "nodes": serialize_to_bson(&nodes)?,
            "personal": personal,
        })
        .session(&mut *session)
        .await?;
    tenant
        .collection::<Document>(schema::AUDIT_HEAD)
        .update_one(
            doc! { "_id": HEAD_ID, "tenant_id": tenant.id().as_str(), "size": seq },
            doc! { "$set": serialize_to_bson(&tree)? },
        )
        .session(session)
        .await?;
    Ok(())
}

/// What to look for in the audit trail; absent members do not restrict.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Id of the actor.
    pub actor: Option<String>,
    /// Action, such as `batch.create`.
    pub action: Option<String>,
    /// Type of the resource.
    pub resource_type: Option<String>,
    /// Id of the resource.
    pub resource_id: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Source address, in its canonical text.
    pub ip: Option<String>,
}

impl AuditFilter {
    fn query(&self, tenant: &TenantId) -> Document {
        let mut query = doc! { "tenant_id": { "$eq": tenant.as_str() } };
        for (field, value) in [
            ("entry.actor.id", &self.actor),
            ("entry.action", &self.action),
            ("entry.resource.type", &self.resource_type),
            ("entry.resource.id", &self.resource_id),
        ] {
            if let Some(value) = value {
                query.insert(field, doc! { "$eq": value });
            }
        }
        let mut at = Document::new();
        if let Some(from) = self.from {
            at.insert("$gte", bson_time(from));
        }
        if let Some(to) = self.to {
            at.insert("$lt", bson_time(to));
        }
        if !at.is_empty() {
            query.insert("at", at);
        }
        if let Some(ip) = &self.ip {
            query.insert(
                "personal",
                doc! { "$elemMatch": { "path": "/source_ip", "value": { "$eq": ip } } },
            );
        }
        query
    }
}

/// A stored audit entry with the openings of its personal values.
pub struct AuditRecord {
    /// The entry as it entered the tree.
    pub entry: CommittedEntry,
    /// Hash of its leaf, as it was stored with the entry.
    pub leaf: Hash,
    /// What opens its commitments, less what was erased.
    pub personal: Personal,
}

#[derive(Deserialize)]
struct StoredOpening {
    path: String,
    salt: String,
    value: Bson,
}

impl AuditRecord {
    fn from_document(document: &Document) -> Result<Self, StoreError> {
        let only = |field| document.get(field).cloned().unwrap_or(Bson::Null);
        let openings: Vec<StoredOpening> = deserialize_from_bson(only("personal"))?;
        let personal = openings
            .into_iter()
            .map(|stored| {
                let opening: Opening =
                    deserialize_from_document(doc! { "salt": stored.salt, "value": stored.value })?;
                Ok((stored.path, opening))
            })
            .collect::<Result<Personal, StoreError>>()?;
        Ok(Self {
            entry: deserialize_from_bson(only("entry"))?,
            leaf: deserialize_from_bson(only("leaf"))?,
            personal,
        })
    }
}

impl Tenant {
    /// Audit entries that fit, newest first, from below `before`.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn audit_entries_where(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: i64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let mut query = filter.query(self.id());
        if let Some(before) = before {
            query.insert("_id", doc! { "$lt": i64::try_from(before).unwrap_or(i64::MAX) });
        }
        let found: Vec<Document> = self
            .audit_entries()
            .find(query)
            .sort(doc! { "tenant_id": 1, "_id": -1 })
            .limit(limit)
            .await?
            .try_collect()
            .await?;
        found.iter().map(AuditRecord::from_document).collect()
    }

    /// The audit entry with this number.
    ///
    /// # Errors
    /// As [`Tenant::audit_entries_where`].
    pub async fn audit_entry(&self, seq: u64) -> Result<Option<AuditRecord>, StoreError> {
        let Ok(seq) = i64::try_from(seq) else {
            return Ok(None);
        };
        self.audit_entries()
            .find_one(doc! { "_id": seq, "tenant_id": self.id().as_str() })
            .await?
            .as_ref()
            .map(AuditRecord::from_document)
            .transpose()
    }

    /// Size and right edge of the audit tree.
    ///
    /// # Errors
    /// As [`Tenant::audit_entries_where`].
    pub async fn audit_tree(&self) -> Result<TreeHead, StoreError> {
        let found = self
            .collection::<Document>(schema::AUDIT_HEAD)
            .find_one(doc! { "_id": HEAD_ID, "tenant_id": self.id().as_str() })
            .await?
            .ok_or_else(|| StoreError::defect("the audit head is missing"))?;
        head_of(&found)
    }

    /// How many entries fit, counted up to `most`.
    ///
    /// # Errors
    /// As [`Tenant::audit_entries_where`].
    pub async fn count_audit_entries(
        &self,
        filter: &AuditFilter,
        most: u64,
    ) -> Result<u64, StoreError> {
        Ok(self.audit_entries().count_documents(filter.query(self.id())).limit(most).await?)
    }
}
