//! What the posture looks at beneath typed access: whether the database itself
//! holds what the code relies on. Nothing here changes or discloses anything.

use futures::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{ErrorKind, WriteFailure};

use super::{StoreError, Tenant, bson_time, schema};
use crate::crypto::{CryptoError, Envelope, Place};
use crate::random;

/// What a validator answers, of MongoDB.
const DOCUMENT_VALIDATION_FAILURE: i32 = 121;
/// What a server answers whom it does not let do something.
const UNAUTHORIZED: i32 = 13;

/// Stored values of fields that hold sealed values only.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SealedSample {
    /// Values that open where they stand.
    pub opened: u64,
    /// Values whose subject's secret was destroyed.
    pub erased: u64,
    /// Fields with values that are no ciphertext, or do not open where they
    /// stand, as `collection.field`.
    pub wrong: Vec<String>,
}

impl Tenant {
    /// Opens the sealed values of the newest `limit` documents of every
    /// collection that has them, and drops what was in them.
    ///
    /// # Errors
    /// [`StoreError`] when a store does not answer.
    pub async fn sample_sealed(&self, limit: i64) -> Result<SealedSample, StoreError> {
        let mut sample = SealedSample::default();
        for collection in schema::collections_of(self.id()) {
            for field in collection.sealed {
                let found: Vec<Document> = self
                    .entities(collection)
                    .find(doc! { "tenant_id": self.id().as_str(), *field: { "$ne": Bson::Null } })
                    .projection(doc! { *field: 1 })
                    .sort(doc! { "tenant_id": 1, "_id": -1 })
                    .limit(limit.max(1))
                    .await?
                    .try_collect()
                    .await?;
                for document in &found {
                    match self.opens(collection.name, field, document).await? {
                        Some(true) => sample.opened += 1,
                        Some(false) => sample.erased += 1,
                        None => sample.wrong.push(format!("{}.{field}", collection.name)),
                    }
                }
            }
        }
        sample.wrong.dedup();
        Ok(sample)
    }

    /// Whether the value of `field` opens; `false` if it was erased, `None` if
    /// it is no value that was sealed for this place.
    async fn opens(
        &self,
        collection: &str,
        field: &str,
        document: &Document,
    ) -> Result<Option<bool>, StoreError> {
        let id = document.get_str("_id").ok().and_then(|id| id.parse().ok());
        let envelope = document.get(field).and_then(Envelope::from_bson);
        let (Some(id), Some(envelope)) = (id, envelope) else { return Ok(None) };
        match self.open_envelope(Place { collection, document: id, field }, &envelope).await {
            Ok(_) => Ok(Some(true)),
            Err(CryptoError::Erased) => Ok(Some(false)),
            Err(
                CryptoError::NoSecret
                | CryptoError::NotAuthentic
                | CryptoError::Malformed
                | CryptoError::UnknownKey,
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The collections that take a document of another tenant. Each is offered
    /// one in a transaction that is never committed.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn take_foreign_documents(
        &self,
        now: Timestamp,
    ) -> Result<Vec<&'static str>, StoreError> {
        let mut takers = Vec::new();
        for collection in schema::collections_of(self.id()) {
            let foreign = doc! {
                "_id": random::id(now)?.to_string(),
                // No tenant has such a slug.
                "tenant_id": "-",
                "version": 1_i64,
                "created_at": bson_time(now),
                "updated_at": bson_time(now),
            };
            let mut session = self.database.client.start_session().await?;
            session.start_transaction().await?;
            let documents = self.entities(collection);
            let done = documents.insert_one(foreign).session(&mut session).await;
            // A server that cannot be told aborts by itself.
            let _ = session.abort_transaction().await;
            match done {
                Ok(_) => takers.push(collection.name),
                Err(error) if code_of(&error) == Some(DOCUMENT_VALIDATION_FAILURE) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(takers)
    }

    /// The append-only collections in which this function's database user may
    /// change or remove something. It tries to, with what is in none of them.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn changeable_records(&self) -> Result<Vec<&'static str>, StoreError> {
        let entities = schema::collections_of(self.id()).filter(|one| one.append_only);
        let mut names = vec![schema::AUDIT_ENTRIES, schema::AUDIT_CHECKPOINTS];
        names.extend(entities.map(|collection| collection.name));
        let records = self.database.tenant_audit(self.id());
        let nothing = doc! { "_id": "-", "tenant_id": self.id().as_str() };
        let mut changeable = Vec::new();
        for name in names {
            let documents = records.collection::<Document>(name);
            let change = doc! { "$set": { "probe": 1 } };
            let changed = documents.update_one(nothing.clone(), change).await.map(|_| ());
            let removed = documents.delete_one(nothing.clone()).await.map(|_| ());
            for done in [changed, removed] {
                match done {
                    Ok(()) if changeable.last() != Some(&name) => changeable.push(name),
                    Ok(()) => {}
                    Err(error) if code_of(&error) == Some(UNAUTHORIZED) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(changeable)
    }
}

fn code_of(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        _ => None,
    }
}
