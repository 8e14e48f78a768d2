//! When something can have happened.

use jiff::{SignedDuration, Timestamp};

/// Seconds from 1970 to 2000: food that moved earlier is in no one's books any
/// more, while GS1's own examples go back to 2005.
const EARLIEST: i64 = 946_684_800;
/// How far the clock of who records it may be ahead of ours.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// What is wrong with a moment at which something is said to have happened:
/// nothing happened before the year 2000, or in the future.
pub fn wrong(at: Timestamp, now: Timestamp) -> Option<&'static str> {
    if at.as_second() < EARLIEST {
        return Some("Must not be before 2000-01-01T00:00:00Z.");
    }
    (at > now + AHEAD).then_some("Must not be more than 24 hours in the future.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_neither_ancient_nor_to_come() {
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let now = at("2026-03-01T08:00:00Z");
        for (moment, fits) in [
            ("1999-12-31T23:59:59Z", false),
            ("2000-01-01T00:00:00Z", true),
            ("2026-03-02T08:00:00Z", true),
            ("2026-03-02T08:00:01Z", false),
            ("9999-12-30T00:00:00Z", false),
            ("-000001-01-01T00:00:00Z", false),
        ] {
            assert_eq!(wrong(at(moment), now).is_none(), fits, "{moment}");
        }
    }
}
