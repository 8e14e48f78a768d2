//! Checks every audit trail against itself, its checkpoints and the archive.

use std::collections::HashSet;
use std::time::Duration;

use jiff::SignedDuration;
use keystone::Problem;
use keystone::audit::checkpoint::Checkpoint;
use keystone::audit::entry::{ActorKind, Outcome, Resource};
use keystone::audit::keys::CheckpointKeys;
use keystone::audit::merkle::{TreeHead, verify_inclusion};
use keystone::audit::restores::Restores;
use keystone::crypto::Subject;
use keystone::job::Job;
use keystone::tenant::{
    JobRegistry, SignedCheckpoint, StoreError, Tenant, TenantId, TenantState, Visit,
};
use keystone::{erasure, telemetry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::archive::{Archive, Holdings, Step};
use crate::self_check::{Check, Findings};

pub use super::publish_checkpoints::SETTINGS;

/// After so long a run begins no further page.
const RUN_LIMIT: Duration = Duration::from_mins(13);
/// How often its schedule in template.yaml runs it.
const EVERY: SignedDuration = SignedDuration::from_hours(12);
/// A check that comes so soon after another leaves no second entry in a trail that
/// holds nothing new: its run was begun again.
const AGAIN: SignedDuration = SignedDuration::from_hours(6);
/// What a check leaves in the trail that it found whole.
const CHECKED: &str = "audit_trail.check";
/// Entries read at once: at most some 10 MiB.
const PAGE: u64 = 500;
/// Documents that are named at once which stand among the entries without the
/// number of one.
const MISPLACED: i64 = 20;
/// Checkpoints read at once.
const CHECKPOINTS: i64 = 200;

/// The event: empty from the schedule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Slug of the only tenant to check; every tenant unless given.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "tenant"))]
    tenant: Option<String>,
}

/// What a run checked, and found nothing wrong with.
#[derive(Debug, Default, Serialize)]
pub struct Checked {
    /// Trails.
    trails: u64,
    /// Entries in them.
    entries: u64,
    /// Their checkpoints.
    checkpoints: u64,
}

/// The job. What differs is named in the log and in the failure that ends the
/// run; a trail in doubt does not stop the check of others. A trail without
/// fault gets an entry about the check; one with a fault gets none, since
/// nothing is to be built on what is in doubt. A run that follows one which was
/// killed reads every trail anew, and repeats no entry where nothing came after it.
pub async fn handle(job: Job) -> Result<Checked, Problem> {
    let input: Input = job.input()?;
    let deadline = tokio::time::Instant::now() + RUN_LIMIT;
    let registry = job.registry().await?;
    let keys = CheckpointKeys::of(&job.platform).await?;
    let archive = Archive::of(&job.platform).await?;
    let mut total = Checked::default();
    let mut named = Vec::new();
    let mut count = 0;
    let mut first_problem = None;
    let tenants = registry.round(Visit::Kept, input.tenant.as_deref(), (job.now, EVERY)).await?;
    let mut visited = HashSet::new();
    for enrolled in tenants {
        let id = enrolled.id().clone();
        visited.insert(id.clone());
        let done = async {
            let tenant = registry.for_job(enrolled, job.now).await?;
            check(&job, &tenant, &keys, &archive, deadline, &mut total).await
        };
        match done.await {
            Ok(findings) => {
                count += findings.count;
                for finding in findings.named {
                    tracing::error!(tenant = %id, finding, "the audit trail was tampered with");
                    named.push(format!("{id}: {finding}."));
                }
            }
            Err(problem) => {
                tracing::error!(tenant = %id, %problem, "the audit trail could not be checked");
                first_problem.get_or_insert(problem);
            }
        }
    }
    let archived = Archived { job: &job, registry: &registry, keys: &keys, archive: &archive };
    match archived.unread(input.tenant.as_deref(), &visited).await {
        Ok(unread) => {
            for (id, why) in unread {
                tracing::error!(tenant = %id, why, "an archived trail is not checked");
                named.push(format!("{id}: it has archived checkpoints and {why}."));
                count += 1;
            }
        }
        Err(problem) => {
            first_problem.get_or_insert(problem);
        }
    }
    if input.tenant.is_none() {
        let clean = count == 0 && first_problem.is_none();
        let left = leave_result(&job, clean, &total, count).await;
        if let Err(problem) = left {
            first_problem.get_or_insert(problem);
        }
    }
    telemetry::counted(job.now, "audit-self-check", "audit_findings", count);
    if count > 0 {
        named.truncate(100);
        return Err(Problem::Conflict(format!("{count} findings. {}", named.join(" "))));
    }
    first_problem.map_or(Ok(total), Err)
}

