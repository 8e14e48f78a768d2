//! The end of a tenant: announced, after a grace period carried out, by
//! destroying what its keys are derived from (GDPR Art. 28(3)(g)).
//!
//! The registry holds how far a closing is, so that a run which was
//! interrupted anywhere is finished by the next. While the grace period runs,
//! the tenant's people may sign in, read and export, and an operator may call
//! it off. Then, in this order: an entry in the tenant's audit trail says what
//! follows; a checkpoint that covers it is signed and archived; the tenant is
//! closed, so that nobody opens it any more; the secrets of its subjects are deleted, its own last; its databases of data and
//! wrapped keys are dropped. The audit trail stays as evidence, its personal
//! values unreadable. That all of it was done stands in the provider's trail,
//! since nobody can write to the tenant's any more; that one is signed and
//! archived too.

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{Bson, DateTime, doc, serialize_to_bson};
use mongodb::options::ReturnDocument;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Attribution, AuditFilter, AuditRecord, Entity, Id, JobRegistry, SignedCheckpoint, StoreError,
    Tenant, TenantId, TenantRecord, TenantState, WriteTx, bson_time, schema, time_of,
};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::entry::Resource;
use crate::audit::keys::CheckpointKeys;
use crate::audit::merkle::verify_inclusion;
use crate::audit::note::VerifierKey;
use crate::crypto::Subject;
use crate::mail::Mail;
use crate::{Problem, mail, random};

/// The action that announces the destruction.
const DESTROY: &str = "tenant.destroy_keys";
/// The action that records, in the provider's trail, that it was done.
const DESTROYED: &str = "tenant.conclude_destruction";

/// Days of grace, unless the operator says otherwise.
pub const GRACE_DAYS: u16 = 30;

/// How a tenant is closed, as the registry holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Closing {
    /// Id of this closing, which names its document in the tenant's database.
    pub id: Id,
    /// The operator who began it.
    pub operator: String,
    /// Why: the contract's end, the customer's written request.
    pub reason: String,
    /// When it was begun.
    pub begun_at: DateTime,
    /// When the keys are destroyed.
    pub ends_at: DateTime,
    /// What was destroyed, once that has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destruction: Option<Destruction>,
}

/// Evidence that a tenant's keys were destroyed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Destruction {
    /// When it began.
    pub begun_at: DateTime,
    /// Number of entries that the last signed checkpoint covers, the one that
    /// announces the destruction among them.
    pub tree_size: i64,
    /// The checkpoint: a signed note, archived as well.
    pub checkpoint: String,
    /// Secrets that were deleted, by the runs that lived to say so.
    pub secrets: i64,
    /// When all of it was done.
    pub finished_at: Option<DateTime>,
}

/// What a tenant's own database knows of its closing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closure {
    state: ClosureState,
    reason: String,
    ends_at: DateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClosureState {
    Announced,
    CalledOff,
    Destroying,
}

impl Entity for Closure {
    const COLLECTION: &'static schema::Collection = &schema::CLOSURES;
    const RESOURCE: &'static str = "closure";
    const PERSONAL: &'static [&'static str] = &[];
}

/// Where the closing of a tenant stands.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// Slug.
    pub tenant: TenantId,
    /// Where the tenant stands in its life.
    pub state: TenantState,
    /// When the keys are destroyed; absent when the closing was called off.
    pub ends_at: Option<Timestamp>,
}

/// What an operator says about a tenant to be closed.
#[derive(Debug, Clone)]
pub struct NewClosing {
    /// Slug.
    pub tenant: TenantId,
    /// The operator.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// How long the tenant's people may still take their data with them.
    pub grace: SignedDuration,
}

/// The letter that tells a tenant's primary contact.
type Letter<'a> = &'a dyn Fn(&Tenant, &str, &str, Timestamp) -> Result<Mail, Problem>;

