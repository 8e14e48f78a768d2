//! New data keys, and the sealing anew of what older ones sealed.
//!
//! A new key acts at once: the transaction that adds it also names it in the
//! audit head, which every writing transaction claims, so that none that
//! commits later writes what an older key sealed. What is stored already moves
//! in batches, each an audited transaction of its own; a run that dies leaves
//! nothing to repair, the next goes on with what is left.

use std::fmt;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{Bson, Document, doc};
use serde::Serialize;
use serde_json::json;

use super::write::Resealed;
use super::{Attribution, Id, StoreError, Tenant, WriteTx, schema, time_of};
use crate::Problem;
use crate::audit::entry::Resource;
use crate::crypto::{DataKey, Envelope};

/// The action that records a new data key.
pub(super) const CREATE_KEY: &str = "data_key.create";

/// Age at which a data key is followed by a new one, as AWS KMS rotates its
/// own.
pub const ROTATION_PERIOD: SignedDuration = SignedDuration::from_hours(365 * 24);

/// Values that one transaction seals anew. It holds the audit head meanwhile,
/// so few enough that no writer waits noticeably.
const BATCH: i64 = 25;

/// What a data key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Seals, and opens what it sealed.
    Current,
    /// Opens what it sealed until that is sealed anew.
    Retiring,
    /// Nothing in the tenant's data is sealed with it any more. It opens
    /// personal values of older audit entries, which nobody can change.
    Retired,
}

/// A data key and what it is in use for.
#[derive(Debug, Clone)]
pub struct KeyUsage {
    /// Id of the key.
    pub id: Id,
    /// Ordinal of the key, from 1.
    pub version: i64,
    /// What it may be used for.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Values sealed with it, by collection and field.
    pub sealed: Vec<(&'static str, &'static str, u64)>,
    /// Audit entries whose personal values are sealed with it.
    pub audit_entries: u64,
}

/// Where a sealed value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedValue {
    /// The collection.
    pub collection: &'static str,
    /// The field.
    pub field: &'static str,
    /// Id of the document.
    pub id: Id,
}

impl fmt::Display for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} of {}", self.collection, self.field, self.id)
    }
}

