//! What other jobs left in the provider's trail: the self-check of all audit
//! trails, the isolation probe.

use jiff::{SignedDuration, Timestamp};
use keystone::audit::entry::{Outcome, at_text};
use keystone::tenant::AuditFilter;
use serde_json::json;

use super::{Blind, Finding, Look};
use crate::isolation::PROBE;

/// How long after its time a run may leave its entry, be it that it was begun
/// late or again.
const SLACK: SignedDuration = SignedDuration::from_hours(2);

/// A job that leaves an entry about each run.
struct Watched {
    /// The entry's action.
    action: &'static str,
    /// How often its schedule in template.yaml runs it.
    every: SignedDuration,
    /// What it checks.
    what: &'static str,
    /// A run of it.
    run: &'static str,
    /// What holds if it found nothing.
    clean: &'static str,
}

const SELF_CHECK: Watched = Watched {
    action: "audit_trails.check",
    every: SignedDuration::from_hours(12),
    what: "audit trails were",
    run: "The check of the audit trails",
    clean: "every entry of every audit trail was what its tree, its signed checkpoints and the \
            archive say",
};

/// Which routes it was that showed something, or proved nothing, is in the trail
/// and in the log, and not for whoever looks for a way in.
const ISOLATION_PROBE: Watched = Watched {
    action: PROBE,
    every: SignedDuration::from_hours(6),
    what: "isolation of tenants was",
    run: "The probe of the isolation of tenants",
    clean: "every read route that an admin may use was tried between two tenants, and showed \
            each its own and nothing of the other's",
};

pub(super) async fn self_check(look: &Look<'_>) -> Result<Finding, Blind> {
    SELF_CHECK.look(look).await
}

pub(super) async fn isolation_probe(look: &Look<'_>) -> Result<Finding, Blind> {
    ISOLATION_PROBE.look(look).await
}

impl Watched {
    async fn look(&self, look: &Look<'_>) -> Result<Finding, Blind> {
        let filter = AuditFilter { action: Some(self.action.into()), ..AuditFilter::default() };
        let last = look.provider.newest_audit_entry(&filter).await?;
        let last = last.map(|last| (last.entry.at, last.entry.outcome == Outcome::Success));
        Ok(self.told(last, look.job.now))
    }

    /// What is said at `now` of the last run: when it was, and whether it was clean.
    /// It was seen then and not now, and counts no longer once the next is overdue.
    fn told(&self, last: Option<(Timestamp, bool)>, now: Timestamp) -> Finding {
        let Self { what, run, clean, .. } = self;
        let Some((at, is_clean)) = last else {
            return Finding::unknown(format!("The {what} not checked yet."));
        };
        let when = at_text(at);
        let facts = json!({ "checked_at": when, "clean": is_clean });
        if at + self.every + SLACK < now {
            // That nothing came since is seen now.
            Finding::of(false, format!("The {what} last checked at {when}."), facts)
        } else if is_clean {
            Finding::of(true, format!("At {when} {clean}."), facts).seen_at(at)
        } else {
            let evidence = format!("{run} at {when} did not end without fault.");
            Finding::of(false, evidence, facts).seen_at(at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Verdict;

    #[test]
    fn a_run_was_seen_when_it_was_and_a_missed_one_shows() {
        let now = Timestamp::constant(1_795_000_000, 0);
        let hours_ago = |hours| now - SignedDuration::from_hours(hours);
        for (job, hours) in [(&ISOLATION_PROBE, 8), (&SELF_CHECK, 14)] {
            let at = hours_ago(hours);
            let found = job.told(Some((at, true)), now);
            assert_eq!((found.verdict, found.seen_at), (Verdict::Pass, Some(at)));
            let found = job.told(Some((at, false)), now);
            assert_eq!((found.verdict, found.seen_at), (Verdict::Fail, Some(at)));
            for was_clean in [true, false] {
                let found = job.told(Some((hours_ago(hours + 1), was_clean)), now);
                assert_eq!((found.verdict, found.seen_at), (Verdict::Fail, None));
                assert!(found.evidence.contains("last checked at"), "{}", found.evidence);
            }
            assert_eq!(job.told(None, now).verdict, Verdict::Unknown);
        }
    }
}
