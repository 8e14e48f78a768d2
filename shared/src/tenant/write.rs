//! Writes, which exist only inside an audited transaction.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc, serialize_to_bson};
use mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT;
use mongodb::options::ReturnDocument;
use mongodb::{ClientSession, Collection};
use serde_json::{Map, Value, json};

use super::audit_log::Owners;
use super::read::{KEPT, Part, bytes, part_from, projection, to_json};
use super::{Entity, Filter, Id, StoreError, Stored, Tenant, audit_log, bson_time, schema};
use crate::audit::delta::{Change, delta};
use crate::audit::entry::{Actor, Draft, Outcome, Resource};
use crate::audit::merkle::Hash;
use crate::crypto::{CryptoError, DataKey, Envelope, Place, Subject, decode, normalised};
use crate::mail::Queued;
use crate::restriction::{self, Restriction};
use crate::{Problem, random};

/// Who acts, from where, and when: what an audit entry says beside the change.
#[derive(Debug, Clone)]
pub struct Attribution {
    /// Who acts.
    pub actor: Actor,
    /// The address that API Gateway saw; absent for jobs.
    pub source_ip: Option<IpAddr>,
    /// The client's description of itself, cut to 256 bytes; absent for jobs.
    pub user_agent: Option<String>,
    /// Id of the request or of the job's run.
    pub request_id: String,
    /// When the request was received or the job's step began.
    pub now: Timestamp,
}

/// How often a transaction that met another one is run again: for some 7 s.
/// That outlasts the transaction of a process that was killed, which the
/// server ends after 3 s (docs/adr/0006).
const ATTEMPTS: u32 = 100;
/// Longest pause before the first repetition; it doubles up to the cap.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
const LONGEST_PAUSE: Duration = Duration::from_millis(150);
/// How often a commit of unknown result is asked for again.
const COMMIT_ATTEMPTS: u32 = 5;

impl Tenant {
    /// Runs `work` in a transaction, appends the audit entry for `action` with
    /// the delta of everything that `work` wrote, and commits both or neither.
    ///
    /// `action` is `resource.verb`; the entry's resource is the first entity
    /// written whose kind is the action's resource, unless `work` names one
    /// with [`WriteTx::about`]. `work` may run several times when transactions
    /// meet, so it must have no effect other than through its handle.
    ///
    /// # Errors
    /// What `work` returned, with nothing written; [`Problem::Unavailable`]
    /// when the database does not answer or conflicts outlast every retry.
    pub async fn audited<R>(
        &self,
        by: &Attribution,
        action: &'static str,
        work: impl AsyncFnMut(&mut WriteTx<'_>) -> Result<R, Problem>,
    ) -> Result<R, Problem> {
        self.recorded(by, action, Outcome::Success, work).await
    }

    /// Appends an audit entry for something that changed no state: a failed
    /// sign-in, a read of unmasked personal data.
    ///
    /// # Errors
    /// As [`Tenant::audited`].
    pub async fn record(
        &self,
        by: &Attribution,
        action: &'static str,
        resource: Resource,
        outcome: Outcome,
        facts: Value,
    ) -> Result<(), Problem> {
        let subject = audit_log::subject_of(&by.actor, Some(&resource));
        self.run(by, action, outcome, subject, async |tx: &mut WriteTx<'_>| {
            tx.about(resource.clone());
            tx.facts(&facts, &[])?;
            Ok(())
        })
        .await
    }

