//! Deadlines that the page promises: of notices of breaches, and of reports of
//! vulnerabilities.
//!
//! What counts first is what is due and not done at the moment of the check,
//! whether or not a watcher saw it: one that does not run records no miss. Then
//! what a watcher should have recorded by now and has not, and last what was
//! recorded as missed.

use jiff::{SignedDuration, Timestamp};
use keystone::audit::entry::at_text;
use keystone::mail::{Progress, State as MailState};
use keystone::promises::{BREACH_DEADLINE, BREACH_TARGET, REPORT_REMINDER};
use keystone::tenant::{AuditFilter, Entity, Filter, Id, Part, StoreError, Tenant, schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Blind, Finding, Look};

/// Days for which a missed deadline counts against the claim that there is none.
pub(super) const REMEMBERED_DAYS: i64 = 90;
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24 * REMEMBERED_DAYS);
/// How long after its time a watcher may record something: the slower of the two
/// runs every hour.
const SLACK: SignedDuration = SignedDuration::from_hours(2);
/// Documents that one look takes in.
const MOST: i64 = 10_000;

/// What is wrong with a promise at a moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// Something is over its time and not done.
    overdue: bool,
    /// A watcher should have recorded something by now, and has not.
    unwatched: bool,
}

impl Standing {
    /// What is wrong with either.
    fn and(self, other: Self) -> Self {
        Self {
            overdue: self.overdue || other.overdue,
            unwatched: self.unwatched || other.unwatched,
        }
    }
}

/// A breach of which somebody is still to be told.
#[derive(Debug, Serialize, Deserialize)]
struct OpenBreach {}

impl Entity for OpenBreach {
    const COLLECTION: &'static schema::Collection = &schema::BREACHES;
    const RESOURCE: &'static str = "breach";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Part for OpenBreach {
    type Of = Self;
    const FIELDS: &'static [&'static str] = &["state"];
}

/// How far a tenant was told of a breach, for our clock.
#[derive(Debug, Serialize, Deserialize)]
struct Delivery {
    confirmed_at: Timestamp,
    letters: Vec<Progress>,
    by_hand_at: Option<Timestamp>,
    alarms: Vec<i64>,
}

impl Entity for Delivery {
    const COLLECTION: &'static schema::Collection = &schema::BREACH_DELIVERIES;
    const RESOURCE: &'static str = "breach_delivery";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Part for Delivery {
    type Of = Self;
    const FIELDS: &'static [&'static str] = &["confirmed_at", "letters", "by_hand_at", "alarms"];
}

impl Delivery {
    /// What is wrong at `now`. A notice of which nobody recorded that it left counts
    /// as not delivered: what the watcher did not see, nobody can vouch for.
    fn standing(&self, now: Timestamp) -> Standing {
        let sent = self.letters.first().is_some_and(|notice| notice.state == MailState::Sent);
        if sent || self.by_hand_at.is_some() {
            return Standing::default();
        }
        Standing {
            overdue: now > self.confirmed_at + BREACH_DEADLINE,
            unwatched: self.alarms.is_empty() && now > self.confirmed_at + BREACH_TARGET + SLACK,
        }
    }
}

/// A report of a vulnerability without a plan yet, for its clocks.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    acknowledge_by: Timestamp,
    plan_by: Timestamp,
    acknowledged_at: Option<Timestamp>,
    planned_at: Option<Timestamp>,
    watched: Reminded,
}

/// Of which deadlines the watcher reminded.
#[derive(Debug, Serialize, Deserialize)]
struct Reminded {
    acknowledgement_reminded: bool,
    plan_reminded: bool,
}

impl Entity for Report {
    const COLLECTION: &'static schema::Collection = &schema::VULNERABILITY_REPORTS;
    const RESOURCE: &'static str = "vulnerability_report";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Part for Report {
    type Of = Self;
    const FIELDS: &'static [&'static str] =
        &["acknowledge_by", "plan_by", "acknowledged_at", "planned_at", "watched"];
}

impl Report {
    /// What is wrong at `now`.
    fn standing(&self, now: Timestamp) -> Standing {
        let step = |by: Timestamp, done: Option<Timestamp>, reminded: bool| {
            let waits = done.is_none();
            let due_by = by - REPORT_REMINDER + SLACK;
            Standing {
                overdue: waits && now >= by,
                unwatched: waits && !reminded && (due_by..by).contains(&now),
            }
        };
        let Reminded { acknowledgement_reminded, plan_reminded } = self.watched;
        step(self.acknowledge_by, self.acknowledged_at, acknowledgement_reminded).and(step(
            self.plan_by,
            self.planned_at,
            plan_reminded,
        ))
    }
}

/// Whether every tenant is told of breaches in time.
pub(super) async fn of_breaches(look: &Look<'_>) -> Result<Finding, Blind> {
    let mut standing = Standing::default();
    let open = Filter::all().eq("state", "open");
    for (breach, _) in all::<OpenBreach>(look.provider, open).await? {
        let of_breach = Filter::all().eq("breach_id", breach.to_string());
        for (_, delivery) in all::<Delivery>(look.provider, of_breach).await? {
            standing = standing.and(delivery.standing(look.job.now));
        }
    }
    finding(look, standing, "breach_delivery.miss").await
}

/// Whether every report of a vulnerability is answered in time.
pub(super) async fn of_reports(look: &Look<'_>) -> Result<Finding, Blind> {
    let mut standing = Standing::default();
    let waiting = Filter::all().any("state", vec!["received".into(), "acknowledged".into()]);
    for (_, report) in all::<Report>(look.provider, waiting).await? {
        standing = standing.and(report.standing(look.job.now));
    }
    finding(look, standing, "vulnerability_report.miss").await
}