impl JobRegistry<'_> {
    /// Begins the closing of a tenant, or finishes beginning it; one that was
    /// begun before keeps its end. `letter` writes to the contact of this name
    /// and address.
    ///
    /// # Errors
    /// 404 when there is no such tenant, 409 when it is not in use, or when
    /// calling it off was left half done, after which it can begin again;
    /// [`Problem::Unavailable`] when a store does not answer.
    pub async fn begin_closing(
        &self,
        by: &Attribution,
        new: &NewClosing,
        letter: Letter<'_>,
    ) -> Result<Standing, Problem> {
        if new.tenant.is_reserved() {
            return Err(Problem::NotFound);
        }
        let closing = Closing {
            id: random::id(by.now)?,
            operator: new.operator.clone(),
            reason: new.reason.clone(),
            begun_at: bson_time(by.now),
            ends_at: bson_time(by.now + new.grace),
            destruction: None,
        };
        let fields = doc! { "state": "closing", "closing": to_bson(&closing)? };
        let in_use = doc! {
            "_id": new.tenant.as_str(),
            "state": { "$in": ["active", "suspended"] },
        };
        let tenants = self.tenants();
        tenants.update_one(in_use, doc! { "$set": fields }).await.map_err(StoreError::from)?;
        let record = self.record(&new.tenant).await?.ok_or(Problem::NotFound)?;
        let (TenantState::Closing, Some(closing)) = (record.state, record.closing.clone()) else {
            return Err(not_in_use());
        };
        let tenant = self.open(record, by.now).await?;
        if self.was_called_off(&tenant, &closing).await? {
            return Err(called_off());
        }
        let ends_at = moment(closing.ends_at)?;
        tenant
            .settle_closure(by, "tenant.begin_closing", &closing, ClosureState::Announced, letter)
            .await?;
        // After the letter is on its way: what is not announced here is not carried
        // out, whatever the registry says.
        let secrets = &self.platform().vault().await?.secrets;
        secrets.announce_end(&new.tenant, closing.id, ends_at.max(by.now + new.grace)).await?;
        Ok(Standing {
            tenant: new.tenant.clone(),
            state: TenantState::Closing,
            ends_at: Some(ends_at),
        })
    }

    /// Calls the closing of a tenant off, which then is in use as before.
    ///
    /// # Errors
    /// 404 when there is no such tenant, 409 when it is not being closed or its
    /// keys are being destroyed; [`Problem::Unavailable`] when a store does not
    /// answer.
    pub async fn call_closing_off(
        &self,
        by: &Attribution,
        id: &TenantId,
        letter: Letter<'_>,
    ) -> Result<Standing, Problem> {
        let record = self.record(id).await?.ok_or(Problem::NotFound)?;
        let (TenantState::Closing, Some(closing)) = (record.state, record.closing.clone()) else {
            return Err(Problem::Conflict("The tenant is not being closed.".into()));
        };
        let tenant = self.open(record, by.now).await?;
        tenant
            .settle_closure(
                by,
                "tenant.call_closing_off",
                &closing,
                ClosureState::CalledOff,
                letter,
            )
            .await?;
        self.platform().vault().await?.secrets.call_end_off(id).await?;
        self.reinstate(id, &closing).await?;
        Ok(Standing { tenant: id.clone(), state: TenantState::Active, ends_at: None })
    }

    /// Says in the registry that the tenant is in use again.
    async fn reinstate(&self, id: &TenantId, closing: &Closing) -> Result<(), StoreError> {
        let same =
            doc! { "_id": id.as_str(), "state": "closing", "closing.id": closing.id.to_string() };
        let back = doc! { "$set": { "state": "active" }, "$unset": { "closing": "" } };
        self.tenants().update_one(same, back).await?;
        Ok(())
    }

    /// Whether the closing was called off by a run that died before the registry
    /// said so, which this then does: the tenant's people were told that nothing
    /// will be destroyed.
    async fn was_called_off(&self, tenant: &Tenant, closing: &Closing) -> Result<bool, StoreError> {
        let closure = tenant.get::<Closure>(closing.id).await?;
        let off = closure.is_some_and(|found| found.entity.state == ClosureState::CalledOff);
        if off {
            tracing::warn!(tenant = %tenant.id(), "a closing that was called off is finished");
            self.platform().vault().await?.secrets.call_end_off(tenant.id()).await?;
            self.reinstate(tenant.id(), closing).await?;
        }
        Ok(off)
    }

    /// Tenants whose grace period is over at `now`, or whose keys an
    /// interrupted run was about to destroy.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn due_for_destruction(&self, now: Timestamp) -> Result<Vec<TenantId>, StoreError> {
        let due = doc! { "$or": [
            { "state": "closing", "closing.ends_at": { "$lte": bson_time(now) } },
            {
                "state": "closed",
                "closing.destruction.begun_at": { "$type": "date" },
                "closing.destruction.finished_at": Bson::Null,
            },
        ] };
        let found = self.tenants().find(due).sort(doc! { "_id": 1 }).await?;
        Ok(found.map_ok(|record| record.id).try_collect().await?)
    }

    /// Destroys the keys of a tenant whose grace period is over, and drops its
    /// data; finishes what an interrupted run began. Returns how many secrets
    /// this run deleted; `None` when the tenant waits for the checkpoint that
    /// covers its last entry, or its closing was called off. That the time is over
    /// says the announcement beside the secrets too: the registry alone, which
    /// whoever runs the database writes, destroys nothing.
    ///
    /// # Errors
    /// 409 when the tenant's time has not come, or nobody announced it;
    /// [`Problem::Unavailable`] when a store does not answer, after which the same
    /// call continues.
    pub async fn destroy(&self, by: &Attribution, id: &TenantId) -> Result<Option<u64>, Problem> {
        let mut record = self.record(id).await?.ok_or(Problem::NotFound)?;
        let secrets = &self.platform().vault().await?.secrets;
        let own = secrets.get(id, &[Subject::Tenant]).await?;
        let announced = match &record.closing {
            Some(closing) => secrets.announced_end(id, closing.id).await?,
            None => None,
        };
        if id.is_reserved() {
            return self.not_announced(by, record).await;
        }
        match announced {
            // Nothing is left to destroy: a run that died is finished.
            _ if own.is_empty() => {}
            Some(ends_at) if ends_at > by.now => return Ok(None),
            Some(_) => {}
            None => return self.not_announced(by, record).await,
        }
        if record.state == TenantState::Closed && !own.is_empty() {
            // An interrupted run had begun, if the trail says so too.
            let closing = record.closing.clone().ok_or(Problem::Internal)?;
            let tenant = self.open(record.clone(), by.now).await?;
            let closure = tenant.get::<Closure>(closing.id).await?;
            let begun = closure.is_some_and(|one| one.entity.state == ClosureState::Destroying);
            if !begun || self.covered_end(&tenant).await?.is_none() {
                return self.not_announced(by, record).await;
            }
        }
        if record.state == TenantState::Closing && own.is_empty() {
            // Destroyed before the registry was put back to an earlier moment.
            record = self.close_destroyed(by, record).await?;
        } else if record.state == TenantState::Closing {
            match self.close(by, record).await? {
                Some(closed) => record = closed,
                None => return Ok(None),
            }
        }
        let destruction = record.closing.and_then(|closing| closing.destruction);
        let Some(destruction) = destruction.filter(|_| record.state == TenantState::Closed) else {
            return Err(Problem::Conflict("The tenant is not due.".into()));
        };
        self.platform().keys().forget(id);
        let secrets = self.platform().vault().await?.secrets.destroy_all(id).await?;
        for database in [self.database().tenant(id), self.database().tenant_keys(id)] {
            database.drop().await.map_err(StoreError::from)?;
        }
        self.record_destroyed(by, id, &destruction).await?;
        let done = doc! {
            "$set": { "closing.destruction.finished_at": bson_time(by.now) },
            "$inc": { "closing.destruction.secrets": i64::try_from(secrets).unwrap_or(i64::MAX) },
        };
        let this = doc! { "_id": id.as_str(), "closing.destruction.finished_at": Bson::Null };
        self.tenants().update_one(this, done).await.map_err(StoreError::from)?;
        Ok(Some(secrets))
    }

    /// The registry names an end that is not announced: it was called off by a run
    /// that died, which this finishes, or nobody ever announced it.
    async fn not_announced(
        &self,
        by: &Attribution,
        record: TenantRecord,
    ) -> Result<Option<u64>, Problem> {
        let id = record.id.clone();
        if let (TenantState::Closing, Some(closing)) = (record.state, record.closing.clone()) {
            let tenant = self.open(record, by.now).await?;
            if self.was_called_off(&tenant, &closing).await? {
                return Ok(None);
            }
        }
        tracing::error!(tenant = %id, "the registry names an end that nobody announced");
        Err(Problem::Conflict("The tenant's end was not announced.".into()))
    }

    /// Records in the provider's trail that nothing of the tenant opens any
    /// more, unless an interrupted run did: before the registry says so, which
    /// ends the repetitions.
    async fn record_destroyed(
        &self,
        by: &Attribution,
        id: &TenantId,
        destruction: &Destruction,
    ) -> Result<(), Problem> {
        let provider = self.provider(by.now).await?;
        if provider.destruction_of(id).await?.is_some() {
            return Ok(());
        }
        let facts = json!({
            "begun_at": moment(destruction.begun_at)?,
            "tree_size": destruction.tree_size,
            "checkpoint": destruction.checkpoint,
        });
        provider
            .audited(by, DESTROYED, async |tx: &mut WriteTx<'_>| {
                tx.about(Resource { kind: "tenant".into(), id: id.to_string() });
                Ok(tx.facts(&facts, &[])?)
            })
            .await
    }

    /// Says in the registry again that the tenant was destroyed, whom nobody can
    /// open any more; of the checkpoint under which it was, the archive knows.
    async fn close_destroyed(
        &self,
        by: &Attribution,
        record: TenantRecord,
    ) -> Result<TenantRecord, Problem> {
        let destruction = Destruction {
            begun_at: bson_time(by.now),
            tree_size: 0,
            checkpoint: String::new(),
            secrets: 0,
            finished_at: None,
        };
        let closing = record.closing.as_ref().ok_or(Problem::Internal)?;
        self.set_closed(&record.id, closing, &destruction).await
    }

    /// From here on nobody opens the tenant.
    async fn set_closed(
        &self,
        id: &TenantId,
        closing: &Closing,
        destruction: &Destruction,
    ) -> Result<TenantRecord, Problem> {
        let same =
            doc! { "_id": id.as_str(), "state": "closing", "closing.id": closing.id.to_string() };
        let fields = doc! { "state": "closed", "closing.destruction": to_bson(destruction)? };
        let closed = self
            .tenants()
            .find_one_and_update(same, doc! { "$set": fields })
            .return_document(ReturnDocument::After)
            .await
            .map_err(StoreError::from)?;
        // Called off, or closed by another run, a moment ago.
        closed.ok_or_else(|| Problem::Conflict("The tenant's state has changed.".into()))
    }

    /// The entry that announces the destruction, and once a signed checkpoint
    /// covers it, the state in which nobody opens the tenant any more.
    async fn close(
        &self,
        by: &Attribution,
        record: TenantRecord,
    ) -> Result<Option<TenantRecord>, Problem> {
        let id = record.id.clone();
        let closing = record.closing.clone().ok_or(Problem::Internal)?;
        if moment(closing.ends_at)? > by.now {
            return Err(Problem::Conflict("The tenant's grace period is not over.".into()));
        }
        let tenant = self.open(record, by.now).await?;
        if self.was_called_off(&tenant, &closing).await? {
            return Ok(None);
        }
        let quiet: Letter<'_> = &|_, _, _, _| Err(Problem::Internal);
        tenant.settle_closure(by, DESTROY, &closing, ClosureState::Destroying, quiet).await?;
        let Some(last) = self.covered_end(&tenant).await? else { return Ok(None) };
        let destruction = Destruction {
            begun_at: bson_time(by.now),
            tree_size: i64::try_from(last.size).map_err(StoreError::defect)?,
            checkpoint: last.link.checkpoint,
            secrets: 0,
            finished_at: None,
        };
        self.set_closed(&id, &closing, &destruction).await.map(Some)
    }

    /// The last signed checkpoint of the tenant, if it covers the entry that
    /// announces the destruction.
    async fn covered_end(&self, tenant: &Tenant) -> Result<Option<SignedCheckpoint>, Problem> {
        let entry = AuditFilter { action: Some(DESTROY.into()), ..AuditFilter::default() };
        let Some(entry) = tenant.newest_audit_entry(&entry).await? else { return Ok(None) };
        let last = tenant.last_checkpoint().await?;
        let Some(last) = last.filter(|checkpoint| checkpoint.size > entry.entry.seq) else {
            return Ok(None);
        };
        let id = tenant.id();
        let keys = CheckpointKeys::of(self.platform()).await?.of_tenant(id.as_str())?;
        if !tenant.covers(&last, &entry, &keys).await? {
            // Nothing is signed after such a one either, which raises an alarm.
            tracing::error!(tenant = %id, size = last.size, "the last checkpoint is not signed");
            return Ok(None);
        }
        Ok(Some(last))
    }
}