    /// As [`Tenant::audited`], with the outcome that the entry is to show: what
    /// was refused may leave something too, a letter to whom it concerns.
    ///
    /// # Errors
    /// As [`Tenant::audited`].
    pub async fn recorded<R>(
        &self,
        by: &Attribution,
        action: &'static str,
        outcome: Outcome,
        work: impl AsyncFnMut(&mut WriteTx<'_>) -> Result<R, Problem>,
    ) -> Result<R, Problem> {
        let actor = audit_log::subject_of(&by.actor, None);
        self.run(by, action, outcome, actor, work).await
    }

    /// As [`Tenant::recorded`]; `actor` is whose address the entry will show,
    /// as far as it is known before.
    async fn run<R>(
        &self,
        by: &Attribution,
        action: &'static str,
        outcome: Outcome,
        actor: Subject,
        mut work: impl AsyncFnMut(&mut WriteTx<'_>) -> Result<R, Problem>,
    ) -> Result<R, Problem> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tracing::debug!(action, attempt, "a transaction met another and is run again");
            }
            pause_before(attempt).await?;
            // What seals the actor's address is fetched meanwhile, so that the
            // transaction does not wait for it.
            let (begun, fetched) =
                tokio::join!(WriteTx::begin(self, by.now), self.prefetch([actor]));
            let mut tx = match begun {
                Ok(tx) => tx,
                Err(StoreError::Conflict) => continue,
                Err(error) => return Err(error.into()),
            };
            let done = match fetched.map_err(Problem::from) {
                Ok(()) => work(&mut tx).await,
                Err(problem) => Err(problem),
            };
            let done = match done {
                Ok(answer) => {
                    tx.commit(by, action, outcome).await.map(|()| answer).map_err(Problem::from)
                }
                Err(problem) => Err(problem),
            };
            match done {
                Ok(answer) => return Ok(answer),
                Err(problem) => {
                    let met_another = tx.met_another;
                    tx.abort().await;
                    if !met_another {
                        return Err(problem);
                    }
                }
            }
        }
        tracing::warn!(tenant = %self.id(), action, "transaction conflicts outlasted the retries");
        Err(Problem::Unavailable)
    }
}

/// Whom the sealed values of a document of `E` are sealed for.
fn sealed_for<E: Entity>(document: &Document) -> Vec<Subject> {
    let sealed = E::COLLECTION.sealed.iter().filter_map(|field| document.get(field));
    sealed.filter_map(Envelope::from_bson).map(|envelope| envelope.subject).collect()
}

/// Waits a random part of a doubling pause, so that transactions which met do
/// not meet again.
async fn pause_before(attempt: u32) -> Result<(), Problem> {
    if attempt == 0 {
        return Ok(());
    }
    let longest = FIRST_PAUSE.saturating_mul(1 << attempt.min(10)).min(LONGEST_PAUSE);
    let share = f64::from(u16::from_be_bytes(random::bytes::<2>()?)) / f64::from(u16::MAX);
    tokio::time::sleep(longest.mul_f64(share)).await;
    Ok(())
}

/// The handle of an audited transaction: the only place with write operations.
pub struct WriteTx<'t> {
    tenant: &'t Tenant,
    session: ClientSession,
    now: Timestamp,
    head: audit_log::Head,
    touched: Vec<Touched>,
    facts: Vec<Change>,
    about: Option<Resource>,
    met_another: bool,
}

/// What became of a value that was to be sealed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resealed {
    /// It is on the newest key now.
    Anew,
    /// It is gone, or was on the newest key already.
    Needless,
    /// It does not open where it stands and nobody was erased: somebody
    /// tampered with it, or lost the secret that opens it.
    Unreadable,
}

/// What became of one document.
struct Touched {
    resource: Resource,
    changes: Vec<Change>,
    /// Whose the values of each change are.
    owners: Vec<Owners>,
    /// Whose the values are that are sealed in it now.
    sealed_for: Vec<Subject>,
    /// Whether it is the record of a person whose data's use was restricted.
    restricted: bool,
}

impl Touched {
    /// Whom it is about: the document's own subject, else whom values of it are
    /// sealed for, else who is in it.
    fn subjects(&self) -> impl Iterator<Item = Subject> {
        let people = self.owners.iter().flat_map(|owners| [owners.value, owners.before]);
        std::iter::once(Subject::of_resource(&self.resource.kind, &self.resource.id))
            .chain(self.sealed_for.iter().copied())
            .chain(people)
    }
}

impl<'t> WriteTx<'t> {
    /// Begins with the head of the audit tree, for which every transaction of
    /// the tenant competes: the loser learns it at once and not at its end.
    async fn begin(tenant: &'t Tenant, now: Timestamp) -> Result<Self, StoreError> {
        let mut session = tenant.database.client.start_session().await?;
        session.start_transaction().await?;
        let claimed = async {
            let head = audit_log::claim_head(tenant, &mut session).await?;
            // Whoever rotates the data key claims the head too: from then on
            // no transaction writes what an older key sealed.
            if head.key_version > tenant.keys.ring().version() {
                tenant.reread_data_keys().await?;
            }
            Ok(head)
        };
        let head = match claimed.await {
            Ok(head) => head,
            Err(error) => {
                let _ = session.abort_transaction().await;
                return Err(error);
            }
        };
        Ok(Self {
            tenant,
            session,
            now,
            head,
            touched: Vec::new(),
            facts: Vec::new(),
            about: None,
            met_another: false,
        })
    }

