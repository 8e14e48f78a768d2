//! One walk over all tenants for the checks that are about them.
//!
//! What is published of it says nothing about any one tenant, nor how many
//! there are; the log names those that something is wrong with.

use std::time::Duration;

use keystone::auth::Role;
use keystone::auth::password::{COST, PasswordHash};
use keystone::auth::user::{SecondFactor, User, UserStatus};
use keystone::calendar;
use keystone::job::Job;
use keystone::tenant::{Filter, Part, StoreError, Tenant, Visit};
use serde::Deserialize;
use serde_json::json;

use super::Finding;
use super::deadlines::{REMEMBERED_DAYS, last_miss};
use crate::questionnaire::overdue;
use crate::questionnaire_watch::MISS;

/// After so long the walk begins no further tenant; the next begins elsewhere.
const WALK_LIMIT: Duration = Duration::from_mins(6);
/// Sealed values that are opened of each field of a tenant.
const SAMPLE: i64 = 20;
/// Users of a tenant that are looked at.
const USERS: i64 = 10_000;

/// What is seen of a user.
#[derive(Deserialize)]
struct Standing {
    role: Role,
    #[serde(default)]
    password: Option<PasswordHash>,
    #[serde(default)]
    second_factor: Option<SecondFactor>,
}

impl Part for Standing {
    type Of = User;
    const FIELDS: &'static [&'static str] = &["role", "password", "second_factor"];
}

/// One aspect of all tenants.
#[derive(Debug, Default)]
struct Aspect {
    /// Things looked at.
    seen: u64,
    /// Things that are not as they should be.
    wrong: u64,
}

impl Aspect {
    fn note(&mut self, seen: u64, wrong: u64) {
        self.seen += seen;
        self.wrong += wrong;
    }
}

/// What the walk saw.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Tenants that could not be looked at, or not in time.
    unseen: u64,
    isolation: Aspect,
    append_only: Aspect,
    sealed: Aspect,
    hashes: Aspect,
    factors: Aspect,
    /// Of those, who are let in only to set a factor up.
    enrolling: u64,
    contacts: Aspect,
    questionnaires: Aspect,
    /// Written consents to data leaving the EU.
    consents: Aspect,
}

/// Looks at all tenants.
///
/// # Errors
/// [`StoreError`] when the registry cannot be read.
pub(super) async fn survey(job: &Job) -> Result<Survey, StoreError> {
    let deadline = tokio::time::Instant::now() + WALK_LIMIT;
    let registry = job.registry().await?;
    let mut tenants = registry.walk(Visit::Kept).await?;
    let day = usize::try_from(job.now.as_second() / 86_400).unwrap_or(0);
    let first = day.checked_rem(tenants.len()).unwrap_or(0);
    tenants.rotate_left(first);
    let mut survey = Survey::default();
    for enrolled in tenants {
        if tokio::time::Instant::now() >= deadline {
            survey.unseen += 1;
            continue;
        }
        let id = enrolled.id().clone();
        let done = async {
            let tenant = registry.for_job(enrolled, job.now).await?;
            survey.look(job, &tenant).await
        };
        if let Err(error) = done.await {
            tracing::error!(tenant = %id, %error, "a tenant could not be looked at");
            survey.unseen += 1;
        }
    }
    Ok(survey)
}

fn count<T>(values: &[T]) -> u64 {
    values.len() as u64
}

