//! The watcher: sees that every affected tenant is told, reads back how far
//! the letters came, raises alarms while the deadline comes nearer, and records
//! when it was missed.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keystone::mail::{Progress, State as MailState};
use keystone::tenant::{Enrolled, Filter, JobRegistry, Page, Stored, Tenant, WriteTx};
use keystone::{Problem, telemetry};
use serde::Serialize;
use tokio::time::Instant;

use crate::breach::{Breach, Delivery, State, deliveries};
use crate::clocks::alarms_due;
use crate::delivery::{Teller, reachable};
use crate::incident;

/// After so long a run tells no further tenant and reads no further outbox; the next
/// goes on.
const RUN_LIMIT: Duration = Duration::from_mins(10);
/// How often its schedule in template.yaml runs it.
const EVERY: SignedDuration = SignedDuration::from_mins(15);

/// So long after a letter went out it is looked whether it came back. SES tries
/// to deliver for 14 hours.
const BOUNCES: SignedDuration = SignedDuration::from_hours(24);

/// What a run saw.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Tenants still to be told something.
    pub waiting: u64,
    /// Of them, those not notified 24 hours after confirmation, and those of whom a
    /// letter has waited for four hours, was given up or came back: somebody has to
    /// do something.
    pub at_risk: u64,
    /// Alarms that were raised now.
    pub alarms: u64,
    /// Deadlines of 72 hours that were recorded as missed now.
    pub missed: u64,
}

/// What is the same for a whole run.
struct Watch<'a, 'r> {
    registry: &'a JobRegistry<'r>,
    provider: &'a Tenant,
    teller: &'a Teller<'a>,
    tenants: HashMap<String, Enrolled>,
    deadline: Instant,
    seen: Watched,
    first_problem: Option<Problem>,
}

/// Looks at every breach of which somebody is still to be told, and then at those
/// of which a letter may still come back. A tenant whose stores do not answer does
/// not stop the others, and its clock is watched all the same; so is that of one for
/// which the time was over.
///
/// # Errors
/// The first problem, after everything else was looked at, or 503 when the time was
/// over; beside it what was seen, so that alarms do not depend on it.
pub async fn watch(
    registry: &JobRegistry<'_>,
    provider: &Tenant,
    teller: &Teller<'_>,
) -> Result<(Watched, Option<Problem>), Problem> {
    let mut seen = Watched::default();
    let mut first_problem = None;
    let deadline = Instant::now() + RUN_LIMIT;
    for breach in to_watch(provider, teller.by.now).await? {
        let tenants = reachable(registry).await?;
        let mut watch =
            Watch { registry, provider, teller, tenants, deadline, seen, first_problem };
        if let Err(problem) = watch.look_at(&breach).await {
            watch.first_problem.get_or_insert(problem);
        }
        (seen, first_problem) = (watch.seen, watch.first_problem);
    }
    Ok((seen, first_problem))
}

/// The open breaches, then those that were settled lately. Each run begins with
/// another.
async fn to_watch(provider: &Tenant, now: Timestamp) -> Result<Vec<Stored<Breach>>, Problem> {
    let mut found = Vec::new();
    for state in ["open", "settled"] {
        let in_state = Filter::all().eq("state", state);
        let begins = found.len();
        let mut after = None;
        loop {
            let page = Page { after, limit: 100 };
            let page = provider.list::<Breach>(in_state.clone(), page).await?;
            after = page.last().map(|last| last.id);
            if after.is_none() {
                break;
            }
            // A settled breach is as it was when it was settled, and its letters
            // went out before.
            found.extend(page.into_iter().filter(|breach| {
                breach.entity.state == State::Open || breach.updated_at + BOUNCES > now
            }));
        }
        take_turns(&mut found[begins..], now);
    }
    Ok(found)
}

/// Lets the run at `now` begin with another one than the run before, so that none is
/// always what time runs out for.
fn take_turns<T>(all: &mut [T], now: Timestamp) {
    let run = usize::try_from(now.as_second() / EVERY.as_secs()).unwrap_or(0);
    let first = run.checked_rem(all.len()).unwrap_or(0);
    all.rotate_left(first);
}

impl Watch<'_, '_> {
    async fn look_at(&mut self, breach: &Stored<Breach>) -> Result<(), Problem> {
        let (mut to_tell, mut told) = (Vec::new(), Vec::new());
        let mut after = None;
        loop {
            let page = deliveries(self.provider, breach.id, after).await?;
            after = page.last().map(|last| last.id);
            if after.is_none() {
                break;
            }
            for delivery in page {
                if !delivery.entity.is_settled(&breach.entity) {
                    to_tell.push(delivery);
                } else if delivery.entity.may_come_back(self.teller.by.now) {
                    told.push(delivery);
                }
            }
        }
        take_turns(&mut to_tell, self.teller.by.now);
        take_turns(&mut told, self.teller.by.now);
        let mut settled = true;
        // Who was told waits for those who were not.
        for delivery in to_tell.iter().chain(&told) {
            settled &= self.look_at_one(breach, delivery).await?;
        }
        match (breach.entity.state, settled) {
            (State::Open, true) => self.turn(breach, State::Settled, "breach.settle").await,
            // A letter came back.
            (State::Settled, false) => self.turn(breach, State::Open, "breach.reopen").await,
            _ => Ok(()),
        }
    }