    /// The tenant that is written to.
    pub fn tenant(&self) -> &Tenant {
        self.tenant
    }

    /// Whom what was written so far is about: the first customer, supplier, user
    /// or request of a person among it, else the tenant.
    pub(crate) fn subject(&self) -> Subject {
        self.touched
            .iter()
            .flat_map(Touched::subjects)
            .find(|subject| *subject != Subject::Tenant)
            .unwrap_or(Subject::Tenant)
    }

    /// Names the entry's resource, where it is not the first entity written.
    pub fn about(&mut self, resource: Resource) {
        self.about = Some(resource);
    }

    /// Adds facts to the entry's delta that no document holds; `personal` are
    /// JSON pointers to those that are personal data, as in
    /// [`Entity::PERSONAL`].
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the facts cannot stand in a delta.
    pub fn facts(&mut self, facts: &Value, personal: &[&str]) -> Result<(), StoreError> {
        self.facts = delta(None, Some(facts), personal).map_err(StoreError::defect)?;
        Ok(())
    }

    /// Adds a new entity.
    ///
    /// # Errors
    /// [`StoreError::Duplicate`] when a unique index has its values already;
    /// [`StoreError::Erasing`] when it holds sealed values of a person whose
    /// erasure is pending.
    pub async fn insert<E: Entity>(&mut self, id: Id, entity: E) -> Result<Stored<E>, StoreError> {
        let stored = Stored { id, version: 1, created_at: self.now, updated_at: self.now, entity };
        let mut document = stored.to_document(self.tenant.id())?;
        let shown = self.finish::<E>(id, &mut document).await?;
        self.refuse_erasing::<E>(None, &document).await?;
        let collection = self.collection::<E>();
        let done = collection.insert_one(&document).session(&mut self.session).await;
        self.noting_conflict(done)?;
        self.touch(id, None, Some((&stored.entity, &shown)), sealed_for::<E>(&document))?;
        Ok(stored)
    }

    /// Adds many new entities at once. The delta does not show them one by one,
    /// but their number, their ids each with the SHA-256 of the entity as
    /// [`WriteTx::insert`] would show it (RFC 8785), and the SHA-256 of that
    /// list; a long list stands there by its digest (see [`crate::audit::delta`]).
    ///
    /// # Errors
    /// As [`WriteTx::insert`]; none is then added.
    pub async fn insert_many<E: Entity>(
        &mut self,
        entities: Vec<(Id, E)>,
    ) -> Result<(), StoreError> {
        if entities.is_empty() {
            return Ok(());
        }
        let mut documents = Vec::with_capacity(entities.len());
        let mut items = Vec::with_capacity(entities.len());
        for (id, entity) in entities {
            let stored =
                Stored { id, version: 1, created_at: self.now, updated_at: self.now, entity };
            let mut document = stored.to_document(self.tenant.id())?;
            let shown = self.finish::<E>(id, &mut document).await?;
            items.push(json!({ "id": id, "sha256": sha256(&shown)? }));
            documents.push(document);
        }
        let collection = self.collection::<E>();
        let done = collection.insert_many(&documents).session(&mut self.session).await;
        self.noting_conflict(done)?;
        let items = Value::Array(items);
        let summary =
            json!({ "count": documents.len(), "sha256": sha256(&items)?, "items": items });
        let changes = delta(None, Some(&summary), &[]).map_err(StoreError::defect)?;
        self.touched.push(Touched {
            resource: Resource { kind: E::RESOURCE.into(), id: "many".into() },
            owners: vec![Owners::both(Subject::Tenant); changes.len()],
            changes,
            sealed_for: Vec::new(),
            restricted: false,
        });
        Ok(())
    }

    /// Reads parts of at most `limit` entities that fit, in no order.
    ///
    /// # Errors
    /// As [`WriteTx::get`].
    pub async fn parts<P: Part>(
        &mut self,
        filter: Filter,
        limit: i64,
    ) -> Result<Vec<(Id, P)>, StoreError> {
        let mut parts = Vec::new();
        self.each_part(filter, limit, |id, part| {
            parts.push((id, part));
            true
        })
        .await?;
        Ok(parts)
    }

