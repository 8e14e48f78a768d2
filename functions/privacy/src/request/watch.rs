//! The watch over deadlines: what is to be sent of a request on a day, once
//! each, and what was.

use jiff::Timestamp;
use jiff::civil::Date;
use keystone::calendar;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SubjectRequest;

/// Days before the end on which the first reminder is due.
pub const FIRST_REMINDER: i32 = 7;
/// Days before the end on which the second reminder is due.
const SECOND_REMINDER: i32 = 2;

/// What the watch did, each at most once for a deadline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SubjectRequestWatch")]
pub struct Watch {
    /// When the tenant's contact was reminded, seven days before the end.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub first_reminder_at: Option<Timestamp>,
    /// The same, two days before.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub second_reminder_at: Option<Timestamp>,
    /// When it was recorded that the time passed without an answer.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub missed_at: Option<Timestamp>,
}

/// What is to be done about a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Remind the tenant's contact for the first time.
    FirstReminder,
    /// Remind them again.
    SecondReminder,
    /// Record that the time passed, and tell them.
    Miss,
}

impl Step {
    /// What the audit trail calls it.
    pub const fn action(self) -> &'static str {
        match self {
            Self::FirstReminder | Self::SecondReminder => "data_subject_request.remind",
            Self::Miss => "data_subject_request.miss",
        }
    }
}

impl SubjectRequest {
    /// What is to be done on `today`, if anything. Of two reminders that were
    /// not sent in their time only the later is.
    pub fn step(&self, today: Date) -> Option<Step> {
        if self.state.is_closed() || today < calendar::days_after(self.due_on, -FIRST_REMINDER) {
            return None;
        }
        let watch = &self.watch;
        if today > self.due_on {
            watch.missed_at.is_none().then_some(Step::Miss)
        } else if today >= calendar::days_after(self.due_on, -SECOND_REMINDER) {
            watch.second_reminder_at.is_none().then_some(Step::SecondReminder)
        } else {
            watch.first_reminder_at.is_none().then_some(Step::FirstReminder)
        }
    }

    /// The request after that was done at `now`.
    #[must_use]
    pub fn stepped(&self, step: Step, now: Timestamp) -> Self {
        let mut after = self.clone();
        let done = match step {
            Step::FirstReminder => &mut after.watch.first_reminder_at,
            Step::SecondReminder => &mut after.watch.second_reminder_at,
            Step::Miss => &mut after.watch.missed_at,
        };
        *done = Some(now);
        after
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::tests::request;
    use super::super::{Kind, State};
    use super::*;

    #[test]
    fn every_day_has_its_step_and_each_is_done_once() {
        let mut asked = request(Kind::Access, State::Open);
        assert_eq!(asked.due_on, date(2026, 2, 28));
        for (today, step) in [
            (date(2026, 1, 31), None),
            (date(2026, 2, 20), None),
            (date(2026, 2, 21), Some(Step::FirstReminder)),
            (date(2026, 2, 22), None),
            (date(2026, 2, 25), None),
            (date(2026, 2, 26), Some(Step::SecondReminder)),
            (date(2026, 2, 27), None),
            (date(2026, 2, 28), None),
            (date(2026, 3, 1), Some(Step::Miss)),
            (date(2026, 3, 2), None),
        ] {
            let found = asked.step(today);
            assert_eq!(found, step, "{today}");
            if let Some(step) = found {
                asked = asked.stepped(step, Timestamp::UNIX_EPOCH);
            }
        }
    }

    #[test]
    fn a_run_that_comes_late_does_what_is_still_of_use() {
        let asked = request(Kind::Erasure, State::IdentityCheck);
        assert_eq!(asked.step(date(2026, 2, 25)), Some(Step::FirstReminder));
        assert_eq!(asked.step(date(2026, 2, 28)), Some(Step::SecondReminder));
        let reminded = asked.stepped(Step::SecondReminder, Timestamp::UNIX_EPOCH);
        assert_eq!(reminded.step(date(2026, 2, 28)), None);
        assert_eq!(asked.step(date(2027, 1, 1)), Some(Step::Miss));
        for state in [State::Fulfilled, State::Refused] {
            assert_eq!(request(Kind::Access, state).step(date(2027, 1, 1)), None);
        }
    }
}
