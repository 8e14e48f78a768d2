//! Watches the deadlines of data-subject requests: reminds the tenant's primary
//! contact seven and two days before the end, and records a miss on the day
//! after it (GDPR Art. 12(3)). Erases what strangers said in requests that were
//! answered as long ago as the tenant keeps who left. Suspended tenants are looked
//! at, too: no time stops for them.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Date;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::erasure::{Ground, erase_for};
use keystone::job::Job;
use keystone::platform::Platform;
use keystone::tenant::{Attribution, Filter, Id, Page, Stored, Tenant, Visit, WriteTx};
use keystone::{Problem, calendar, letters, mail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::request::watch::{FIRST_REMINDER, Step};
use crate::request::{State, SubjectRequest};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::ExportBucket];

/// After so long a run looks at no further request; the next goes on.
const RUN_LIMIT: Duration = Duration::from_mins(4);
/// How often its schedule in template.yaml runs it.
const EVERY: SignedDuration = SignedDuration::from_hours(1);
/// The event: empty from the schedule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Slug of the only tenant to look at; every tenant unless given.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "tenant"))]
    tenant: Option<String>,
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Watched {
    /// Reminders sent.
    reminded: u64,
    /// Misses recorded.
    missed: u64,
    /// Requests of strangers of which nothing that they said is kept any more.
    lapsed: u64,
    /// Whether requests are left that it did not look at.
    unfinished: bool,
}

/// The job. A tenant whose stores do not answer does not stop the others; the
/// run fails in the end, so that it is seen and repeated.
pub async fn handle(job: Job) -> Result<Watched, Problem> {
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Job, "watch-data-subject-requests");
    let deadline = tokio::time::Instant::now() + RUN_LIMIT;
    let registry = job.registry().await?;
    let mut total = Watched::default();
    let mut first_problem = None;
    let tenants =
        registry.round(Visit::KeptCustomers, input.tenant.as_deref(), (job.now, EVERY)).await?;
    for enrolled in tenants {
        let done = async {
            let tenant = registry.for_job(enrolled, job.now).await?;
            watch(&tenant, &by, deadline, &mut total).await?;
            forget_strangers(&job.platform, &tenant, &by, deadline, &mut total).await
        };
        if let Err(problem) = done.await {
            first_problem.get_or_insert(problem);
        }
    }
    first_problem.map_or(Ok(total), Err)
}

async fn watch(
    tenant: &Tenant,
    by: &Attribution,
    deadline: tokio::time::Instant,
    total: &mut Watched,
) -> Result<(), Problem> {
    let today = calendar::day_of(by.now);
    let running = State::RUNNING.map(|state| state.name().to_owned()).to_vec();
    let near = Filter::all()
        .any("state", running)
        .until_day("due_on", calendar::days_after(today, FIRST_REMINDER));
    let mut page = Page { after: None, limit: 100 };
    loop {
        let found = tenant.list::<SubjectRequest>(near.clone(), page).await?;
        for request in &found {
            if tokio::time::Instant::now() >= deadline {
                total.unfinished = true;
                return Ok(());
            }
            if request.entity.step(today).is_none() {
                continue;
            }
            match take_step(tenant, by, request.id, today).await? {
                Some(Step::Miss) => total.missed += 1,
                Some(_) => total.reminded += 1,
                None => {}
            }
        }
        match found.last() {
            Some(last) if found.len() == 100 => page.after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

/// Erases what was said in answered requests that are about nobody whom the
/// tenant knows, once it is kept no longer: no erasure of a person reaches it.
async fn forget_strangers(
    platform: &Platform,
    tenant: &Tenant,
    by: &Attribution,
    deadline: tokio::time::Instant,
    total: &mut Watched,
) -> Result<(), Problem> {
    let settings = tenant.settings().await?.entity;
    let Some(limit) = settings.kept_from(by.now)? else { return Ok(()) };
    let ended = [State::Fulfilled, State::Refused].map(|state| state.name().to_owned()).to_vec();
    let old = Filter::all().any("state", ended).before("updated_at", limit);
    let check = async |_: &mut WriteTx<'_>, request: &Stored<SubjectRequest>| {
        request.entity.has_lapsed(limit).then_some(()).ok_or(Problem::Stale)
    };
    let mut page = Page { after: None, limit: 100 };
    loop {
        let found = tenant.list::<SubjectRequest>(old.clone(), page).await?;
        for request in found.iter().filter(|request| request.entity.has_lapsed(limit)) {
            if tokio::time::Instant::now() >= deadline {
                total.unfinished = true;
                return Ok(());
            }
            let (action, ground) = ("data_subject_request.erase", Ground::NoLongerNeeded);
            match erase_for(platform, tenant, by, request.id, action, ground, check).await {
                // Another run was faster.
                Err(Problem::Stale) => {}
                done => total.lapsed += done.map(|_| 1)?,
            }
        }
        match found.last() {
            Some(last) if found.len() == 100 => page.after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

/// Does what is due of a request, letter and mark in one transaction, so that
/// a run that is killed leaves both or neither. `None` if somebody answered it
/// or another run did it meanwhile.
async fn take_step(
    tenant: &Tenant,
    by: &Attribution,
    id: Id,
    today: Date,
) -> Result<Option<Step>, Problem> {
    let due = |request: Option<&SubjectRequest>| request.and_then(|request| request.step(today));
    let request = tenant.get::<SubjectRequest>(id).await?;
    let Some(step) = due(request.as_ref().map(|stored| &stored.entity)) else { return Ok(None) };
    let done = tenant
        .audited(by, step.action(), async |tx: &mut WriteTx<'_>| {
            let before = tx.get::<SubjectRequest>(id).await?.ok_or(Problem::NotFound)?;
            let request = &before.entity;
            if request.step(today) != Some(step) {
                return Err(Problem::Stale);
            }
            let days_left = calendar::days_between(today, request.due_on);
            let contact = tx.settings().await?.entity.contacts.primary;
            let letter = letters::subject_request_deadline(
                tenant.profile(),
                &contact,
                id,
                request.due_on,
                days_left,
            )?;
            mail::enqueue_though_suspended(tx, by.now, contact.subject(), &letter).await?;
            // Doubts about who asks do not stop the clock; that there were some
            // belongs to what is known of a miss.
            let facts = json!({ "days_left": days_left, "identity": request.identity() });
            tx.facts(&facts, &[])?;
            let after = request.stepped(step, by.now);
            tx.replace(&before, after).await?;
            Ok(())
        })
        .await;
    match done {
        Ok(()) => Ok(Some(step)),
        Err(Problem::Stale) => Ok(None),
        Err(problem) => Err(problem),
    }
}
