//! Business days in Ireland: Monday to Friday but for public holidays
//! (Organisation of Working Time Act 1997, second schedule, as amended).
//!
//! A holiday on a weekend moves no day: the Act gives workers another day, and
//! which one is their employer's choice.

use jiff::ToSpan;
use jiff::civil::{Date, Weekday, date};

/// The `n`th business day after `day`.
pub fn after(day: Date, n: u32) -> Date {
    let (mut day, mut left) = (day, n);
    while left > 0 {
        day = day.saturating_add(1.day());
        left -= u32::from(is_business_day(day));
    }
    day
}

/// Whether people work on `day`.
pub fn is_business_day(day: Date) -> bool {
    let weekend = matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
    !weekend && !is_public_holiday(day)
}

fn is_public_holiday(day: Date) -> bool {
    match (day.month(), day.day()) {
        // New Year, St Patrick, Christmas, St Stephen; St Brigid on a Friday.
        (1, 1) | (3, 17) | (12, 25 | 26) => true,
        (2, 1) if day.weekday() == Weekday::Friday => true,
        // The first Monday of February (unless 1 February is that Friday), May,
        // June and August.
        (2, 1..=7) => {
            let friday = date(day.year(), 2, 1).weekday() == Weekday::Friday;
            day.weekday() == Weekday::Monday && !friday
        }
        (5 | 6 | 8, 1..=7) => day.weekday() == Weekday::Monday,
        // The last Monday of October.
        (10, 25..=31) => day.weekday() == Weekday::Monday,
        _ => day == easter(day.year()).saturating_add(1.day()),
    }
}

/// Easter Sunday of the Gregorian calendar (Meeus, Astronomical Algorithms,
/// chapter 8).
fn easter(year: i16) -> Date {
    let y = i32::from(year);
    let (a, b, c) = (y % 19, y / 100, y % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 19 * l) / 433;
    let month = (h + l - 7 * m + 90) / 25;
    let day = (h + l - 7 * m + 33 * month + 19) % 32;
    date(year, i8::try_from(month).unwrap_or(3), i8::try_from(day).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn easter_is_where_the_calendar_has_it() {
        for (year, month, day) in
            [(2023, 4, 9), (2024, 3, 31), (2025, 4, 20), (2026, 4, 5), (2027, 3, 28), (2030, 4, 21)]
        {
            assert_eq!(easter(year), date(year, month, day));
        }
    }

    #[test]
    fn public_holidays_are_no_business_days() {
        for holiday in [
            "2026-01-01",
            "2026-02-02",
            "2026-03-17",
            "2026-04-06",
            "2026-05-04",
            "2026-06-01",
            "2026-08-03",
            "2026-10-26",
            "2026-12-25",
            "2030-02-01",
        ] {
            assert!(!is_business_day(holiday.parse().unwrap()), "{holiday}");
        }
        // 1 February 2030 is a Friday, so the Monday after is none.
        assert!(is_business_day(date(2030, 2, 4)));
        assert!(is_business_day(date(2026, 4, 7)));
    }

    #[test]
    fn weekends_and_holidays_do_not_count() {
        // Thursday before the October holiday weekend.
        assert_eq!(after(date(2026, 10, 22), 3), date(2026, 10, 28));
        // Christmas Eve, a Thursday.
        assert_eq!(after(date(2026, 12, 24), 2), date(2026, 12, 29));
        assert_eq!(after(date(2026, 6, 3), 0), date(2026, 6, 3));
    }
}
