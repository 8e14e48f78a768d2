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
        // The last Monday of October beside them.
        (5 | 6 | 8, 1..=7) | (10, 25..=31) => day.weekday() == Weekday::Monday,
        _ => day == easter(day.year()).saturating_add(1.day()),
    }
}

/// Easter Sunday of the Gregorian calendar (Meeus, Astronomical Algorithms,
/// chapter 8).
#[expect(clippy::many_single_char_names, reason = "the book's names")]
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
        for (year, month, day) in [
            (2023, 4, 9),
            (2024, 3, 31),
            (2025, 4, 20),
            (2027, 3, 28),
            (2030, 4, 21),
            (2038, 4, 25),
        ] {
            assert_eq!(easter(year), date(year, month, day));
        }
    }

    /// The holidays of a year that move, as calendars have them: St
    /// Brigid, Easter Monday, May, June, August, October.
    const MOVING: [(i16, &str); 8] = [
        (2023, "02-06 04-10 05-01 06-05 08-07 10-30"),
        (2024, "02-05 04-01 05-06 06-03 08-05 10-28"),
        (2025, "02-03 04-21 05-05 06-02 08-04 10-27"),
        (2026, "02-02 04-06 05-04 06-01 08-03 10-26"),
        (2027, "02-01 03-29 05-03 06-07 08-02 10-25"),
        (2028, "02-07 04-17 05-01 06-05 08-07 10-30"),
        (2029, "02-05 04-02 05-07 06-04 08-06 10-29"),
        (2030, "02-01 04-22 05-06 06-03 08-05 10-28"),
    ];

    #[test]
    fn no_weekday_but_the_public_holidays_is_free() {
        for (year, moving) in MOVING {
            let fixed = ["01-01", "03-17", "12-25", "12-26"];
            let holidays: Vec<Date> = moving
                .split(' ')
                .chain(fixed)
                .map(|day| format!("{year}-{day}").parse().unwrap())
                .collect();
            let mut day = date(year, 1, 1);
            while day.year() == year {
                let weekday = !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
                assert_eq!(is_business_day(day), weekday && !holidays.contains(&day), "{day}");
                day = day.saturating_add(1.day());
            }
        }
    }

    #[test]
    fn st_brigids_day_is_the_first_of_february_when_that_is_a_friday() {
        assert!(!is_business_day(date(2030, 2, 1)));
        assert!(is_business_day(date(2030, 2, 4)));
    }

    #[test]
    fn a_holiday_on_a_weekend_frees_no_weekday() {
        // New Year 2028, a Saturday; St Patrick's Day 2030, a Sunday.
        assert!(is_business_day(date(2028, 1, 3)));
        assert!(is_business_day(date(2030, 3, 18)));
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
