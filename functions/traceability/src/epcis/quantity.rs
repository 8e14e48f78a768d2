//! Exact quantities with units of UN/ECE Recommendation 20.

use rust_decimal::Decimal;

/// Most digits before and after the point: what a sum of a million such
/// numbers can still hold exactly.
const WHOLE: i64 = 12;
const FRACTION: i64 = 9;

/// What is measured. Amounts convert within a dimension only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// In kilograms.
    Mass,
    /// In litres.
    Volume,
    /// In pieces.
    Count,
}

impl Dimension {
    /// The unit in which amounts of it are added.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Mass => "KGM",
            Self::Volume => "LTR",
            Self::Count => "H87",
        }
    }
}

/// Dimension of a unit and how many of [`Dimension::unit`] it is: mantissa and
/// decimal places. `None` for a unit that is not known here.
fn scale(unit: &str) -> Option<(Dimension, i64, u32)> {
    Some(match unit {
        "KGM" => (Dimension::Mass, 1, 0),
        "GRM" => (Dimension::Mass, 1, 3),
        "MGM" => (Dimension::Mass, 1, 6),
        "TNE" => (Dimension::Mass, 1000, 0),
        // The international pound and ounce, exact by definition.
        "LBR" => (Dimension::Mass, 45_359_237, 8),
        "ONZ" => (Dimension::Mass, 28_349_523_125, 12),
        "LTR" | "DMQ" => (Dimension::Volume, 1, 0),
        "MLT" | "CMQ" => (Dimension::Volume, 1, 3),
        "CLT" => (Dimension::Volume, 1, 2),
        "DLT" => (Dimension::Volume, 1, 1),
        "HLT" => (Dimension::Volume, 100, 0),
        "MTQ" => (Dimension::Volume, 1000, 0),
        "H87" | "EA" | "C62" | "PCE" => (Dimension::Count, 1, 0),
        "DZN" => (Dimension::Count, 12, 0),
        _ => return None,
    })
}

/// An amount in the unit of its dimension, exactly; `None` for a unit that is
/// not known here.
pub fn to_base(value: Decimal, unit: &str) -> Option<(Dimension, Decimal)> {
    let (dimension, mantissa, places) = scale(unit)?;
    Some((dimension, value.checked_mul(Decimal::new(mantissa, places))?.normalize()))
}

/// Reads a JSON number as an amount: not negative, at most 12 digits before
/// and 9 after the point, however it is written.
pub fn amount(number: &str) -> Option<Decimal> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    if mantissa.len() > 40 || mantissa.starts_with('-') && mantissa.bytes().any(|b| b > b'0') {
        return None;
    }
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return Some(Decimal::ZERO);
    }
    // The value is `digits` times ten to the power of `power`.
    let power =
        i64::from(exponent) - i64::try_from(fraction.len()).ok()? + i64::try_from(trailing).ok()?;
    let length = i64::try_from(digits.len()).ok()?;
    if length + power > WHOLE || power < -FRACTION {
        return None;
    }
    let places = u32::try_from((-power).max(0)).ok()?;
    let zeros = usize::try_from(power.max(0)).ok()?;
    let number: i128 = format!("{digits}{}", "0".repeat(zeros)).parse().ok()?;
    Decimal::try_from_i128_with_scale(number, places).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_a_thousand_times_is_a_hundred() {
        let tenth = amount("0.1").unwrap();
        assert_eq!(std::iter::repeat_n(tenth, 1000).sum::<Decimal>(), Decimal::from(100));
    }

    #[test]
    fn one_number_has_many_spellings() {
        for (text, value) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0e5", "0"),
            ("1e2", "100"),
            ("100.00", "100"),
            ("0.001E3", "1"),
            ("999999999999.999999999", "999999999999.999999999"),
            ("1e-9", "0.000000001"),
            ("0.10000000000000000000", "0.1"),
        ] {
            assert_eq!(amount(text), Some(value.parse().unwrap()), "{text}");
        }
        for text in ["-1", "-0.1", "1e400", "1e-10", "1e12", "0.0000000001", "1e99999999999"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn units_convert_within_a_dimension() {
        let base = |value: &str, unit| to_base(value.parse().unwrap(), unit).unwrap();
        assert_eq!(base("250", "GRM"), base("0.25", "KGM"));
        assert_eq!(base("1.5", "TNE"), base("1500", "KGM"));
        assert_eq!(base("10", "HLT"), base("1000", "LTR"));
        assert_eq!(base("16", "ONZ"), base("1", "LBR"));
        assert_ne!(base("1", "KGM").0, base("1", "LTR").0);
        assert_eq!(to_base(Decimal::ONE, "XYZ"), None);
    }
}
