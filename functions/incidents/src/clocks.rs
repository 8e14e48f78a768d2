//! The two clocks of a breach, for each affected tenant. Ours: a processor
//! notifies without undue delay (Art. 33(2) GDPR); we promise 72 hours from
//! confirmation and aim at 24. Theirs: a controller has 72 hours from when it
//! becomes aware (Art. 33(1)), which our notice makes it.

use jiff::{SignedDuration, Timestamp};
use keystone::promises;
use schemars::JsonSchema;
use serde::Serialize;

/// Within this time of confirmation a tenant should be notified.
pub const TARGET: SignedDuration = promises::BREACH_TARGET;
/// Within this time of confirmation a tenant must be notified.
pub const HARD_STOP: SignedDuration = promises::BREACH_DEADLINE;
/// What Art. 33(1) gives the controller.
pub const CONTROLLER: SignedDuration = SignedDuration::from_hours(72);
/// Hours after confirmation at which an alarm is raised while a tenant is not
/// notified.
pub const ALARMS: [i64; 3] = [24, 48, 60];

/// Where our clock stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OurState {
    /// It runs, within the target.
    Running,
    /// It runs, and the target is over.
    Late,
    /// Notified within the target.
    WithinTarget,
    /// Notified after the target, within 72 hours.
    WithinDeadline,
    /// Not notified within 72 hours.
    Missed,
}

/// Our clock: from confirmation to the delivery of our notice by mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OurClock {
    /// When the breach was confirmed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// When our target of 24 hours is over.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub target: Timestamp,
    /// When the 72 hours are over.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub deadline: Timestamp,
    /// When our notice was delivered.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub delivered_at: Option<Timestamp>,
    /// Where it stands.
    pub state: OurState,
}

/// The controller's clock: from the delivery of our notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct YourClock {
    /// When our notice was delivered; absent while it is not.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When the 72 hours of Art. 33(1) are over; absent while the clock does
    /// not run.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub deadline: Option<Timestamp>,
    /// Whether that is past.
    pub over: bool,
}

/// Both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Clocks {
    /// Ours, as processor.
    pub ours: OurClock,
    /// Yours, as controller.
    pub yours: YourClock,
}

impl Clocks {
    /// The clocks at `now` of a breach that was confirmed and of which the
    /// tenant was notified then.
    pub fn new(confirmed_at: Timestamp, delivered_at: Option<Timestamp>, now: Timestamp) -> Self {
        let (target, deadline) = (confirmed_at + TARGET, confirmed_at + HARD_STOP);
        let state = match delivered_at {
            Some(at) if at <= target => OurState::WithinTarget,
            Some(at) if at <= deadline => OurState::WithinDeadline,
            None if now <= target => OurState::Running,
            None if now <= deadline => OurState::Late,
            _ => OurState::Missed,
        };
        let theirs = delivered_at.map(|at| at + CONTROLLER);
        Self {
            ours: OurClock { started_at: confirmed_at, target, deadline, delivered_at, state },
            yours: YourClock {
                started_at: delivered_at,
                deadline: theirs,
                over: theirs.is_some_and(|deadline| now > deadline),
            },
        }
    }

    /// Whether our 72 hours were missed.
    pub fn missed(&self) -> bool {
        self.ours.state == OurState::Missed
    }
}

/// The hours of [`ALARMS`] that have passed since `confirmed_at`.
pub fn alarms_due(confirmed_at: Timestamp, now: Timestamp) -> Vec<i64> {
    let passed = |hours: &i64| confirmed_at + SignedDuration::from_hours(*hours) <= now;
    ALARMS.into_iter().filter(passed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    #[test]
    fn our_clock_runs_from_confirmation_to_delivery() {
        let second = SignedDuration::from_secs(1);
        let state = |delivered: Option<Timestamp>, now: Timestamp| {
            Clocks::new(Timestamp::UNIX_EPOCH, delivered, now).ours.state
        };
        for (delivered, now, expected) in [
            (None, hours(24), OurState::Running),
            (None, hours(24) + second, OurState::Late),
            (None, hours(72), OurState::Late),
            (None, hours(72) + second, OurState::Missed),
            (Some(hours(24)), hours(90), OurState::WithinTarget),
            (Some(hours(24) + second), hours(90), OurState::WithinDeadline),
            (Some(hours(72)), hours(90), OurState::WithinDeadline),
            (Some(hours(72) + second), hours(90), OurState::Missed),
        ] {
            assert_eq!(state(delivered, now), expected, "{delivered:?} {now}");
        }
    }

    #[test]
    fn theirs_runs_from_delivery() {
        let at = |delivered, now| Clocks::new(Timestamp::UNIX_EPOCH, delivered, now).yours;
        assert_eq!(
            at(None, hours(90)),
            YourClock { started_at: None, deadline: None, over: false }
        );
        let told = at(Some(hours(10)), hours(82));
        assert_eq!((told.deadline, told.over), (Some(hours(82)), false));
        assert!(at(Some(hours(10)), hours(83)).over);
    }

    #[test]
    fn alarms_are_due_one_after_another() {
        let due = |now| alarms_due(Timestamp::UNIX_EPOCH, now);
        assert_eq!(due(hours(23)), Vec::<i64>::new());
        assert_eq!(due(hours(24)), [24]);
        assert_eq!(due(hours(59)), [24, 48]);
        assert_eq!(due(hours(100)), [24, 48, 60]);
    }
}