    /// Reads parts of at most `limit` entities that fit, in no order, until `take`
    /// says that it takes no more.
    ///
    /// # Errors
    /// As [`WriteTx::get`].
    pub async fn each_part<P: Part>(
        &mut self,
        filter: Filter,
        limit: i64,
        mut take: impl FnMut(Id, P) -> bool,
    ) -> Result<(), StoreError> {
        let found = self
            .tenant
            .entities(P::Of::COLLECTION)
            .find(filter.for_tenant(self.tenant.id()))
            .projection(projection::<P>())
            .limit(limit.max(1))
            .session(&mut self.session)
            .await;
        let mut cursor = self.noting_conflict(found)?;
        while let Some(document) = cursor.next(&mut self.session).await {
            let document = self.noting_conflict(document)?;
            let (id, part) = part_from::<P>(document, self.tenant.id())?;
            if !take(id, part) {
                break;
            }
        }
        Ok(())
    }

    /// Reads an entity as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn get<E: Entity>(&mut self, id: Id) -> Result<Option<Stored<E>>, StoreError> {
        self.find(Filter::all().eq("_id", id.to_string())).await
    }

    /// Reads the one entity that fits, for filters on a unique index.
    ///
    /// # Errors
    /// As [`WriteTx::get`].
    pub async fn find<E: Entity>(
        &mut self,
        filter: Filter,
    ) -> Result<Option<Stored<E>>, StoreError> {
        let collection = self.collection::<E>();
        let done = collection
            .find_one(filter.for_tenant(self.tenant.id()))
            .session(&mut self.session)
            .await;
        self.noting_conflict(done)?
            .map(|document| Stored::from_document(document, self.tenant.id()))
            .transpose()
    }

    /// Replaces `before` by `entity`.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when the stored version is no longer that of
    /// `before`; the others as for [`WriteTx::insert`].
    pub async fn replace<E: Entity>(
        &mut self,
        before: &Stored<E>,
        entity: E,
    ) -> Result<Stored<E>, StoreError> {
        let after = Stored {
            id: before.id,
            version: before.version + 1,
            created_at: before.created_at,
            updated_at: self.now,
            entity,
        };
        let mut old = before.to_document(self.tenant.id())?;
        let mut new = after.to_document(self.tenant.id())?;
        self.refuse_erasing::<E>(Some(&old), &new).await?;
        let shown_old = self.finish::<E>(before.id, &mut old).await?;
        let shown_new = self.finish::<E>(before.id, &mut new).await?;
        let mut filter =
            Filter::all().eq("_id", before.id.to_string()).for_tenant(self.tenant.id());
        filter.insert("version", before.version);
        let collection = self.collection::<E>();
        let done = collection.replace_one(filter, &new).session(&mut self.session).await;
        if self.noting_conflict(done)?.matched_count == 0 {
            return Err(StoreError::Stale);
        }
        self.touch(
            before.id,
            Some((&before.entity, &shown_old)),
            Some((&after.entity, &shown_new)),
            sealed_for::<E>(&new),
        )?;
        Ok(after)
    }

    /// Adds or replaces a document that is bookkeeping of a request and no
    /// part of the tenant's state, so that it leaves no trace in the delta.
    pub(crate) async fn keep<E: Entity>(&mut self, id: Id, entity: E) -> Result<(), StoreError> {
        let stored = Stored { id, version: 1, created_at: self.now, updated_at: self.now, entity };
        let mut document = stored.to_document(self.tenant.id())?;
        self.finish::<E>(id, &mut document).await?;
        let collection = self.collection::<E>();
        let done = collection.insert_one(&document).session(&mut self.session).await;
        match self.noting_conflict(done) {
            // The same request, committed meanwhile: run again and find it.
            Err(StoreError::Duplicate) => {
                self.met_another = true;
                Err(StoreError::Conflict)
            }
            other => other.map(|_| ()),
        }
    }

    /// Adds a data key, which seals from now on.
    pub(super) async fn add_data_key(&mut self, key: &DataKey) -> Result<(), StoreError> {
        let keys = self.tenant.database.tenant_keys(self.tenant.id());
        let keys = keys.collection::<DataKey>(schema::DATA_KEYS);
        let done = keys.insert_one(key).session(&mut self.session).await;
        self.noting_conflict(done)?;
        let done = audit_log::advance_key(self.tenant, &mut self.session, key.version).await;
        self.noting_conflict(done)
    }

    /// Seals the value of `field` anew, unless the newest data key sealed it.
    /// The entity stays the same, so its version does too. A value that does not
    /// open where it stands is left as it is, unless an erasure of its subject
    /// is recorded: a secret that was lost may be found again.
    pub(super) async fn reseal(
        &mut self,
        collection: &schema::Collection,
        field: &str,
        id: Id,
    ) -> Result<Resealed, StoreError> {
        let documents = self.tenant.collection::<Document>(collection.name);
        let one = Filter::all().eq("_id", id.to_string()).for_tenant(self.tenant.id());
        let done = documents.find_one(one.clone()).session(&mut self.session).await;
        let found = self.noting_conflict(done)?;
        let value = found.as_ref().and_then(|document| document.get(field));
        let Some(value) = value.filter(|value| **value != Bson::Null) else {
            return Ok(Resealed::Needless);
        };
        let Some(envelope) = Envelope::from_bson(value) else { return Ok(Resealed::Unreadable) };
        if self.tenant.keys.is_newest(envelope.key) {
            return Ok(Resealed::Needless);
        }
        let place = Place { collection: collection.name, document: id, field };
        let mut opened = self.tenant.open_envelope(place, &envelope).await;
        if matches!(opened, Err(CryptoError::Erased)) {
            // With what the table says now, and not when the batch began.
            self.tenant.keys.forget(envelope.subject);
            opened = self.tenant.open_envelope(place, &envelope).await;
        }
        let fields = match opened {
            Ok(plain) => reseal(self.tenant, collection, id, field, &envelope, &plain).await?,
            // Whoever it was about is erased; what is left opens with no key
            // and waits for none.
            Err(CryptoError::Erased) => {
                let newest = self.tenant.keys.ring().newest_and_older().0;
                doc! { format!("{field}.kid"): newest.to_string() }
            }
            Err(CryptoError::NoSecret | CryptoError::NotAuthentic | CryptoError::Malformed) => {
                return Ok(Resealed::Unreadable);
            }
            Err(error) => return Err(error.into()),
        };
        let done =
            documents.update_one(one, doc! { "$set": fields }).session(&mut self.session).await;
        self.noting_conflict(done)?;
        Ok(Resealed::Anew)
    }

    /// Refuses a new sealed value of a person whose erasure is pending: the
    /// secret that seals it is about to be destroyed.
    async fn refuse_erasing<E: Entity>(
        &mut self,
        before: Option<&Document>,
        after: &Document,
    ) -> Result<(), StoreError> {
        for field in E::COLLECTION.sealed {
            let Some(value) = after.get(field) else { continue };
            let known = before.and_then(|before| before.get(field)) == Some(value);
            let Some(envelope) = Envelope::from_bson(value).filter(|_| !known) else { continue };
            if envelope.subject == Subject::Tenant {
                continue;
            }
            let pending = Filter::all()
                .eq("state", "pending")
                .eq("subject", envelope.subject.to_string())
                .for_tenant(self.tenant.id());
            let erasures = self.tenant.collection::<Document>(schema::ERASURES.name);
            let done = erasures.find_one(pending).session(&mut self.session).await;
            if self.noting_conflict(done)?.is_some() {
                return Err(StoreError::Erasing);
            }
        }
        Ok(())
    }

    fn collection<E: Entity>(&self) -> Collection<Document> {
        self.tenant.entities(E::COLLECTION)
    }

    fn touch<E: Entity>(
        &mut self,
        id: Id,
        before: Option<(&E, &Value)>,
        after: Option<(&E, &Value)>,
        sealed_for: Vec<Subject>,
    ) -> Result<(), StoreError> {
        let shown_old = before.map(|(_, shown)| shown);
        let shown_new = after.map(|(_, shown)| shown);
        let changes = delta(shown_old, shown_new, E::PERSONAL).map_err(StoreError::defect)?;
        let resource = Resource { kind: E::RESOURCE.into(), id: id.to_string() };
        let own = Subject::of_resource(&resource.kind, &resource.id);
        let owner = |state: Option<(&E, &Value)>, at: &str| {
            state.and_then(|(entity, _)| entity.person_at(at)).unwrap_or(own)
        };
        let owners = changes.iter().map(|change| Owners {
            before: owner(before, &change.path),
            value: owner(after, &change.path),
        });
        let owners = owners.collect();
        let marked = shown_old.is_some_and(|shown| !shown[schema::RESTRICTION].is_null());
        let restricted = own != Subject::Tenant && marked;
        self.touched.push(Touched { resource, changes, owners, sealed_for, restricted });
        Ok(())
    }

    /// Restricts the use of a person's data (GDPR Art. 18), or lifts that.
    ///
    /// # Errors
    /// 404 when the tenant has no such person; 409 when it is so already.
    pub async fn set_restriction(
        &mut self,
        subject: Subject,
        restriction: Option<&Restriction>,
    ) -> Result<(), Problem> {
        let of_person = schema::records_of(subject.kind()).zip(subject.id());
        let (collection, id) = of_person.ok_or(Problem::NotFound)?;
        let records = self.tenant.entities(collection);
        let one = Filter::all().eq("_id", id.to_string()).for_tenant(self.tenant.id());
        let found = records.find_one(one.clone()).session(&mut self.session).await;
        let found = self.noting_conflict(found)?.ok_or(Problem::NotFound)?;
        let before = found.get(schema::RESTRICTION).map_or(Value::Null, to_json);
        let after = match restriction {
            Some(restriction) => serialize_to_bson(restriction).map_err(StoreError::from)?,
            None => Bson::Null,
        };
        if before.is_null() == restriction.is_none() {
            let state = if restriction.is_some() { "restricted already" } else { "not restricted" };
            return Err(Problem::Conflict(format!("The use of this person's data is {state}.")));
        }
        let shown = |mark: Value| json!({ schema::RESTRICTION: mark });
        let changes = delta(Some(&shown(before)), Some(&shown(to_json(&after))), &[]);
        let changes = changes.map_err(StoreError::defect)?;
        // `updated_at` stays: from it counts how long a former user is kept, and
        // the mark says itself since when it stands.
        let change = doc! {
            "$set": { schema::RESTRICTION: after },
            "$inc": { "version": 1_i64 },
        };
        let done = records.update_one(one, change).session(&mut self.session).await;
        self.noting_conflict(done)?;
        self.touched.push(Touched {
            resource: Resource { kind: subject.kind().into(), id: id.to_string() },
            owners: vec![Owners::both(subject); changes.len()],
            changes,
            sealed_for: Vec::new(),
            restricted: false,
        });
        Ok(())
    }

    /// Makes a claimed message one that failed. Its text is neither opened nor
    /// written, since it may be what does not open any more.
    pub(crate) async fn give_mail_up(&mut self, queued: &Stored<Queued>) -> Result<(), StoreError> {
        let claimed = Filter::all().eq("_id", queued.id.to_string());
        let mut claimed = claimed.for_tenant(self.tenant.id());
        claimed.insert("version", queued.version);
        let change = doc! {
            "$set": { "state": "failed", "updated_at": bson_time(self.now) },
            "$inc": { "version": 1_i64 },
        };
        let outbox = self.collection::<Queued>();
        let done = outbox.update_one(claimed, change).session(&mut self.session).await;
        if self.noting_conflict(done)?.matched_count == 0 {
            return Err(StoreError::Stale);
        }
        let shown = |state: &str| json!({ "state": state });
        let changes = delta(Some(&shown("pending")), Some(&shown("failed")), Queued::PERSONAL);
        let changes = changes.map_err(StoreError::defect)?;
        self.touched.push(Touched {
            resource: Resource { kind: Queued::RESOURCE.into(), id: queued.id.to_string() },
            owners: vec![Owners::both(Subject::Tenant); changes.len()],
            changes,
            sealed_for: Vec::new(),
            restricted: false,
        });
        Ok(())
    }

    /// Refuses changes of records whose use is restricted, but for what the
    /// person does with their own.
    fn refuse_restricted(&self, by: &Attribution, action: &str) -> Result<(), StoreError> {
        let actor = audit_log::subject_of(&by.actor, None);
        let mut touched = self.touched.iter().filter(|touched| touched.restricted);
        let refused = touched.any(|touched| {
            let paths = touched.changes.iter().map(|change| change.path.as_str());
            Subject::of_resource(&touched.resource.kind, &touched.resource.id) != actor
                && !restriction::spares(action, paths)
        });
        if refused { Err(StoreError::Restricted) } else { Ok(()) }
    }

    /// Makes `document` ready to be stored: what an older data key sealed is
    /// sealed anew, and blind indexes are added. Returns the document as the
    /// audit trail may show it, sealed and secret values as keyed tags.
    async fn finish<E: Entity>(
        &self,
        id: Id,
        document: &mut Document,
    ) -> Result<Value, StoreError> {
        let blind = E::COLLECTION.blind;
        let mut shown: Map<String, Value> = document
            .iter()
            .filter(|(field, _)| !KEPT.contains(&field.as_str()))
            .map(|(field, value)| (field.clone(), to_json(value)))
            .collect();
        for field in E::COLLECTION.sealed {
            for index in blind.iter().filter(|index| index.sealed == *field) {
                document.insert(index.field, Bson::Null);
            }
            let Some(value) = document.get(field).filter(|value| **value != Bson::Null) else {
                continue;
            };
            let envelope = Envelope::from_bson(value)
                .ok_or_else(|| StoreError::defect(format!("{field} is not sealed")))?;
            let place = Place { collection: E::COLLECTION.name, document: id, field };
            let plain = match self.tenant.open_envelope(place, &envelope).await {
                Ok(plain) => plain,
                Err(CryptoError::Erased) => {
                    shown.insert((*field).to_owned(), json!({ "sealed": "erased" }));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let keys = &self.tenant.keys;
            let tag = keys.tag(place, envelope.subject, &plain).await?;
            shown.insert((*field).to_owned(), json!({ "sealed": hex::encode(tag) }));
            let anew = reseal(self.tenant, E::COLLECTION, id, field, &envelope, &plain).await?;
            document.extend(anew);
        }
        let mut shown = Value::Object(shown);
        for secret in E::SECRET {
            if let Some(value) = shown.pointer_mut(secret)
                && !value.is_null()
            {
                let place = Place { collection: E::COLLECTION.name, document: id, field: secret };
                let bytes = serde_json::to_vec(value).map_err(StoreError::defect)?;
                let tag = self.tenant.keys.tag(place, Subject::Tenant, &bytes).await?;
                *value = json!({ "secret": hex::encode(tag) });
            }
        }
        Ok(shown)
    }

    async fn commit(
        &mut self,
        by: &Attribution,
        action: &'static str,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        self.refuse_restricted(by, action)?;
        let (draft, subjects) = self.draft(by, action, outcome)?;
        let done =
            audit_log::append(self.tenant, &mut self.session, &self.head, draft, &subjects).await;
        self.noting_conflict(done)?;
        for _ in 0..COMMIT_ATTEMPTS {
            match self.session.commit_transaction().await {
                Err(error) if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) => {}
                done => return self.noting_conflict(done),
            }
        }
        Err(StoreError::Unavailable("mongodb"))
    }

    fn draft(
        &mut self,
        by: &Attribution,
        action: &'static str,
        outcome: Outcome,
    ) -> Result<(Draft, audit_log::Subjects), StoreError> {
        let kind = action.split_once('.').map_or(action, |(kind, _)| kind);
        let resource = self
            .about
            .clone()
            .or_else(|| {
                let of_kind = self.touched.iter().find(|touched| touched.resource.kind == kind);
                of_kind.map(|touched| touched.resource.clone())
            })
            .ok_or_else(|| StoreError::defect(format!("{action} names no resource")))?;
        let mut changes = std::mem::take(&mut self.facts);
        let about = Subject::of_resource(&resource.kind, &resource.id);
        let mut subjects = audit_log::Subjects {
            actor: audit_log::subject_of(&by.actor, Some(&resource)),
            changes: vec![Owners::both(about); changes.len()],
        };
        for touched in self.touched.drain(..) {
            // Other documents stand under their own path in the same delta.
            let prefix = if touched.resource == resource {
                String::new()
            } else {
                format!("/{}:{}", touched.resource.kind, touched.resource.id)
            };
            subjects.changes.extend(touched.owners);
            changes.extend(touched.changes.into_iter().map(|mut change| {
                change.path.insert_str(0, &prefix);
                change
            }));
        }
        let draft = Draft {
            id: random::id(by.now)?.uuid(),
            at: by.now,
            tenant_id: self.tenant.id().to_string(),
            actor: by.actor.clone(),
            action: action.to_owned(),
            resource,
            delta: changes,
            source_ip: by.source_ip,
            user_agent: by.user_agent.clone(),
            request_id: by.request_id.clone(),
            outcome,
        };
        Ok((draft, subjects))
    }

    /// Remembers that another transaction was met, whatever `work` makes of
    /// the error.
    fn noting_conflict<T, E: Into<StoreError>>(
        &mut self,
        done: Result<T, E>,
    ) -> Result<T, StoreError> {
        done.map_err(Into::into).inspect_err(|error| {
            self.met_another |= matches!(error, StoreError::Conflict);
        })
    }

    async fn abort(mut self) {
        // A server that cannot be told aborts by itself.
        let _ = self.session.abort_transaction().await;
    }
}