/// Finds the tenants of which there are archived checkpoints and whose trails no
/// run reads. Whoever writes to the registry could else switch the check off, by
/// taking a tenant out of it or by a state in which no job visits it.
struct Archived<'a> {
    job: &'a Job,
    registry: &'a JobRegistry<'a>,
    keys: &'a CheckpointKeys,
    archive: &'a Archive,
}

impl Archived<'_> {
    /// These tenants, each with the reason. What counts is whom this run
    /// `visited`: a state may be another again by now.
    async fn unread(
        &self,
        only: Option<&str>,
        visited: &HashSet<TenantId>,
    ) -> Result<Vec<(TenantId, &'static str)>, Problem> {
        let mut unread = Vec::new();
        let destructions = OnceCell::new();
        for id in self.archive.tenants().await? {
            if visited.contains(&id) || only.is_some_and(|only| only != id.as_str()) {
                continue;
            }
            let state = self.registry.state(&id).await?;
            let standing = || async {
                let holdings = self.archive.holdings(&id).await?;
                Ok::<_, StoreError>(holdings.standing(self.keys.restores()))
            };
            // One that was made in a time which a restore has undone.
            if state.is_none() && standing().await?.is_empty() {
                continue;
            }
            let why = match state {
                None => "is in no registry",
                Some(TenantState::Provisioning) => "is said to be in the making",
                // Nobody destroys the provider, whose trail would have to say so.
                Some(TenantState::Closed) if id.is_provider() => "is said to be closed",
                Some(TenantState::Closed) => {
                    let known = destructions.get_or_try_init(|| self.destructions()).await?;
                    if known.prove(&id).await? {
                        continue;
                    }
                    "is said to be closed, and nothing proves that it was destroyed"
                }
                // It was not when the run began.
                Some(TenantState::Active | TenantState::Suspended | TenantState::Closing) => {
                    "was not visited, though it is in service now"
                }
            };
            unread.push((id, why));
        }
        Ok(unread)
    }

    async fn destructions(&self) -> Result<Destructions, Problem> {
        let provider = self.registry.provider(self.job.now).await?;
        let keys = self.keys.of_tenant(provider.id().as_str())?;
        let holdings = self.archive.holdings(provider.id()).await?;
        let newest = match holdings.standing(self.keys.restores()).last() {
            Some(step) => self.archive.at(provider.id(), *step).await?,
            None => None,
        };
        let checkpoint = newest.and_then(|newest| newest.link.open(&keys).ok());
        Ok(Destructions { provider, checkpoint })
    }
}

/// The provider's trail, which says whose keys were destroyed.
struct Destructions {
    provider: Tenant,
    /// The newest archived checkpoint of it, if it opens.
    checkpoint: Option<Checkpoint>,
}

impl Destructions {
    /// Whether it is proved that the tenant `id` was destroyed. What was changed
    /// proves nothing.
    async fn prove(&self, id: &TenantId) -> Result<bool, StoreError> {
        match self.entry_of(id).await {
            Err(StoreError::Trail(_) | StoreError::Defect(_)) => Ok(false),
            other => other,
        }
    }

    /// Whether an entry says so that leads to the archived checkpoint, or, if it is
    /// newer, to the head, which the check of the provider's own trail holds
    /// against all others.
    async fn entry_of(&self, id: &TenantId) -> Result<bool, StoreError> {
        let Some(record) = self.provider.destruction_of(id).await? else {
            return Ok(false);
        };
        let (seq, head) = (record.entry.seq, self.provider.audit_tree().await?);
        let (size, root) = match &self.checkpoint {
            Some(signed) if signed.size > seq => (signed.size, signed.root),
            _ => (head.size(), head.root()),
        };
        let proof = self.provider.audit_inclusion(seq, size).await?;
        Ok(verify_inclusion(&record.leaf, seq, size, &proof, &root).is_ok())
    }
}