/// All that fit. One document that was not looked at may be the one that is late.
async fn all<P: Part>(provider: &Tenant, filter: Filter) -> Result<Vec<(Id, P)>, Blind> {
    let found = provider.parts::<P>(filter, MOST).await?;
    if i64::try_from(found.len()).is_ok_and(|count| count < MOST) {
        Ok(found)
    } else {
        Err(Blind::Reason("There is more than one look takes in.".into()))
    }
}

/// What was found, with what a watcher recorded under the action `miss`.
async fn finding(look: &Look<'_>, standing: Standing, miss: &str) -> Result<Finding, Blind> {
    Ok(told(standing, last_miss(look.provider, miss, look.job.now).await?))
}

/// When something was last recorded as missed under the action `miss`; `None` if
/// that counts no longer.
pub(super) async fn last_miss(
    tenant: &Tenant,
    miss: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let filter = AuditFilter {
        action: Some(miss.into()),
        from: Some(now - REMEMBERED),
        ..AuditFilter::default()
    };
    Ok(tenant.newest_audit_entry(&filter).await?.map(|last| last.entry.at))
}

fn told(Standing { overdue, unwatched }: Standing, missed_at: Option<Timestamp>) -> Finding {
    let days = REMEMBERED_DAYS;
    let missed_at = missed_at.map(at_text);
    let mut wrong = Vec::new();
    if overdue {
        wrong.push("Something is over its deadline and not done.".to_owned());
    }
    if unwatched {
        wrong.push("A deadline is near, and its watcher has not recorded it.".to_owned());
    }
    if let Some(when) = &missed_at {
        wrong.push(format!("A deadline was missed in {days} days, lastly at {when}."));
    }
    let holds = wrong.is_empty();
    let evidence = if holds {
        format!("Nothing is over its deadline, and none was missed in {days} days.")
    } else {
        wrong.join(" ")
    };
    let facts = json!({
        "overdue": overdue, "unwatched": unwatched, "last_missed_at": missed_at,
    });
    Finding::of(holds, evidence, facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Verdict;

    fn hours(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    const RIGHT: Standing = Standing { overdue: false, unwatched: false };
    const OVERDUE: Standing = Standing { overdue: true, unwatched: false };
    const UNWATCHED: Standing = Standing { overdue: false, unwatched: true };
    const BOTH: Standing = Standing { overdue: true, unwatched: true };

    #[test]
    fn a_notice_is_overdue_though_no_watcher_says_so() {
        let letter = |state| Progress { state, since: hours(1) };
        let delivery = |letters: &[MailState], alarms: &[i64]| Delivery {
            confirmed_at: hours(0),
            letters: letters.iter().copied().map(letter).collect(),
            by_hand_at: None,
            alarms: alarms.to_vec(),
        };
        for (now, unseen, seen) in [
            (24, RIGHT, RIGHT),
            (26, RIGHT, RIGHT),
            (27, UNWATCHED, RIGHT),
            (72, UNWATCHED, RIGHT),
            (73, BOTH, OVERDUE),
        ] {
            let not_sent: [&[MailState]; 3] = [&[], &[MailState::Pending], &[MailState::Bounced]];
            for letters in not_sent {
                assert_eq!(delivery(letters, &[]).standing(hours(now)), unseen, "{now}");
                assert_eq!(delivery(letters, &[24]).standing(hours(now)), seen, "{now}");
            }
            let sent = delivery(&[MailState::Sent, MailState::Pending], &[]);
            assert_eq!(sent.standing(hours(now)), RIGHT, "{now}");
            let by_hand_at = Some(hours(2));
            let by_hand = Delivery { by_hand_at, ..delivery(&[MailState::Failed], &[]) };
            assert_eq!(by_hand.standing(hours(now)), RIGHT, "{now}");
        }
    }

    #[test]
    fn a_report_is_overdue_though_no_watcher_says_so() {
        let report = |acknowledged_at, reminded| Report {
            acknowledge_by: hours(48),
            plan_by: hours(240),
            acknowledged_at,
            planned_at: None,
            watched: Reminded { acknowledgement_reminded: reminded, plan_reminded: reminded },
        };
        let acknowledged = Some(hours(5));
        for (now, done, reminded, expected) in [
            (25, None, false, RIGHT),
            (26, None, false, UNWATCHED),
            (47, None, true, RIGHT),
            (48, None, false, OVERDUE),
            (48, acknowledged, false, RIGHT),
            (218, acknowledged, false, UNWATCHED),
            (239, acknowledged, true, RIGHT),
            (240, acknowledged, true, OVERDUE),
        ] {
            let found = report(done, reminded).standing(hours(now));
            assert_eq!(found, expected, "{now} {reminded}");
        }
        let planned = Report { planned_at: acknowledged, ..report(acknowledged, false) };
        assert_eq!(planned.standing(hours(300)), RIGHT);
    }

    #[test]
    fn only_what_is_right_now_and_was_lately_passes() {
        assert_eq!(told(RIGHT, None).verdict, Verdict::Pass);
        for (standing, missed_at) in
            [(OVERDUE, None), (UNWATCHED, None), (BOTH, None), (RIGHT, Some(hours(1)))]
        {
            let found = told(standing, missed_at);
            assert_eq!(found.verdict, Verdict::Fail, "{}", found.evidence);
        }
        let all = told(BOTH, Some(hours(1))).evidence;
        for part in ["over its deadline", "its watcher", "lastly at 1970-01-01T01:00:00.000Z"] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }
}
