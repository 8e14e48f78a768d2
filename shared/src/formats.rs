//! The trade's number formats, checked with their check digits. Request
//! schemas name them in `format`, so that the API document shows them too.

use jiff::Timestamp;
use jsonschema::ValidationOptions;

use crate::auth::user::canonical_email;

/// 0001-01-01T00:00:00Z.
const FIRST_MOMENT: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// Teaches a validator the formats of this module.
pub(crate) fn register(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    options
        .with_format("gtin", is_gtin)
        .with_format("gln", is_gln)
        .with_format("iban", is_iban)
        .with_format("bic", is_bic)
        .with_format("e164", is_e164)
        .with_format("phone", |text: &str| e164_of(text).is_some())
        .with_format("iban-as-printed", |text: &str| iban_of(text).is_some())
        .with_format("country", is_country)
        // Its type's own limits, so that what a schema accepts can be read.
        .with_format("date-time", |text: &str| moment_of(text).is_some())
        .with_format("date", is_date)
        .with_format("decimal", is_decimal)
        .with_format("lot", is_lot)
        .with_format("ip", |text: &str| text.parse::<std::net::IpAddr>().is_ok())
        .with_format("email", is_email)
        .with_format("person", is_person)
        .with_format("tenant", |text: &str| crate::tenant::TenantId::parse(text).is_some())
}

/// What a value of a format is, to complete "Must be …".
pub(crate) fn in_words(format: &str) -> &str {
    match format {
        "gtin" => "a GTIN of 8, 12, 13 or 14 digits with a right check digit",
        "gln" => "a GLN of 13 digits with a right check digit",
        "iban" => "an IBAN with right check digits",
        "bic" => "a BIC of 8 or 11 characters",
        "iban-as-printed" => "an IBAN with right check digits; blanks and case do not count",
        "phone" => {
            "a telephone number in international form, such as +353 86 123 4567; leave out a 0 in \
             brackets, (0)"
        }
        "e164" => {
            "a telephone number in international form, such as +353861234567, without a 0 in \
             brackets, (0)"
        }
        "country" => "a two-letter country code of ISO 3166-1",
        "decimal" => "a decimal number of at most 12 digits before and 6 after the point, as text",
        "lot" => "a lot number of 1 to 20 characters that GS1 allows: letters, digits, punctuation",
        "ip" => "an IPv4 or IPv6 address",
        "tenant" => "a tenant's short name, such as acme-dairy",
        "email" => "an e-mail address",
        "person" => "a person's name, without a web address",
        "date" => "a date such as 2027-01-31",
        "date-time" => "a moment such as 2027-01-31T12:00:00Z",
        "uuid" => "an id, 36 characters with hyphens",
        other => other,
    }
}

/// An e-mail address that people have: `dot-atom@domain` (RFC 5322 §3.4.1) in
/// any script (RFC 6532), in the lengths of RFC 5321 §4.5.3.1. Not the forms of
/// the standard that only machines use: a quoted local part, an address literal
/// or a domain without a dot.
/// What it is kept as ([`canonical_email`]) must be one as well: compatibility
/// forms hide characters that no address has, as `⑴` hides brackets.
pub fn is_email(text: &str) -> bool {
    let canonical = canonical_email(text);
    let lasting = canonical_email(&canonical) == canonical;
    has_form_of_email(text) && has_form_of_email(&canonical) && lasting
}

fn has_form_of_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_atom = |part: &str| {
        let fits = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        !part.is_empty() && part.chars().all(fits)
    };
    let is_label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    local.len() <= 64
        && text.len() <= 254
        && local.split('.').all(is_atom)
        && domain.contains('.')
        && domain.split('.').all(is_label)
}

/// A person's name. It stands in mails to strangers, whose programs make links
/// of what looks like one.
pub fn is_person(text: &str) -> bool {
    let text = text.to_lowercase();
    !["://", "www.", "@"].iter().any(|part| text.contains(part))
}

/// The check digit that follows `digits` (GS1 General Specifications §7.9):
/// weights 3 and 1 from the right, what is missing to a multiple of ten.
/// Anything but ASCII digits counts for nothing sensible; the caller checks.
pub fn check_digit(digits: &str) -> u32 {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, digit)| u32::from(digit.wrapping_sub(b'0')) * if at % 2 == 0 { 3 } else { 1 })
        .sum();
    (10 - sum % 10) % 10
}