impl Tenant {
    /// Takes the oldest due message of the outbox for `lease`, so that no
    /// other run of the delivery job sends it meanwhile; of a suspended tenant
    /// only one that does not wait. This moves a lease and no state of the
    /// tenant's, so it leaves no audit entry.
    pub(crate) async fn claim_due_mail(
        &self,
        now: Timestamp,
        lease: jiff::SignedDuration,
    ) -> Result<Option<Stored<Queued>>, StoreError> {
        let due = Filter::all().eq("state", "pending").until("due_at", now);
        let mut due = due.for_tenant(self.id());
        if !self.record.state.serves() {
            due.insert("though_suspended", true);
        }
        self.collection::<Document>(Queued::COLLECTION.name)
            .find_one_and_update(
                due,
                doc! {
                    "$set": { "due_at": bson_time(now + lease) },
                    "$inc": { "attempts": 1, "version": 1_i64 },
                },
            )
            .sort(doc! { "due_at": 1 })
            .return_document(ReturnDocument::After)
            .await?
            .map(|document| Stored::from_document(document, self.id()))
            .transpose()
    }

    /// Makes a claimed message due again at `at`.
    pub(crate) async fn postpone_mail(
        &self,
        queued: &Stored<Queued>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let claimed = Filter::all().eq("_id", queued.id.to_string());
        self.collection::<Document>(Queued::COLLECTION.name)
            .update_one(claimed.for_tenant(self.id()), doc! { "$set": { "due_at": bson_time(at) } })
            .await?;
        Ok(())
    }

