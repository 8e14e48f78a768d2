//! Erasure of a subject (GDPR Art. 17) by destroying what its keys are derived
//! from.
//!
//! One transaction takes the subject's data out of its document and leaves a
//! pending erasure; then the subject's secret is destroyed, and with it every
//! copy of what was sealed for the subject: in queued mail, kept answers, audit
//! entries and backups. What was said in requests that are about the subject
//! has secrets of its own (docs/adr/0027), which go with it, and so do the bundles
//! that were made for these requests. A run that dies in between is finished by the
//! job `maintain-keys`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Problem;
use crate::audit::entry::{Actor, ActorKind, Resource};
use crate::auth::Permission;
use crate::crypto::Subject;
use crate::http::Call;
use crate::platform::Platform;
use crate::tenant::{
    Attribution, AuditFilter, Entity, Filter, Id, Page, StoreError, Stored, Tenant, WriteTx, schema,
};
use crate::{bundles, random};

/// An entity about a subject.
pub trait Erasable: Entity {
    /// The subject that the entity with this id is about.
    fn subject(id: Id) -> Subject;

    /// What is left when everything that tells who the subject is was taken
    /// out.
    #[must_use]
    fn erased(&self, id: Id) -> Self;
}

/// Why a subject is erased (GDPR Art. 17(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// The data is no longer needed for its purpose (a).
    NoLongerNeeded,
    /// The subject withdrew consent (b) or objects (c).
    Objection,
    /// The data was processed unlawfully (d).
    Unlawful,
    /// A law demands it (e).
    LegalObligation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Pending,
    Done,
}

/// An erasure, as evidence of it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Erasure {
    subject: String,
    ground: Ground,
    state: State,
    /// Tells the secret that is to be destroyed from one that the subject is
    /// given later.
    secret_mark: String,
}

impl Entity for Erasure {
    const COLLECTION: &'static schema::Collection = &schema::ERASURES;
    const RESOURCE: &'static str = "erasure";
    const PERSONAL: &'static [&'static str] = &[];
    const SECRET: &'static [&'static str] = &["/secret_mark"];
}

/// A request to erase.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewErasure {
    /// Why.
    pub ground: Ground,
}

/// What was erased.
#[derive(Serialize, JsonSchema)]
pub struct Erased {
    /// Id of the erasure, as in the audit trail.
    id: Id,
    /// The subject: its kind and the id of its document.
    subject: String,
    /// When its key was destroyed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
}

/// Erases the subject of the entity `id`, which `check` may refuse.
///
/// # Errors
/// 404 when there is no such entity; what `check` says; 503 when a store does
/// not answer: the erasure, if it began, is then finished by the job.
pub async fn erase<E: Erasable>(
    call: &Call,
    id: Id,
    action: &'static str,
    ground: Ground,
    check: impl AsyncFn(&mut WriteTx<'_>, &Stored<E>) -> Result<(), Problem>,
) -> Result<Erased, Problem> {
    let by = call.attribution()?;
    let permitted = async |tx: &mut WriteTx<'_>, before: &Stored<E>| {
        call.caller_with(tx, Permission::EraseSubject).await?;
        check(tx, before).await
    };
    erase_for(call.platform(), call.tenant(), &by, id, action, ground, permitted).await
}

/// As [`erase`], for a job.
///
/// # Errors
/// As [`erase`].
pub async fn erase_for<E: Erasable>(
    platform: &Platform,
    tenant: &Tenant,
    by: &Attribution,
    id: Id,
    action: &'static str,
    ground: Ground,
    check: impl AsyncFn(&mut WriteTx<'_>, &Stored<E>) -> Result<(), Problem>,
) -> Result<Erased, Problem> {
    let subject = E::subject(id);
    let erasure_id = random::id(by.now)?;
    let pending = tenant
        .audited(by, action, async |tx: &mut WriteTx<'_>| {
            let before = tx.get::<E>(id).await?.ok_or(Problem::NotFound)?;
            check(tx, &before).await?;
            tx.replace(&before, before.entity.erased(id)).await?;
            let mut pending = vec![begin(tx, tenant, erasure_id, subject, ground).await?];
            // No link is made meanwhile: transactions of a tenant are serial.
            for request in tenant.requests_about(subject).await? {
                let (id, said) = (random::id(by.now)?, Subject::Request(request));
                pending.push(begin(tx, tenant, id, said, ground).await?);
            }
            Ok(pending)
        })
        .await?;
    let by = Attribution {
        actor: Actor { kind: ActorKind::Job, id: "erasure".into(), role: None, session: None },
        source_ip: None,
        user_agent: None,
        request_id: random::id(by.now)?.to_string(),
        now: by.now,
    };
    for erasure in &pending {
        conclude(platform, tenant, &by, erasure).await?;
    }
    Ok(Erased { id: erasure_id, subject: subject.to_string(), at: by.now })
}

/// Leaves a pending erasure of the secret that `subject` has now.
async fn begin(
    tx: &mut WriteTx<'_>,
    tenant: &Tenant,
    id: Id,
    subject: Subject,
    ground: Ground,
) -> Result<Stored<Erasure>, StoreError> {
    let erasure = Erasure {
        subject: subject.to_string(),
        ground,
        state: State::Pending,
        secret_mark: tenant.mark_secret(subject).await?,
    };
    tx.insert(id, erasure).await
}

