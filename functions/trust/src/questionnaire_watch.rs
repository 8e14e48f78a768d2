//! The watch over the dates of questionnaires (claim C20): our contact is
//! reminded on the last business day before one, and told once it has passed.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use keystone::crypto::Subject;
use keystone::tenant::{
    Attribution, Contact, Filter, Id, JobRegistry, Page, Stored, Tenant, Visit, WriteTx,
};
use keystone::{Problem, business_days, calendar, letters, mail};
use serde::Serialize;
use tokio::time::Instant;

use crate::questionnaire::{Questionnaire, State, find};

/// After so long a run looks at no further tenant; the next begins elsewhere.
const RUN_LIMIT: Duration = Duration::from_mins(2);
/// How often the schedule of check-posture in template.yaml runs it.
const EVERY: SignedDuration = SignedDuration::from_hours(12);
/// Business days before its date from which a questionnaire is called to mind.
const REMINDER_DAYS: u32 = 1;

/// The action under which it is recorded that a date has passed.
pub const MISS: &str = "questionnaire.miss";

/// What a run told our contact of.
#[derive(Debug, Default, Serialize)]
pub struct Watched {
    /// Questionnaires that are due.
    reminded: u64,
    /// Those whose date has passed.
    missed: u64,
}

/// What is to be told of a questionnaire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// That it is due.
    Remind,
    /// That its date has passed.
    Miss,
}

impl Step {
    const fn action(self) -> &'static str {
        match self {
            Self::Remind => "questionnaire.remind",
            Self::Miss => MISS,
        }
    }
}

impl Questionnaire {
    /// What is to be told on `today`, if anything; each is told once.
    fn step(&self, today: Date) -> Option<Step> {
        if self.state == State::Issued {
            return None;
        }
        if today > self.due_on {
            return self.missed_at.is_none().then_some(Step::Miss);
        }
        let near = business_days::after(today, REMINDER_DAYS) >= self.due_on;
        (near && self.reminded_at.is_none()).then_some(Step::Remind)
    }

    /// The same after that was told at `now`.
    fn stepped(mut self, step: Step, now: Timestamp) -> Self {
        let told = match step {
            Step::Remind => &mut self.reminded_at,
            Step::Miss => &mut self.missed_at,
        };
        *told = Some(now);
        self
    }
}

/// Looks at the questionnaires of every tenant, and at those that others asked
/// for. A tenant whose stores do not answer does not stop the others.
///
/// # Errors
/// The first problem, after everything else was looked at; 503 when the time was
/// over.
pub async fn watch(registry: &JobRegistry<'_>, by: &Attribution) -> Result<Watched, Problem> {
    let deadline = Instant::now() + RUN_LIMIT;
    let provider = registry.provider(by.now).await?;
    let ours = provider.settings().await?.entity.contacts.for_security();
    let mut seen = Watched::default();
    let mut first_problem = None;
    for enrolled in registry.round(Visit::Kept, None, (by.now, EVERY)).await? {
        // The canaries' are asked for by the isolation probe, and nobody waits.
        if enrolled.id().is_canary() {
            continue;
        }
        if Instant::now() >= deadline {
            first_problem.get_or_insert(Problem::Unavailable);
            break;
        }
        let id = enrolled.id().clone();
        let done = async {
            let tenant = registry.for_job(enrolled, by.now).await?;
            look_at(&tenant, by, &ours, &mut seen).await
        };
        if let Err(problem) = done.await {
            tracing::error!(tenant = %id, %problem, "dates of questionnaires were not watched");
            first_problem.get_or_insert(problem);
        }
    }
    first_problem.map_or(Ok(seen), Err)
}