/// Leaves the result of a run over all trails in the provider's, where the
/// posture finds it. Were that one in doubt itself, it is still better told than
/// not.
async fn leave_result(
    job: &Job,
    clean: bool,
    total: &Checked,
    findings: u64,
) -> Result<(), Problem> {
    let provider = job.registry().await?.provider(job.now).await?;
    let resource = Resource { kind: "audit_trails".into(), id: "all".into() };
    let facts = json!({ "checked": total, "findings": findings });
    let outcome = if clean { Outcome::Success } else { Outcome::Failed };
    let by = job.attribution(ActorKind::Job, "audit-self-check");
    provider.record(&by, "audit_trails.check", resource, outcome, facts).await
}

async fn check(
    job: &Job,
    tenant: &Tenant,
    keys: &CheckpointKeys,
    archive: &Archive,
    deadline: tokio::time::Instant,
    total: &mut Checked,
) -> Result<Findings, Problem> {
    let restores = keys.restores();
    let keys = keys.of_tenant(tenant.id().as_str())?;
    // Read first: what is written during the check is left to the next one.
    let holdings = archive.holdings(tenant.id()).await?;
    let mut archived = holdings.standing(restores);
    let undone = holdings.extended.len() - archived.len();
    let (mut newest, mut spoilt) = (None, None);
    if let Some(step) = archived.last() {
        match archive.at(tenant.id(), *step).await {
            Err(StoreError::Trail(why) | StoreError::Defect(why)) => spoilt = Some(why),
            other => newest = other?,
        }
    }
    // One that does not open is a finding wherever it is looked at.
    let newest = newest.map(|newest| {
        (newest.link.open(&keys).map_or(u64::MAX, |checkpoint| checkpoint.size), newest.link)
    });
    let head = match tenant.audit_tree().await {
        Err(StoreError::Trail(what) | StoreError::Defect(what)) => {
            return Ok(Findings::only(format!("the head is none of a tree: {what}")));
        }
        other => other?,
    };
    let mut checkpoints =
        Checkpoints { tenant, page: Vec::new(), last: None, done: false, spoilt: None };
    let mut check = Check::new(tenant.id().as_str(), &keys);
    check.holdings(&holdings);
    if let Some(why) = spoilt {
        check.no_archived(&why);
    }
    let mut from: u64 = 0;
    let (mut looked_up, mut erased) = (HashSet::new(), HashSet::new());
    loop {
        if tokio::time::Instant::now() >= deadline {
            tracing::error!(tenant = %tenant.id(), from, "the run was too short for the trail");
            return Err(Problem::Unavailable);
        }
        // By their numbers: what a database finds from one on, it may sort as a whole.
        let end = head.size().min(from.saturating_add(PAGE));
        let page = tenant.stored_audit_entries_within(from..end).await?;
        // An erasure is recorded before anything stops opening.
        let read = page.iter().filter_map(|entry| entry.parts.as_ref().ok());
        for subject in read.flat_map(|parts| &parts.erased) {
            if looked_up.insert(*subject) && is_recorded(tenant, *subject).await? {
                erased.insert(*subject);
            }
        }
        for entry in &page {
            // Those of as many entries as were seen; or of none.
            while let Some(signed) = checkpoints.up_to(entry.seq).await? {
                archived.remove(&Step::of(&signed.link));
                feed(&mut check, &signed, &holdings, restores);
            }
            if let Some((_, link)) = newest.as_ref().filter(|(size, _)| *size == entry.seq) {
                check.archived(link);
            }
            check.entry(entry, &erased);
        }
        from = end;
        if page.is_empty() {
            // Many may be missing, and others lie behind them.
            let next = tenant.stored_audit_entries(end, 1).await?;
            from = next.first().map_or(head.size(), |next| next.seq);
        }
        if from >= head.size() {
            break;
        }
    }
    beside_the_trail(tenant, &head, &mut check).await?;
    let checked_to = check.entries();
    while let Some(signed) = checkpoints.up_to(u64::MAX).await? {
        // One that was signed during the check covers entries written since.
        let is_new = signed.size > head.size() && !archived.contains(&Step::of(&signed.link));
        archived.remove(&Step::of(&signed.link));
        if !is_new {
            feed(&mut check, &signed, &holdings, restores);
        }
    }
    if let Some((_, link)) = newest.as_ref().filter(|(size, _)| *size >= checked_to) {
        check.archived(link);
    }
    // A run that archived the newest and died leaves it to the next to store.
    if let Some((_, link)) = &newest {
        archived.remove(&Step::of(link));
    }
    if let Some(why) = &checkpoints.spoilt {
        check.no_checkpoint(why);
    } else {
        for step in archived {
            check.lost_checkpoint(step);
        }
    }
    let (entries, count) = (check.entries(), check.checkpoints());
    let findings = check.finish(&head);
    if findings.count == 0 {
        let facts = json!({
            "entries": entries, "checkpoints": count, "undone": undone, "root": head.root(),
        });
        leave_check(job, tenant, &head, facts).await?;
        total.trails += 1;
        total.entries += entries;
        total.checkpoints += count;
    }
    Ok(findings)
}