    /// As [`Tenant::postpone_mail`] for a message that was claimed and not tried: it
    /// does not count as an attempt.
    pub(crate) async fn put_mail_back(
        &self,
        queued: &Stored<Queued>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let claimed = Filter::all().eq("_id", queued.id.to_string());
        let mut claimed = claimed.for_tenant(self.id());
        claimed.insert("version", queued.version);
        let change = doc! { "$set": { "due_at": bson_time(at) }, "$inc": { "attempts": -1 } };
        self.collection::<Document>(Queued::COLLECTION.name).update_one(claimed, change).await?;
        Ok(())
    }
}

fn sha256(value: &Value) -> Result<Hash, StoreError> {
    Ok(Hash::of(&[&serde_json_canonicalizer::to_vec(value).map_err(StoreError::defect)?]))
}

/// The fields of a document that hold the value of `field`, which `envelope`
/// held: sealed by the newest data key, with its blind indexes.
pub(super) async fn reseal(
    tenant: &Tenant,
    collection: &schema::Collection,
    id: Id,
    field: &str,
    envelope: &Envelope,
    plain: &[u8],
) -> Result<Document, StoreError> {
    let keys = &tenant.keys;
    let place = Place { collection: collection.name, document: id, field };
    let mut fields = Document::new();
    if !keys.is_newest(envelope.key) {
        let anew = keys.seal(place, envelope.subject, plain).await?;
        fields.insert(field, anew.to_document());
    }
    for index in collection.blind.iter().filter(|index| index.sealed == field) {
        let value: Value = decode(plain)?;
        let text = value.pointer(index.pointer).and_then(Value::as_str);
        let text = text.ok_or_else(|| StoreError::defect(format!("{field} has no text")))?;
        let blind = keys.blind(index.field, normalised(index.normal, text).as_bytes())?;
        fields.insert(index.field, bytes(&blind));
    }
    Ok(fields)
}