    /// Whether the tenant of this delivery was told all.
    async fn look_at_one(
        &mut self,
        breach: &Stored<Breach>,
        stored: &Stored<Delivery>,
    ) -> Result<bool, Problem> {
        let mut gone = false;
        let seen = match self.see(breach, &stored.entity).await {
            Ok(seen) => seen,
            // It was closed since: nothing is wrong here, and nothing can be told.
            Err(Problem::NotFound) => {
                gone = true;
                stored.entity.clone()
            }
            Err(problem) => {
                let tenant = &stored.entity.tenant;
                tracing::error!(tenant, %problem, "a tenant could not be told of a breach");
                self.first_problem.get_or_insert(problem);
                stored.entity.clone()
            }
        };
        let now = self.teller.by.now;
        let after = next(seen, now);
        // Who is gone can be told nothing any more; that the time passed stays
        // recorded.
        let settled = after.is_settled(&breach.entity) || (gone && after.missed);
        self.count(&after, settled);
        let done = self.record(stored, &after).await;
        if let Err(problem) = done {
            // Another run recorded it; the next sees what is left.
            if problem != Problem::Stale {
                self.first_problem.get_or_insert(problem);
            }
            return Ok(false);
        }
        let raised = after.alarms.len().saturating_sub(stored.entity.alarms.len());
        self.seen.alarms += raised as u64;
        self.seen.missed += u64::from(after.missed && !stored.entity.missed);
        Ok(settled)
    }

    /// Counts a tenant that is still to be told something.
    fn count(&mut self, delivery: &Delivery, settled: bool) {
        let late = delivery.delivered_at().is_none()
            && !alarms_due(delivery.confirmed_at, self.teller.by.now).is_empty();
        self.seen.waiting += u64::from(!settled);
        let stuck = delivery.has_failed() || delivery.waits_long(self.teller.by.now);
        self.seen.at_risk += u64::from(!settled && (stuck || late));
    }

    /// Tells the tenant what is left, and reads back how far the letters came, unless
    /// the time is over.
    async fn see(
        &mut self,
        breach: &Stored<Breach>,
        delivery: &Delivery,
    ) -> Result<Delivery, Problem> {
        let enrolled = self.tenants.remove(&delivery.tenant).ok_or(Problem::NotFound)?;
        if Instant::now() >= self.deadline {
            return Err(Problem::Unavailable);
        }
        let tenant = self.registry.for_job(enrolled, self.teller.by.now).await?;
        let incident = self.teller.tell(&tenant, breach, delivery).await?;
        Ok(Delivery {
            letters: incident::letters(&tenant, &incident).await?,
            by_hand_at: incident.by_hand.map(|told| told.at),
            updates_by_hand: incident.updates_by_hand.iter().map(|told| told.sequence).collect(),
            ..delivery.clone()
        })
    }

    /// Stores what changed; alarms and misses are actions of their own.
    async fn record(&self, before: &Stored<Delivery>, after: &Delivery) -> Result<(), Problem> {
        let was = &before.entity;
        let told =
            |one: &Delivery| (one.letters.clone(), one.by_hand_at, one.updates_by_hand.clone());
        let action = if after.missed && !was.missed {
            "breach_delivery.miss"
        } else if after.alarms != was.alarms {
            "breach_delivery.alarm"
        } else if told(after) != told(was) {
            "breach_delivery.follow"
        } else {
            return Ok(());
        };
        let Delivery { tenant, breach_id, alarms, .. } = after;
        // Metrics of what is new are written before it is recorded: a run that
        // dies in between says it twice, and never not at all.
        let count = |metric, count| {
            telemetry::counted(self.teller.by.now, "watch-breaches", metric, count);
        };
        if alarms.len() > was.alarms.len() {
            count("breach_alarms", (alarms.len() - was.alarms.len()) as u64);
        }
        match action {
            "breach_delivery.miss" => {
                tracing::error!(tenant, %breach_id, "72 h after confirmation: deadline missed");
                count("breach_deadlines_missed", 1);
                // The last of the alarms.
                count("breach_alarms", 1);
            }
            "breach_delivery.alarm" => {
                tracing::error!(tenant, %breach_id, ?alarms, "a tenant is not notified of a breach");
            }
            _ => {}
        }
        self.provider
            .audited(self.teller.by, action, async |tx: &mut WriteTx<'_>| {
                tx.replace(before, after.clone()).await?;
                Ok(())
            })
            .await
    }

    async fn turn(
        &self,
        breach: &Stored<Breach>,
        state: State,
        action: &'static str,
    ) -> Result<(), Problem> {
        let after = Breach { state, ..breach.entity.clone() };
        let done = self
            .provider
            .audited(self.teller.by, action, async |tx: &mut WriteTx<'_>| {
                tx.replace(breach, after.clone()).await?;
                Ok(())
            })
            .await;
        match done {
            // It has news since it was read.
            Err(Problem::Stale) => Ok(()),
            done => done,
        }
    }
}