async fn look_at(
    tenant: &Tenant,
    by: &Attribution,
    ours: &Contact,
    seen: &mut Watched,
) -> Result<(), Problem> {
    let today = calendar::day_of(by.now);
    let near = Filter::all()
        .eq("state", "received")
        .until_day("due_on", business_days::after(today, REMINDER_DAYS));
    let mut page = Page { after: None, limit: 100 };
    loop {
        let found = tenant.list::<Questionnaire>(near.clone(), page).await?;
        for stored in &found {
            let Some(step) = stored.entity.step(today) else { continue };
            if tell(tenant, by, Some(ours), (stored.id, step)).await? {
                match step {
                    Step::Remind => seen.reminded += 1,
                    Step::Miss => seen.missed += 1,
                }
            }
        }
        match found.last() {
            Some(last) if found.len() == 100 => page.after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

/// Records that the date of a questionnaire whose answers are given now has passed,
/// unless that was recorded before. Whoever gives them needs no letter.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn record_miss(
    tenant: &Tenant,
    by: &Attribution,
    late: &Stored<Questionnaire>,
) -> Result<(), Problem> {
    if late.entity.step(calendar::day_of(by.now)) == Some(Step::Miss) {
        tell(tenant, by, None, (late.id, Step::Miss)).await?;
    }
    Ok(())
}

/// Tells our contact, if `ours` is given, letter and mark in one transaction of the
/// tenant that asked; false if somebody answered meanwhile or another run was faster.
async fn tell(
    tenant: &Tenant,
    by: &Attribution,
    ours: Option<&Contact>,
    (id, step): (Id, Step),
) -> Result<bool, Problem> {
    let today = calendar::day_of(by.now);
    let done = tenant
        .audited(by, step.action(), async |tx: &mut WriteTx<'_>| {
            let before = find(tx, id).await?;
            if before.entity.step(today) != Some(step) {
                return Err(Problem::Stale);
            }
            if let Some(ours) = ours {
                let (of, missed) = ((id, before.entity.due_on), step == Step::Miss);
                let letter = letters::questionnaire(tenant.profile(), ours, of, missed)?;
                // Ours is nobody of the tenant's, and waits though it be suspended.
                mail::enqueue_though_suspended(tx, by.now, Subject::Tenant, &letter).await?;
            }
            tx.replace(&before, before.entity.clone().stepped(step, by.now)).await?;
            Ok(())
        })
        .await;
    match done {
        Ok(()) => Ok(true),
        Err(Problem::Stale) => Ok(false),
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::questionnaire::{Kind, NewQuestionnaire};

    #[test]
    fn each_date_is_called_to_mind_once_before_and_once_after() {
        // A Wednesday; the third business day after it is Monday.
        let now: Timestamp = "2026-06-10T12:00:00Z".parse().unwrap();
        let new = NewQuestionnaire { kind: Kind::Lite, questions: vec![] };
        let mut asked = new.received("Buyer Ltd".into(), None, now);
        assert_eq!(asked.due_on, date(2026, 6, 15));
        for (today, step) in [
            (date(2026, 6, 10), None),
            (date(2026, 6, 11), None),
            (date(2026, 6, 12), Some(Step::Remind)),
            (date(2026, 6, 13), None),
            (date(2026, 6, 15), None),
            (date(2026, 6, 16), Some(Step::Miss)),
            (date(2026, 6, 17), None),
        ] {
            let found = asked.step(today);
            assert_eq!(found, step, "{today}");
            asked = found.map_or(asked.clone(), |step| asked.stepped(step, now));
        }
    }

    #[test]
    fn what_is_answered_or_looked_at_late_is_not_called_to_mind() {
        let now: Timestamp = "2026-06-10T12:00:00Z".parse().unwrap();
        let new = NewQuestionnaire { kind: Kind::Lite, questions: vec![] };
        let asked = new.received("Buyer Ltd".into(), None, now);
        assert_eq!(asked.step(date(2026, 6, 20)), Some(Step::Miss));
        let issued = Questionnaire { state: State::Issued, ..asked };
        assert_eq!(issued.step(date(2026, 6, 20)), None);
    }
}
