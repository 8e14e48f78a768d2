//! Reminds each tenant's primary contact of what the tenant owes to its own
//! security (claim C21): once a week while it is owed, and at once of what is
//! new.

use std::time::Duration;

use jiff::SignedDuration;
use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::{Attribution, Tenant, Visit, WriteTx};
use keystone::{calendar, letters, mail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duties::{Duties, Duty, Reminder};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// After so long a run looks at no further tenant; the next goes on.
const RUN_LIMIT: Duration = Duration::from_mins(13);
/// How often its schedule in template.yaml runs it.
const EVERY: SignedDuration = SignedDuration::from_hours(24);

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
    /// Tenants reminded.
    reminded: u64,
    /// Tenants that it had no time for.
    left: u64,
}

/// The job. A tenant whose stores do not answer does not stop the others; the
/// run fails in the end, so that it is seen and repeated.
pub async fn handle(job: Job) -> Result<Watched, Problem> {
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Job, "watch-duties");
    let deadline = tokio::time::Instant::now() + RUN_LIMIT;
    let registry = job.registry().await?;
    let mut total = Watched::default();
    let mut first_problem = None;
    let tenants =
        registry.round(Visit::Customers, input.tenant.as_deref(), (job.now, EVERY)).await?;
    for enrolled in tenants {
        if tokio::time::Instant::now() >= deadline {
            total.left += 1;
            continue;
        }
        let done = async {
            let tenant = registry.for_job(enrolled, job.now).await?;
            remind(&tenant, &by).await
        };
        match done.await {
            Ok(reminded) => total.reminded += u64::from(reminded),
            Err(problem) => {
                first_problem.get_or_insert(problem);
            }
        }
    }
    first_problem.map_or(Ok(total), Err)
}

/// Reminds the tenant, letter and mark in one transaction, so that a run that
/// is killed leaves both or neither, and says whether it did.
async fn remind(tenant: &Tenant, by: &Attribution) -> Result<bool, Problem> {
    let duties = Duties::of(tenant, by.now).await?;
    let last = tenant.get::<Reminder>(Reminder::ID).await?;
    let enough = last.is_some_and(|last| last.entity.suffices(&duties.owed, by.now));
    if duties.owed.is_empty() || enough {
        return Ok(false);
    }
    let told: Vec<String> = duties.owed.iter().map(|duty| in_words(*duty, &duties)).collect();
    let done = tenant
        .audited(by, "duty_reminder.send", async |tx: &mut WriteTx<'_>| {
            let before = tx.get::<Reminder>(Reminder::ID).await?;
            if before.as_ref().is_some_and(|last| last.entity.suffices(&duties.owed, by.now)) {
                return Err(Problem::Stale);
            }
            let contact = tx.settings().await?.entity.contacts.primary;
            let letter = letters::duties(tenant.profile(), &contact, &told)?;
            mail::enqueue(tx, by.now, contact.subject(), &letter).await?;
            let after = Reminder::new(by.now, duties.owed.clone());
            match &before {
                Some(before) => tx.replace(before, after).await.map(|_| ())?,
                None => tx.insert(Reminder::ID, after).await.map(|_| ())?,
            }
            Ok(())
        })
        .await;
    match done {
        Ok(()) => Ok(true),
        // Another run did it meanwhile.
        Err(Problem::Stale) => Ok(false),
        Err(problem) => Err(problem),
    }
}

fn in_words(duty: Duty, duties: &Duties) -> String {
    let people = |count: usize| match count {
        1 => "1 person".to_owned(),
        count => format!("{count} people"),
    };
    match duty {
        Duty::ReviewAudit => format!(
            "The audit trail was to be reviewed by {}. Look through it and attest the review.",
            calendar::day_of(duties.audit_review_due_at).strftime("%-d %B %Y")
        ),
        Duty::ConfirmContacts => "Nobody has said for 180 days that your contacts are right. \
                                  Confirm them in the settings, or change them."
            .to_owned(),
        Duty::SetUpSecondFactors => format!(
            "{} who may do everything signed in without a second factor so far. Have them set up \
             an authenticator app.",
            people(duties.super_admins_without_second_factor.len())
        ),
        Duty::OffboardDormantUsers => format!(
            "{} did not use their account for 90 days. Offboard whoever does not need it any more.",
            people(duties.dormant_users.len())
        ),
    }
}