impl Tenant {
    /// The entry in this trail, the provider's, that the tenant `id` was
    /// destroyed.
    ///
    /// # Errors
    /// As [`Tenant::newest_audit_entry`].
    pub async fn destruction_of(&self, id: &TenantId) -> Result<Option<AuditRecord>, StoreError> {
        let recorded = AuditFilter {
            action: Some(DESTROYED.into()),
            resource_type: Some("tenant".into()),
            resource_id: Some(id.to_string()),
            ..AuditFilter::default()
        };
        self.newest_audit_entry(&recorded).await
    }

    /// Whether `last`, as the database has it, is signed and covers `record`.
    async fn covers(
        &self,
        last: &SignedCheckpoint,
        record: &AuditRecord,
        keys: &[VerifierKey],
    ) -> Result<bool, StoreError> {
        let Ok(signed) = Checkpoint::open(&last.link.checkpoint, keys) else { return Ok(false) };
        let seq = record.entry.seq;
        if signed.size != last.size {
            return Ok(false);
        }
        let proof = self.audit_inclusion(seq, signed.size).await?;
        Ok(verify_inclusion(&record.leaf, seq, signed.size, &proof, &signed.root).is_ok())
    }

    /// Brings the closing's document to `state` with the entry and the letter
    /// that belong to it, unless an earlier run did.
    async fn settle_closure(
        &self,
        by: &Attribution,
        action: &'static str,
        closing: &Closing,
        state: ClosureState,
        letter: Letter<'_>,
    ) -> Result<(), Problem> {
        let at = |known: Option<ClosureState>| known == Some(state);
        let before = self.get::<Closure>(closing.id).await?;
        if at(before.map(|found| found.entity.state)) {
            return Ok(());
        }
        let contact = self.settings().await?.entity.contacts.primary;
        let message = match state {
            ClosureState::Destroying => None,
            _ => Some(letter(self, &contact.name, &contact.email, moment(closing.ends_at)?)?),
        };
        let data_keys = match state {
            ClosureState::Destroying => self.database.data_keys(self.id()).await?,
            _ => Vec::new(),
        };
        self.audited(by, action, async |tx: &mut WriteTx<'_>| {
            let wanted =
                Closure { state, reason: closing.reason.clone(), ends_at: closing.ends_at };
            match tx.get::<Closure>(closing.id).await? {
                Some(found) if at(Some(found.entity.state)) => return Ok(()),
                // What was called off is not destroyed.
                Some(found) if found.entity.state == ClosureState::CalledOff => {
                    return Err(called_off());
                }
                // What is being destroyed cannot be called off any more.
                Some(found) if found.entity.state == ClosureState::Destroying => {
                    return Err(Problem::Conflict("The tenant's keys are being destroyed.".into()));
                }
                Some(found) => {
                    tx.replace(&found, wanted).await?;
                }
                None => {
                    tx.insert(closing.id, wanted).await?;
                }
            }
            tx.about(Resource { kind: "tenant".into(), id: self.id().to_string() });
            if state == ClosureState::Destroying {
                let keys: Vec<_> = data_keys.iter().map(|key| key.id.to_string()).collect();
                tx.facts(&json!({ "operator": closing.operator, "data_keys": keys }), &[])?;
            }
            if let Some(message) = &message {
                mail::enqueue(tx, by.now, contact.subject(), message).await?;
            }
            Ok(())
        })
        .await
    }
}

fn to_bson(value: &impl Serialize) -> Result<Bson, StoreError> {
    Ok(serialize_to_bson(value)?)
}

fn moment(at: DateTime) -> Result<Timestamp, StoreError> {
    time_of(Some(&Bson::DateTime(at))).ok_or_else(|| StoreError::defect("a time out of range"))
}

fn called_off() -> Problem {
    Problem::Conflict("The closing was called off.".into())
}

fn not_in_use() -> Problem {
    Problem::Conflict("The tenant is not in use.".into())
}