/// Leaves an entry about a check that found no fault, unless the last that `head`
/// counts is one of lately.
async fn leave_check(
    job: &Job,
    tenant: &Tenant,
    head: &TreeHead,
    facts: Value,
) -> Result<(), Problem> {
    let last = tenant.audit_entry(head.size().saturating_sub(1)).await?;
    if last.is_some_and(|last| last.entry.action == CHECKED && last.entry.at + AGAIN > job.now) {
        return Ok(());
    }
    let resource = Resource { kind: "audit_trail".into(), id: tenant.id().to_string() };
    let by = job.attribution(ActorKind::Job, "audit-self-check");
    tenant.record(&by, CHECKED, resource, Outcome::Success, facts).await
}

/// The next stored checkpoint, with what the archive says of it.
fn feed(
    check: &mut Check<'_>,
    signed: &SignedCheckpoint,
    holdings: &Holdings,
    restores: &Restores,
) {
    let archived_at = holdings.archived_at(signed);
    if archived_at.is_some_and(|at| restores.lost(at)) {
        check.not_undone(signed.size);
    }
    check.checkpoint(signed, archived_at);
}

/// Looks for what stands among the entries and is none that `head` counts.
async fn beside_the_trail(
    tenant: &Tenant,
    head: &TreeHead,
    check: &mut Check<'_>,
) -> Result<(), StoreError> {
    let beyond = tenant.stored_audit_entries(head.size(), 1).await?;
    let misplaced = tenant.misplaced_audit_documents(MISPLACED).await?;
    let documents = tenant.count_audit_documents().await?;
    // An entry and the head that counts it are committed together, so a head
    // that is read later counts every entry that was seen.
    let later = tenant.audit_tree().await?;
    if let Some(entry) = beyond.first().filter(|entry| entry.seq >= later.size()) {
        check.beyond(entry.seq, &later);
    }
    let more = i64::try_from(misplaced.len()) == Ok(MISPLACED);
    check.documents(documents, &misplaced, more, &later);
    Ok(())
}

/// Whether an erasure of `subject` is on record; a record that was changed is
/// none.
async fn is_recorded(tenant: &Tenant, subject: Subject) -> Result<bool, StoreError> {
    match erasure::recorded(tenant, subject).await {
        Err(StoreError::Trail(_) | StoreError::Defect(_)) => Ok(false),
        other => other,
    }
}

/// The stored checkpoints, oldest first, a page at a time.
struct Checkpoints<'t> {
    tenant: &'t Tenant,
    /// Newest first, so that the next one is popped.
    page: Vec<SignedCheckpoint>,
    last: Option<u64>,
    done: bool,
    /// Why one of them cannot be read; none comes after it.
    spoilt: Option<String>,
}

impl Checkpoints<'_> {
    /// The next one, if it covers at most `size` entries.
    async fn up_to(&mut self, size: u64) -> Result<Option<SignedCheckpoint>, Problem> {
        if self.page.is_empty() && !self.done {
            match self.tenant.checkpoints_after(self.last, CHECKPOINTS).await {
                Err(StoreError::Trail(why) | StoreError::Defect(why)) => self.spoilt = Some(why),
                other => self.page = other?,
            }
            self.done = self.page.is_empty();
            self.page.reverse();
        }
        if self.page.last().is_none_or(|next| next.size > size) {
            return Ok(None);
        }
        let next = self.page.pop();
        self.last = next.as_ref().map(|next| next.size);
        Ok(next)
    }
}
