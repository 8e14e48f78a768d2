//! Days and periods as the law counts them (Regulation (EEC, Euratom) No
//! 1182/71), by the days of Ireland, where the provider is.

use jiff::civil::Date;
use jiff::tz::{self, TimeZone};
use jiff::{Timestamp, ToSpan};

/// Where days begin and end. Part of the program: a function's environment
/// need not know time zones.
const IRELAND: TimeZone = tz::get!("Europe/Dublin");

/// The day that it is at `now`.
pub fn day_of(now: Timestamp) -> Date {
    IRELAND.to_datetime(now).date()
}

/// The moment at which `day` is over: a period ends with the last hour of its
/// last day (Art. 3(2)).
///
/// # Errors
/// For the last day of the year 9999, which no moment follows.
pub fn end_of(day: Date) -> Result<Timestamp, jiff::Error> {
    // Clocks change at night, and midnight itself is there on every day.
    IRELAND.to_timestamp(day.tomorrow()?.at(0, 0, 0, 0))
}

/// The last day of a period of so many months that runs from an event on
/// `day`, which itself is not counted (Art. 3(1)): the same date of the last
/// month, or that month's last day where it has no such date (Art. 3(2)(c)).
pub fn months_after(day: Date, months: u16) -> Date {
    day.saturating_add(i64::from(months).months())
}

/// The day so many days after `day`, or before it.
pub fn days_after(day: Date, days: i32) -> Date {
    day.saturating_add(i64::from(days).days())
}

/// Days from `from` to `to`; negative when `to` is earlier.
pub fn days_between(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_ends_on_the_same_date_or_on_the_last_day() {
        for (received, months, due) in [
            (date(2026, 3, 5), 1, date(2026, 4, 5)),
            // Month ends.
            (date(2026, 1, 31), 1, date(2026, 2, 28)),
            (date(2026, 1, 29), 1, date(2026, 2, 28)),
            (date(2026, 3, 31), 1, date(2026, 4, 30)),
            (date(2026, 8, 31), 1, date(2026, 9, 30)),
            (date(2026, 2, 28), 1, date(2026, 3, 28)),
            // Leap days.
            (date(2028, 1, 31), 1, date(2028, 2, 29)),
            (date(2028, 1, 30), 1, date(2028, 2, 29)),
            (date(2028, 2, 29), 1, date(2028, 3, 29)),
            (date(2027, 11, 30), 3, date(2028, 2, 29)),
            (date(2100, 1, 31), 1, date(2100, 2, 28)),
            // Year ends; three months are counted from the receipt, not from
            // the end of the first.
            (date(2026, 12, 31), 1, date(2027, 1, 31)),
            (date(2026, 12, 15), 1, date(2027, 1, 15)),
            (date(2026, 1, 31), 3, date(2026, 4, 30)),
            (date(2026, 11, 30), 3, date(2027, 2, 28)),
        ] {
            assert_eq!(months_after(received, months), due, "{received} + {months}");
        }
    }

    #[test]
    fn days_are_those_of_ireland() {
        for (now, day) in [
            // Winter: Greenwich.
            ("2026-01-31T23:59:59.999Z", date(2026, 1, 31)),
            ("2026-02-01T00:00:00Z", date(2026, 2, 1)),
            // Summer: one hour ahead.
            ("2026-07-31T22:59:59.999Z", date(2026, 7, 31)),
            ("2026-07-31T23:00:00Z", date(2026, 8, 1)),
            // The nights in which clocks change, 29 March and 25 October.
            ("2026-03-28T23:59:59Z", date(2026, 3, 28)),
            ("2026-03-29T22:59:59Z", date(2026, 3, 29)),
            ("2026-03-29T23:00:00Z", date(2026, 3, 30)),
            ("2026-10-24T23:00:00Z", date(2026, 10, 25)),
            ("2026-10-25T23:59:59Z", date(2026, 10, 25)),
            ("2026-10-26T00:00:00Z", date(2026, 10, 26)),
            ("2026-12-31T23:59:59Z", date(2026, 12, 31)),
        ] {
            assert_eq!(day_of(at(now)), day, "{now}");
        }
    }

    #[test]
    fn a_day_ends_when_the_next_begins() {
        for (day, end) in [
            (date(2026, 2, 28), "2026-03-01T00:00:00Z"),
            (date(2026, 3, 28), "2026-03-29T00:00:00Z"),
            // 23 hours, and 25.
            (date(2026, 3, 29), "2026-03-29T23:00:00Z"),
            (date(2026, 10, 24), "2026-10-24T23:00:00Z"),
            (date(2026, 10, 25), "2026-10-26T00:00:00Z"),
            (date(2026, 12, 31), "2027-01-01T00:00:00Z"),
            (date(2028, 2, 29), "2028-03-01T00:00:00Z"),
        ] {
            let end = at(end);
            assert_eq!(end_of(day).unwrap(), end, "{day}");
            let before = end - jiff::SignedDuration::from_nanos(1);
            assert_eq!((day_of(before), day_of(end)), (day, day.tomorrow().unwrap()), "{day}");
        }
        assert!(end_of(Date::MAX).is_err());
    }

    #[test]
    fn days_are_counted_over_changes_of_the_clock() {
        for (from, to, days) in [
            (date(2026, 3, 28), date(2026, 3, 30), 2),
            (date(2026, 10, 24), date(2026, 10, 26), 2),
            (date(2028, 2, 28), date(2028, 3, 1), 2),
            (date(2026, 12, 31), date(2027, 1, 1), 1),
            (date(2026, 5, 2), date(2026, 5, 2), 0),
            (date(2026, 5, 2), date(2026, 4, 30), -2),
        ] {
            assert_eq!(days_between(from, to), days, "{from} to {to}");
            assert_eq!(days_after(from, i32::try_from(days).unwrap()), to, "{from} to {to}");
        }
    }
}