impl Tenant {
    /// Adds a data key if the newest is as old as `period`; returns its
    /// version.
    ///
    /// # Errors
    /// [`Problem`] when a store does not answer; 409 when another run was
    /// faster.
    pub async fn rotate_data_key(
        &self,
        by: &Attribution,
        kms_key: &str,
        period: SignedDuration,
    ) -> Result<Option<i64>, Problem> {
        let records = self.database.data_keys(self.id()).await?;
        let newest = records
            .iter()
            .max_by_key(|record| record.version)
            .ok_or_else(|| StoreError::defect("the tenant has no data key"))?;
        let made = time_of(Some(&Bson::DateTime(newest.created_at)));
        if made.is_some_and(|made| by.now.duration_since(made) < period) {
            return Ok(None);
        }
        let vault = self.keys.vault();
        let key = vault.create(kms_key, self.id(), newest.version + 1, by.now).await?;
        self.audited(by, CREATE_KEY, async |tx: &mut WriteTx<'_>| {
            tx.name_data_key(&key)?;
            Ok(tx.add_data_key(&key).await?)
        })
        .await?;
        self.reread_data_keys().await?;
        Ok(Some(key.version))
    }

    /// Seals a batch of values anew that an older data key sealed; `None` when
    /// there is none left but those in `unreadable`. Values that do not open
    /// where they stand stay as they are and are added there.
    ///
    /// # Errors
    /// [`Problem`] when a store does not answer; the batch is then as it was.
    pub async fn reseal_batch(
        &self,
        by: &Attribution,
        unreadable: &mut Vec<SealedValue>,
    ) -> Result<Option<u64>, Problem> {
        self.reread_data_keys().await?;
        let (newest, older) = self.keys.ring().newest_and_older();
        let older: Vec<String> = older.iter().map(Id::to_string).collect();
        for collection in schema::collections_of(self.id()) {
            for field in collection.sealed {
                let known = unreadable
                    .iter()
                    .filter(|value| value.collection == collection.name && value.field == *field);
                let known = known.map(|value| value.id.to_string()).collect();
                let found = self.sealed_with(collection, field, &older, known).await?;
                if found.is_empty() {
                    continue;
                }
                let envelopes = found.iter().filter_map(|(_, envelope)| envelope.as_ref());
                self.prefetch(envelopes.map(|envelope| envelope.subject)).await?;
                let (done, spoiled) = self
                    .audited(by, "data_key.reseal", async |tx: &mut WriteTx<'_>| {
                        let (mut done, mut spoiled) = (0, Vec::new());
                        for (id, _) in &found {
                            match tx.reseal(collection, field, *id).await? {
                                Resealed::Anew => done += 1,
                                Resealed::Needless => {}
                                Resealed::Unreadable => spoiled.push(*id),
                            }
                        }
                        tx.about(resource(newest));
                        let mut facts = json!({
                            "collection": collection.name, "field": field, "values": done,
                        });
                        if !spoiled.is_empty() {
                            facts["unreadable"] = json!(spoiled);
                        }
                        tx.facts(&facts, &[])?;
                        Ok((done, spoiled))
                    })
                    .await?;
                unreadable.extend(spoiled.into_iter().map(|id| SealedValue {
                    collection: collection.name,
                    field,
                    id,
                }));
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    async fn sealed_with(
        &self,
        collection: &schema::Collection,
        field: &str,
        keys: &[String],
        except: Vec<String>,
    ) -> Result<Vec<(Id, Option<Envelope>)>, StoreError> {
        let found: Vec<Document> = self
            .collection::<Document>(collection.name)
            .find(doc! {
                "tenant_id": self.id().as_str(),
                format!("{field}.kid"): { "$in": keys },
                "_id": { "$nin": except },
            })
            .projection(doc! { field: 1 })
            .limit(BATCH)
            .await?
            .try_collect()
            .await?;
        found
            .iter()
            .map(|document| {
                let id = document.get_str("_id").ok().and_then(|id| id.parse().ok());
                let id = id.ok_or_else(|| {
                    StoreError::defect(format!("malformed id in {}", collection.name))
                })?;
                Ok((id, document.get(field).and_then(Envelope::from_bson)))
            })
            .collect()
    }

    /// The tenant's data keys, newest first, with what each is in use for.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn key_usage(&self) -> Result<Vec<KeyUsage>, StoreError> {
        let mut records: Vec<DataKey> = self.database.data_keys(self.id()).await?;
        records.sort_by_key(|record| std::cmp::Reverse(record.version));
        let newest = records.first().map(|record| record.version);
        let mut keys = Vec::with_capacity(records.len());
        for record in &records {
            let mut sealed = Vec::new();
            for collection in schema::collections_of(self.id()) {
                for field in collection.sealed {
                    let values = self.count_sealed(collection, field, record.id).await?;
                    sealed.push((collection.name, *field, values));
                }
            }
            let state = if Some(record.version) == newest {
                KeyState::Current
            } else if sealed.iter().any(|(_, _, values)| *values > 0) {
                KeyState::Retiring
            } else {
                KeyState::Retired
            };
            let created_at = time_of(Some(&Bson::DateTime(record.created_at)))
                .ok_or_else(|| StoreError::defect("malformed data key"))?;
            keys.push(KeyUsage {
                id: record.id,
                version: record.version,
                state,
                created_at,
                sealed,
                audit_entries: self.count_openings(record.id).await?,
            });
        }
        Ok(keys)
    }

    async fn count_sealed(
        &self,
        collection: &schema::Collection,
        field: &str,
        key: Id,
    ) -> Result<u64, StoreError> {
        let sealed_with = doc! {
            "tenant_id": self.id().as_str(),
            format!("{field}.kid"): key.to_string(),
        };
        Ok(self.collection::<Document>(collection.name).count_documents(sealed_with).await?)
    }

    async fn count_openings(&self, key: Id) -> Result<u64, StoreError> {
        let sealed_with = doc! { "tenant_id": self.id().as_str(), "personal.kid": key.to_string() };
        Ok(self.audit_entries().count_documents(sealed_with).await?)
    }
}

impl WriteTx<'_> {
    /// Says in the entry which data key was made.
    pub(super) fn name_data_key(&mut self, key: &DataKey) -> Result<(), StoreError> {
        self.about(resource(key.id));
        self.facts(&json!({ "version": key.version, "kms_key": key.kms_key }), &[])
    }
}

fn resource(key: Id) -> Resource {
    Resource { kind: "data_key".into(), id: key.to_string() }
}