impl Delivery {
    /// Whether a letter went out so lately that it may still come back.
    fn may_come_back(&self, now: Timestamp) -> bool {
        let lately =
            |letter: &Progress| letter.state == MailState::Sent && letter.since + BOUNCES > now;
        self.letters.iter().any(lately)
    }
}

/// The delivery with what is to be recorded of it at `now`. Of alarms that are
/// due at once, each is recorded, so that none is raised later.
fn next(mut after: Delivery, now: Timestamp) -> Delivery {
    if after.delivered_at().is_none() {
        for hours in alarms_due(after.confirmed_at, now) {
            if !after.alarms.contains(&hours) {
                after.alarms.push(hours);
            }
        }
    }
    // What a tenant's stores kept from us may show later that it was in time.
    after.missed = after.clocks(now).missed();
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breach::tests::delivery;

    fn hours(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    /// What a run at `now` makes of a delivery whose letters are in `states`.
    fn at(before: &Delivery, states: &[MailState], now: Timestamp) -> Delivery {
        next(Delivery { letters: delivery(states).letters, ..before.clone() }, now)
    }

    #[test]
    fn each_alarm_is_raised_once_while_nothing_is_delivered() {
        let pending = [MailState::Pending];
        let mut now = delivery(&pending);
        let mut raised = Vec::new();
        for hour in 0..100 {
            let after = at(&now, &pending, hours(hour));
            if after.alarms.len() > now.alarms.len() {
                raised.push((hour, after.alarms.last().copied()));
            }
            now = after;
        }
        assert_eq!(raised, [(24, Some(24)), (48, Some(48)), (60, Some(60))]);
        // A run that comes late raises all that are due.
        assert_eq!(at(&delivery(&pending), &pending, hours(61)).alarms, [24, 48, 60]);
        // What is delivered raises none.
        assert!(at(&delivery(&pending), &[MailState::Sent], hours(61)).alarms.is_empty());
        for lost in [MailState::Failed, MailState::Bounced] {
            assert_eq!(at(&delivery(&pending), &[lost], hours(25)).alarms, [24]);
        }
        // Nor does what was sent and came back.
        let sent = delivery(&[MailState::Sent]);
        assert_eq!(at(&sent, &[MailState::Bounced], hours(49)).alarms, [24, 48]);
    }

    #[test]
    fn each_run_begins_with_another() {
        let order = |run: i64| {
            let mut all = ["a", "b", "c"];
            take_turns(&mut all, Timestamp::UNIX_EPOCH + SignedDuration::from_mins(15 * run));
            all.concat()
        };
        assert_eq!([0, 1, 2, 3].map(order), ["abc", "bca", "cab", "abc"]);
        take_turns::<u8>(&mut [], hours(1));
    }

    #[test]
    fn a_letter_may_come_back_for_a_day() {
        // It went out in the first hour.
        let sent = delivery(&[MailState::Failed, MailState::Sent]);
        assert!(sent.may_come_back(hours(24)));
        assert!(!sent.may_come_back(hours(25)));
        for other in [MailState::Pending, MailState::Failed, MailState::Bounced] {
            assert!(!delivery(&[other]).may_come_back(hours(2)));
        }
    }

    #[test]
    fn a_miss_stays_a_miss_unless_it_was_none() {
        let second = SignedDuration::from_secs(1);
        let none = delivery(&[]);
        assert!(!at(&none, &[MailState::Pending], hours(72)).missed);
        let missed = at(&none, &[MailState::Pending], hours(72) + second);
        assert!(missed.missed);
        assert!(at(&missed, &[MailState::Failed], hours(80)).missed);
        assert!(at(&delivery(&[MailState::Sent]), &[MailState::Bounced], hours(80)).missed);
        // Sent in the first hour, and read back only now.
        assert!(!at(&missed, &[MailState::Sent], hours(80)).missed);
        let mut late = delivery(&[MailState::Sent]);
        late.letters[0].since = hours(73);
        assert!(next(late, hours(80)).missed);
        // Told by hand in time, whatever became of the mail.
        let by_hand_at = Some(hours(71));
        let told = Delivery { by_hand_at, ..delivery(&[MailState::Failed]) };
        let told = next(told, hours(80));
        assert!(!told.missed && told.alarms.is_empty());
    }
}