/// Concludes the erasures that were interrupted; returns how many. One that cannot
/// be concluded does not stop the others.
///
/// # Errors
/// [`Problem`] when a store does not answer, or an erasure names a secret that
/// there never was.
pub async fn finish_pending(
    platform: &Platform,
    tenant: &Tenant,
    by: &Attribution,
) -> Result<u64, Problem> {
    let mut page = Page { after: None, limit: 100 };
    let (mut finished, mut first_problem) = (0, None);
    loop {
        let pending = tenant.list::<Erasure>(Filter::all().eq("state", "pending"), page).await?;
        let Some(last) = pending.last() else {
            return first_problem.map_or(Ok(finished), Err);
        };
        page.after = Some(last.id);
        for erasure in &pending {
            match conclude(platform, tenant, by, erasure).await {
                Ok(()) => finished += 1,
                Err(problem) => {
                    tracing::error!(tenant = %tenant.id(), erasure = %erasure.id, %problem, "an erasure was not concluded");
                    first_problem.get_or_insert(problem);
                }
            }
        }
    }
}

/// Whether an erasure of `subject` is on record: one that is pending, or one
/// that is concluded with its entry in the trail, `subject_key.destroy`.
///
/// # Errors
/// [`StoreError`] when the database does not answer; [`StoreError::Defect`] when
/// that entry was changed.
pub async fn recorded(tenant: &Tenant, subject: Subject) -> Result<bool, StoreError> {
    let page = Page { after: None, limit: 1 };
    let in_state = |state| Filter::all().eq("state", state).eq("subject", subject.to_string());
    // In this order: it is concluded in one transaction with the entry.
    if !tenant.list::<Erasure>(in_state("pending"), page).await?.is_empty() {
        return Ok(true);
    }
    if tenant.list::<Erasure>(in_state("done"), page).await?.is_empty() {
        return Ok(false);
    }
    let destroyed = AuditFilter {
        action: Some("subject_key.destroy".into()),
        resource_id: Some(subject.to_string()),
        ..AuditFilter::default()
    };
    Ok(tenant.newest_audit_entry(&destroyed).await?.is_some())
}

/// The newest erasure of `subject` that began at `from` or later and is
/// concluded: its id, as evidence.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn concluded_since(
    tenant: &Tenant,
    subject: Subject,
    from: Timestamp,
) -> Result<Option<Id>, StoreError> {
    let of_subject = Filter::all().eq("state", "done").eq("subject", subject.to_string());
    let page = Page { after: None, limit: 1 };
    let found = tenant.list::<Erasure>(of_subject.made_from(from), page).await?;
    Ok(found.first().map(|erasure| erasure.id))
}

/// The erasures of `subject` that are concluded, newest first, a hundred at most:
/// who reads the same before and after has met none in between.
///
/// # Errors
/// 409 while one is pending; 503 when the database does not answer.
pub async fn concluded_of(tenant: &Tenant, subject: Subject) -> Result<Vec<Id>, Problem> {
    let states = vec!["pending".to_owned(), "done".to_owned()];
    let of_subject = Filter::all().any("state", states).eq("subject", subject.to_string());
    let found = tenant.list::<Erasure>(of_subject, Page { after: None, limit: 100 }).await?;
    if found.iter().any(|erasure| erasure.entity.state == State::Pending) {
        return Err(Problem::Conflict("The person is being erased.".into()));
    }
    Ok(found.iter().map(|erasure| erasure.id).collect())
}

/// Whether somebody was erased at `at` or later.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn any_since(tenant: &Tenant, at: Timestamp) -> Result<bool, StoreError> {
    let page = Page { after: None, limit: 1 };
    Ok(!tenant.list::<Erasure>(Filter::all().made_from(at), page).await?.is_empty())
}

async fn conclude(
    platform: &Platform,
    tenant: &Tenant,
    by: &Attribution,
    pending: &Stored<Erasure>,
) -> Result<(), Problem> {
    let subject: Subject = pending.entity.subject.parse().map_err(StoreError::defect)?;
    // Another run may have concluded it, and the subject have a new secret.
    tenant.destroy_secret(subject, &pending.entity.secret_mark).await?;
    // The trail says that somebody was erased only of whom that is so.
    if !tenant.is_destroyed(subject, &pending.entity.secret_mark).await? {
        let what = format!("the erasure {} names a secret that there never was", pending.id);
        return Err(StoreError::defect(what).into());
    }
    if let Subject::Request(request) = subject {
        // Boxed, so that what erases stays small.
        Box::pin(bundles::delete(platform, tenant.id(), request)).await?;
    }
    tenant
        .audited(by, "subject_key.destroy", async |tx: &mut WriteTx<'_>| {
            tx.about(Resource { kind: "subject_key".into(), id: subject.to_string() });
            tx.facts(&json!({ "subject": subject.to_string() }), &[])?;
            let done = Erasure { state: State::Done, ..pending.entity.clone() };
            match tx.replace(pending, done).await {
                // Another run concluded it at the same moment.
                Err(StoreError::Stale) | Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
        .await
}