fn check_digit_fits(digits: &str) -> bool {
    digits
        .split_at_checked(digits.len().saturating_sub(1))
        .is_some_and(|(digits, check)| check_digit(digits).to_string() == check)
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// A Global Trade Item Number: GTIN-8, -12, -13 or -14.
pub fn is_gtin(text: &str) -> bool {
    matches!(text.len(), 8 | 12 | 13 | 14) && all_digits(text) && check_digit_fits(text)
}

/// A Global Location Number.
pub fn is_gln(text: &str) -> bool {
    text.len() == 13 && all_digits(text) && check_digit_fits(text)
}

/// An International Bank Account Number (ISO 13616), in electronic form
/// without blanks.
pub fn is_iban(text: &str) -> bool {
    !text.contains(' ') && text.parse::<iban::Iban>().is_ok()
}

/// A Business Identifier Code (ISO 9362): four letters or digits, a country,
/// two letters or digits, and three more for a branch.
pub fn is_bic(text: &str) -> bool {
    matches!(text.len(), 8 | 11)
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && text.get(4..6).is_some_and(is_country)
}

/// A batch or lot number (GS1 General Specifications §3.4.1, AI 10): 1 to 20
/// characters of character set 82 (§7.11).
pub fn is_lot(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!\"%&'()*+,-./_:;<=>?".contains(&b))
}

/// A day of the calendar in the form of RFC 3339: `2027-01-31`.
pub fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// A telephone number in the form of ITU-T E.164: `+`, up to 15 digits.
pub fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (7..=15).contains(&digits.len()) && all_digits(digits) && !digits.starts_with('0')
    })
}

/// The E.164 form of a telephone number that somebody wrote in international
/// form: with `+` or `00`, and blanks, hyphens, dots or brackets between the
/// digits. A blank at the start is a `+` that a URL did not escape. `None` for
/// anything else, `+353 (0)86 …` among it: the 0 in brackets is dialled within the
/// country only and is no digit of the number.
pub fn e164_of(text: &str) -> Option<String> {
    let national = text.strip_prefix(['+', ' ']).or_else(|| text.strip_prefix("00"))?;
    let digits: String = national.chars().filter(|c| !" -.".contains(*c)).collect();
    if digits.contains("(0)") {
        return None;
    }
    let number = format!("+{}", digits.replace(['(', ')'], ""));
    is_e164(&number).then_some(number)
}

/// The electronic form of an IBAN as it is printed, in blocks and any case;
/// `None` for anything else.
pub fn iban_of(text: &str) -> Option<String> {
    let iban = text.replace(' ', "").to_ascii_uppercase();
    is_iban(&iban).then_some(iban)
}

/// A moment (RFC 3339 §5.6) that every store can keep: from year 1 on, which
/// is where the calendars of some begin.
pub fn moment_of(text: &str) -> Option<Timestamp> {
    let moment: Timestamp = text.parse().ok()?;
    (moment >= FIRST_MOMENT).then_some(moment)
}

/// A positive or zero decimal, without sign or exponent: at most 12 digits,
/// and at most 6 after the point.
pub fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    (1..=12).contains(&whole.len())
        && (1..=6).contains(&fraction.len())
        && all_digits(whole)
        && all_digits(fraction)
}

