//! Long work of a job on one entity: who does it, until when, how far it came.
//!
//! A run takes the work for a while and renews that as it goes on; one that
//! dies leaves the work free when its time is over, and the next goes on where
//! it ended. All of this moves a lease and bookkeeping and no state of the
//! tenant's, so it leaves no audit entry; what comes of the work does.

use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{DateTime, Document, doc, serialize_to_bson};
use mongodb::options::ReturnDocument;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Entity, Filter, Id, StoreError, Stored, Tenant, bson_time, schema};

/// How far a kind of work came, as it is stored. The document's id is that of
/// the entity that the work is for.
pub trait Work: Serialize + DeserializeOwned + Default + Send + Sync {
    /// Where it is stored.
    const RUNS: &'static schema::Runs;
}

#[derive(Serialize, Deserialize)]
#[serde(bound = "W: Work", deny_unknown_fields)]
struct Run<W> {
    free_at: DateTime,
    attempts: i32,
    work: W,
}

impl<W: Work> Entity for Run<W> {
    const COLLECTION: &'static schema::Collection = W::RUNS.collection;
    const RESOURCE: &'static str = "run";
    const PERSONAL: &'static [&'static str] = &[];
}

/// The right to do a piece of work until its time is over.
pub struct Lease<W> {
    id: Id,
    /// Grows with every change: whoever lost the lease has an old one.
    version: i64,
    /// Runs that took the work since it last advanced, this one included.
    pub attempts: i32,
    /// How far the work came.
    pub work: W,
}

/// What another run left, or is doing.
pub struct Seen<W> {
    /// How far it came.
    pub work: W,
    /// When the work is free for another run, unless the lease is renewed.
    pub free_at: Timestamp,
}

impl Tenant {
    /// Takes the work for `id` until `lease` from `now`; `None` while another
    /// run has it.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn take_work<W: Work>(
        &self,
        id: Id,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<Option<Lease<W>>, StoreError> {
        let runs = self.collection::<Document>(W::RUNS.collection.name);
        let free = Filter::all().eq("_id", id.to_string()).until("free_at", now);
        let found = runs
            .find_one_and_update(
                free.for_tenant(self.id()),
                doc! {
                    "$set": { "free_at": bson_time(now + lease), "updated_at": bson_time(now) },
                    "$inc": { "attempts": 1, "version": 1_i64 },
                },
            )
            .return_document(ReturnDocument::After)
            .await?;
        let taken = if let Some(document) = found {
            Stored::<Run<W>>::from_document(document, self.id())?
        } else {
            let run = Run { free_at: bson_time(now + lease), attempts: 1, work: W::default() };
            let first = Stored { id, version: 1, created_at: now, updated_at: now, entity: run };
            let inserted = runs.insert_one(first.to_document(self.id())?).await;
            match inserted.map_err(StoreError::from) {
                Ok(_) => first,
                Err(StoreError::Duplicate) => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let Run { attempts, work, .. } = taken.entity;
        Ok(Some(Lease { id, version: taken.version, attempts, work }))
    }

    /// Stores how far the work came and keeps it until `lease` from `now`.
    /// With `advanced` the count of attempts begins anew.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when another run has taken the work; this one
    /// must then end.
    pub async fn keep_work<W: Work>(
        &self,
        held: &mut Lease<W>,
        advanced: bool,
        now: Timestamp,
        lease: SignedDuration,
    ) -> Result<(), StoreError> {
        if advanced {
            held.attempts = 0;
        }
        let mine = Filter::all().eq("_id", held.id.to_string());
        let mut mine = mine.for_tenant(self.id());
        mine.insert("version", held.version);
        let done = self
            .collection::<Document>(W::RUNS.collection.name)
            .update_one(
                mine,
                doc! {
                    "$set": {
                        "free_at": bson_time(now + lease),
                        "updated_at": bson_time(now),
                        "attempts": held.attempts,
                        "work": serialize_to_bson(&held.work)?,
                    },
                    "$inc": { "version": 1_i64 },
                },
            )
            .await?;
        if done.matched_count == 0 {
            return Err(StoreError::Stale);
        }
        held.version += 1;
        Ok(())
    }

    /// How far the work for `id` came; `None` if no run has taken it yet.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn see_work<W: Work>(&self, id: Id) -> Result<Option<Seen<W>>, StoreError> {
        let Some(run) = self.get::<Run<W>>(id).await? else { return Ok(None) };
        let free_at = run.entity.free_at.timestamp_millis();
        let free_at = Timestamp::from_millisecond(free_at).map_err(StoreError::defect)?;
        Ok(Some(Seen { work: run.entity.work, free_at }))
    }
}