impl Survey {
    async fn look(&mut self, job: &Job, tenant: &Tenant) -> Result<(), StoreError> {
        let id = tenant.id();
        let takers = tenant.take_foreign_documents(job.now).await?;
        if !takers.is_empty() {
            tracing::error!(tenant = %id, ?takers, "these take documents of another tenant");
        }
        self.isolation.note(1, count(&takers).min(1));

        let changeable = tenant.changeable_records().await?;
        if !changeable.is_empty() {
            tracing::error!(tenant = %id, ?changeable, "records can be changed");
        }
        self.append_only.note(1, count(&changeable).min(1));

        let sample = tenant.sample_sealed(SAMPLE).await?;
        if !sample.wrong.is_empty() {
            tracing::error!(tenant = %id, fields = ?sample.wrong, "values are not sealed");
        }
        let wrong = count(&sample.wrong);
        self.sealed.note(sample.opened + sample.erased + wrong, wrong);

        // The canaries' are asked for by the isolation probe, and nobody waits.
        if !id.is_canary() {
            let (open, late) = overdue(tenant, calendar::day_of(job.now)).await?;
            let missed = last_miss(tenant, MISS, job.now).await?.is_some();
            self.questionnaires.note(open, late + u64::from(missed));
        }
        if id.is_provider() {
            return Ok(());
        }

        let settings = tenant.settings().await?.entity;
        let reachable = !settings.contacts.primary.email.trim().is_empty();
        self.contacts.note(1, u64::from(!reachable));
        // Nobody has data in a canary who could consent to anything.
        if !id.is_canary() {
            self.consents.note(1, u64::from(settings.cross_border_consent.is_none()));
        }
        let active = Filter::all().eq("status", UserStatus::Active.name());
        for (_, user) in tenant.parts::<Standing>(active, USERS).await? {
            if let Some(hash) = &user.password {
                self.hashes.note(1, u64::from(hash.cost() != Some(COST)));
            }
            if user.role == Role::SuperAdmin {
                let has = user.second_factor.is_some_and(|factor| factor.active_since.is_some());
                let asked = settings.require_second_factor(user.role);
                self.factors.note(1, u64::from(!has && !asked));
                self.enrolling += u64::from(!has && asked);
            }
        }
        Ok(())
    }

    /// `wrong` if anything is; unknown if not every tenant was seen.
    fn finding(&self, aspect: &Aspect, right: &str, wrong: &str) -> Finding {
        if aspect.wrong > 0 {
            return Finding::of(false, wrong, json!({ "fault": true }));
        }
        if self.unseen > 0 {
            return Finding::unknown("Not every tenant could be looked at.");
        }
        Finding::of(true, right, json!({ "fault": false, "any": aspect.seen > 0 }))
    }

    pub(super) fn isolation(&self) -> Finding {
        self.finding(
            &self.isolation,
            "Each collection of each tenant's database refused a document of another tenant.",
            "A tenant's database took a document of another tenant (it was not kept).",
        )
    }

    pub(super) fn append_only(&self) -> Finding {
        self.finding(
            &self.append_only,
            "The functions' database user may neither change nor remove audit entries, \
             checkpoints or histories, in any tenant.",
            "The functions' database user may change or remove records that are append-only.",
        )
    }

    pub(super) fn sealed_fields(&self) -> Finding {
        self.finding(
            &self.sealed,
            "Of every tenant the newest values of each sealed field opened as ciphertext where \
             they stand, and none stood there in clear.",
            "A field that must be sealed holds a value that is not.",
        )
    }

    pub(super) fn password_hashes(&self) -> Finding {
        self.finding(
            &self.hashes,
            "Every stored password is a bcrypt hash of work factor 12.",
            "A stored password is no bcrypt hash of work factor 12.",
        )
    }

    pub(super) fn mfa_coverage(&self) -> Finding {
        let all = self.enrolling == 0;
        let right = if all {
            "Every active super_admin signs in with a second factor."
        } else {
            "Every active super_admin signs in with a second factor, or is let in only to set one \
             up."
        };
        let wrong = "A tenant lets a super_admin in without a second factor.";
        self.finding(&self.factors, right, wrong)
    }

    pub(super) fn primary_contacts(&self) -> Finding {
        self.finding(
            &self.contacts,
            "Every tenant names a primary contact, whom notices go to.",
            "A tenant names no primary contact.",
        )
    }

    /// Whether every tenant consented in writing to its data leaving the EU;
    /// `None` if not every tenant was seen and all others did.
    pub(super) fn all_consent(&self) -> Option<bool> {
        match (self.consents.wrong, self.unseen) {
            (0, 0) => Some(true),
            (0, _) => None,
            _ => Some(false),
        }
    }

    pub(super) fn questionnaires(&self) -> Finding {
        let days = REMEMBERED_DAYS;
        self.finding(
            &self.questionnaires,
            &format!("No questionnaire is over its date, and none missed it in {days} days."),
            &format!("A questionnaire is over its date, or one missed it in {days} days."),
        )
    }
}