/// An ISO 3166-1 alpha-2 code, as assigned on 1 January 2026, and `XI` for
/// Northern Ireland, which trade documents use.
pub fn is_country(text: &str) -> bool {
    const ASSIGNED: &str = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH \
        BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW \
        CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI \
        GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO \
        JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH \
        MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA \
        PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL \
        SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US \
        UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW XI";
    text.len() == 2 && ASSIGNED.split(' ').any(|code| code == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gs1_numbers() {
        // Examples of the GS1 General Specifications and the check digit calculator.
        for good in ["4006381333931", "73513537", "614141007349", "10614141000415"] {
            assert!(is_gtin(good), "{good}");
        }
        for bad in ["4006381333932", "400638133393", "", "40063813339a1", "٤٠٠٦٣٨١٣٣٣٩٣١"]
        {
            assert!(!is_gtin(bad), "{bad}");
        }
        assert!(is_gln("0614141000005") && !is_gln("0614141000006"));
    }

    #[test]
    fn numbers_as_people_write_them() {
        for text in ["+353861234567", " 353 86 123-4567", "00353 (86) 123.4567"] {
            assert_eq!(e164_of(text).as_deref(), Some("+353861234567"), "{text}");
        }
        for text in ["0851234503", "353861234567", "!!!!", "", "+", "++353861234567", "+353x86"] {
            assert_eq!(e164_of(text), None, "{text}");
        }
        for text in ["+353 (0)21 456 0101", "00353(0)214560101", "+353 ( 0 ) 21 456 0101"] {
            assert_eq!(e164_of(text), None, "{text}");
            assert!(!is_e164(text), "{text}");
        }
        // An Italian 0 is a digit of the number.
        assert_eq!(e164_of("+39 (06) 698 12345").as_deref(), Some("+390669812345"));
        let iban = "IE29AIBK93115212345678";
        assert_eq!(iban_of("ie29 aibk 9311 5212 3456 78").as_deref(), Some(iban));
        assert_eq!(iban_of("IE29AIBK93115212345679"), None);
    }

    #[test]
    fn moments_begin_with_year_1() {
        assert_eq!(moment_of("0001-01-01T00:00:00Z"), Some(FIRST_MOMENT));
        for bad in
            ["0000-12-31T23:59:59.999Z", "0001-01-01T00:59:59+01:00", "-000001-01-01T00:00:00Z"]
        {
            assert_eq!(moment_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_of_people() {
        for good in ["a@b.example", "o'neill+lot@sub.dairy.example", "müller@käserei.example"] {
            assert!(is_email(good), "{good}");
        }
        for bad in [
            "nobody",
            "a@b",
            "@b.example",
            "a@",
            "\"a b\"@b.example",
            "a@[127.0.0.1]",
            "a..b@b.example",
            "a b@b.example",
            "a@-b.example",
            "a@b..example",
            "a@b@c.example",
            // Brackets, a comma, blanks, once they are in the form that is kept.
            "victim\u{2474}@b.example",
            "a\u{1f101}b@b.example",
            "\u{fdfa}@b.example",
            "\u{fe70}a@b.example",
        ] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn names_of_people() {
        for good in ["Aoife Byrne", "Ó Súilleabháin, Seán (QA)", "Dr. B. von Www"] {
            assert!(is_person(good), "{good}");
        }
        for bad in ["Eve https://evil.example", "WWW.evil.example", "eve@evil.example"] {
            assert!(!is_person(bad), "{bad}");
        }
    }

    #[test]
    fn days() {
        assert!(is_date("2028-02-29") && !is_date("2027-02-29"));
        assert!(!is_date("20270101") && !is_date("2027-01-01T00:00:00"));
    }

    #[test]
    fn lot_numbers() {
        for good in ["L1", "2026/11-A", "!\"%&'()*+,-./_:;<=>"] {
            assert!(is_lot(good), "{good}");
        }
        for bad in ["", "a b", "é", "#", "@", "123456789012345678901"] {
            assert!(!is_lot(bad), "{bad}");
        }
    }

    #[test]
    fn bank_numbers() {
        assert!(is_iban("IE29AIBK93115212345678"));
        for bad in ["IE28AIBK93115212345678", "IE29 AIBK 9311 5212 3456 78", "", "XX00"] {
            assert!(!is_iban(bad), "{bad}");
        }
        assert!(is_bic("AIBKIE2D") && is_bic("DEUTDEFF500") && !is_bic("AIBKXX2D"));
    }

    #[test]
    fn phones_and_decimals() {
        assert!(is_e164("+353861234567") && !is_e164("0861234567") && !is_e164("+0123456789"));
        for good in ["0", "1", "0.1", "999999999999.999999"] {
            assert!(is_decimal(good), "{good}");
        }
        for bad in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "NaN", "1,5", "1234567890123", "1.1234567"]
        {
            assert!(!is_decimal(bad), "{bad}");
        }
    }
}
