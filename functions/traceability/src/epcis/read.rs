//! Reading of JSON members with every wrong one named by its JSON pointer.

use jiff::Timestamp;
use keystone::{FieldError, formats};
use rust_decimal::Decimal;

use super::epc::{self, Named};
use super::json::Json;
use super::quantity;
use super::vocabulary::Vocabulary;

/// Most errors that are collected.
pub const ERRORS_SHOWN: usize = 100;
/// Longest URI, and longest other text, in bytes.
const URI_LENGTH: usize = 1024;
const TEXT_LENGTH: usize = 8 * 1024;
/// Most items of a list within an event: each may become a key that the event
/// is found by, and a line of the ledger.
pub const ITEMS: usize = 1_000;

/// Collects what is wrong.
#[derive(Debug, Default)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    /// Notes what is wrong with the value at a pointer.
    pub fn note(&mut self, at: &str, message: impl Into<String>) {
        if self.0.len() < ERRORS_SHOWN {
            self.0.push(FieldError::new(at, message));
        }
    }
}

/// Appends a member's name to a JSON pointer (RFC 6901 §3).
pub fn pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// An object that is read member by member.
pub struct Members<'j> {
    /// Pointer to the object.
    pub at: String,
    members: &'j [(String, Json)],
}

/// What members an object may have beside those of the standard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// None.
    None,
    /// Those whose names are URIs, such as `example:colour`.
    Uris,
    /// Any.
    Any,
}

impl<'j> Members<'j> {
    /// Reads an object whose known members are `known`.
    pub fn of(
        json: &'j Json,
        at: &str,
        known: &[&str],
        extension: Extension,
        errors: &mut Errors,
    ) -> Option<Self> {
        let Json::Object(members) = json else {
            errors.note(at, "Must be of type object.");
            return None;
        };
        for (name, _) in members {
            let fits = match extension {
                Extension::None => false,
                Extension::Uris => is_uri(name),
                Extension::Any => true,
            };
            if !fits && !known.contains(&name.as_str()) {
                errors.note(&pointer(at, name), "There is no such field.");
            }
        }
        Some(Self { at: at.to_owned(), members })
    }

    /// The member `name`, with its pointer.
    pub fn get(&self, name: &str) -> Option<(&'j Json, String)> {
        let (_, value) = self.members.iter().find(|(known, _)| known == name)?;
        Some((value, pointer(&self.at, name)))
    }

    /// As [`Members::get`], noting its absence.
    pub fn required(&self, name: &str, errors: &mut Errors) -> Option<(&'j Json, String)> {
        let found = self.get(name);
        if found.is_none() {
            errors.note(&pointer(&self.at, name), "This field is required.");
        }
        found
    }

    /// A member read by `read`, if it is there.
    pub fn optional<T>(
        &self,
        name: &str,
        errors: &mut Errors,
        read: impl FnOnce(&'j Json, &str, &mut Errors) -> Option<T>,
    ) -> Option<T> {
        let (value, at) = self.get(name)?;
        read(value, &at, errors)
    }

    /// The items of a list, each read by `read`; empty if it is not there, or
    /// has more than [`ITEMS`].
    pub fn list<T>(
        &self,
        name: &str,
        errors: &mut Errors,
        mut read: impl FnMut(&'j Json, &str, &mut Errors) -> Option<T>,
    ) -> Vec<T> {
        let Some((value, at)) = self.get(name) else { return Vec::new() };
        let items = items(value, &at, errors);
        if items.len() > ITEMS {
            errors.note(&at, format!("Must have at most {ITEMS} items."));
            return Vec::new();
        }
        items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| read(item, &format!("{at}/{index}"), errors))
            .collect()
    }
}

/// The items of an array.
pub fn items<'j>(json: &'j Json, at: &str, errors: &mut Errors) -> &'j [Json] {
    if let Json::Array(items) = json {
        return items;
    }
    errors.note(at, "Must be of type array.");
    &[]
}

/// A text of bounded length.
pub fn text<'j>(json: &'j Json, at: &str, errors: &mut Errors) -> Option<&'j str> {
    match json {
        Json::Text(text) if text.len() <= TEXT_LENGTH => Some(text),
        Json::Text(_) => {
            errors.note(at, format!("Must have at most {TEXT_LENGTH} bytes."));
            None
        }
        _ => {
            errors.note(at, "Must be of type string.");
            None
        }
    }
}

/// A URI (RFC 3986 §3), absolute.
pub fn uri<'j>(json: &'j Json, at: &str, errors: &mut Errors) -> Option<&'j str> {
    let text = text(json, at, errors)?;
    if text.len() <= URI_LENGTH && is_uri(text) {
        return Some(text);
    }
    errors.note(at, "Must be a URI, such as urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6.");
    None
}

/// Whether a text is an absolute URI: a scheme, and only characters and
/// escapes that RFC 3986 §2 allows.
pub fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let first = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let scheme = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let mut bytes = rest.bytes();
    let mut fragment = false;
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
                hex() && hex()
            }
            b'#' => !std::mem::replace(&mut fragment, true),
            b => b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=".contains(&b),
        };
        if !fits {
            return false;
        }
    }
    first && scheme && !rest.is_empty()
}

/// The key of an identifier; see [`epc::key`].
pub fn epc(json: &Json, at: &str, errors: &mut Errors) -> Option<String> {
    thing(json, at, errors).map(|named| named.key)
}

/// What an identifier names; see [`epc::named`].
pub fn thing(json: &Json, at: &str, errors: &mut Errors) -> Option<Named> {
    epc::named(uri(json, at, errors)?)
        .map_err(|wrong| errors.note(at, format!("Must be {}.", wrong.in_words())))
        .ok()
}

/// A moment (RFC 3339 §5.6).
pub fn time(json: &Json, at: &str, errors: &mut Errors) -> Option<Timestamp> {
    let moment = text(json, at, errors)?;
    let found = moment_of(moment);
    if found.is_none() {
        errors.note(at, "Must be a moment such as 2027-01-31T12:00:00.000+01:00.");
    }
    found
}

/// Reads `2027-01-31T12:00:00.123+01:00` and no looser form.
pub fn moment_of(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let form = b"0000-00-00T00:00:00";
    let date = bytes.get(..form.len())?.iter().zip(form).all(|(byte, form)| match form {
        b'0' => byte.is_ascii_digit(),
        b'T' => byte.eq_ignore_ascii_case(&b'T'),
        other => byte == other,
    });
    let mut rest = text.get(form.len()..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > 9 {
            return None;
        }
        rest = fraction.get(digits..)?;
    }
    let zone = rest.eq_ignore_ascii_case("Z")
        || rest.len() == 6
            && rest.starts_with(['+', '-'])
            && rest.bytes().enumerate().skip(1).all(|(index, byte)| match index {
                3 => byte == b':',
                _ => byte.is_ascii_digit(),
            });
    (date && zone).then(|| formats::moment_of(text)).flatten()
}

/// A word of a vocabulary by its short name, or a URI of somebody else's.
pub fn word(
    vocabulary: &'static Vocabulary,
) -> impl Fn(&Json, &str, &mut Errors) -> Option<String> {
    move |json, at, errors| {
        let text = text(json, at, errors)?;
        let standard = ["urn:epcglobal:cbv", "http://ns.gs1.org/cbv/", "https://ns.gs1.org/cbv/"];
        let other = is_uri(text) && !standard.iter().any(|start| text.starts_with(start));
        if vocabulary.words.contains(&text) || other {
            return Some(vocabulary.short(text).to_owned());
        }
        errors.note(at, format!("Must be a URI or one of: {}.", vocabulary.words.join(", ")));
        None
    }
}

/// A term of the GS1 Web Vocabulary by its short name, or a URI of somebody
/// else's.
pub fn term(terms: &'static [&'static str]) -> impl Fn(&Json, &str, &mut Errors) -> Option<String> {
    move |json, at, errors| {
        let text = text(json, at, errors)?;
        let web = ["", "www."].iter().any(|www| {
            ["http", "https"]
                .iter()
                .any(|scheme| text.starts_with(&format!("{scheme}://{www}gs1.org/voc/")))
        });
        if terms.contains(&text) || is_uri(text) && !web {
            return Some(text.to_owned());
        }
        errors.note(at, "Must be a term of the GS1 Web Vocabulary or another URI.");
        None
    }
}

/// One of a few texts.
pub fn choice<T: Copy>(options: &[(&str, T)]) -> impl Fn(&Json, &str, &mut Errors) -> Option<T> {
    move |json, at, errors| {
        let found = json.text().and_then(|text| options.iter().find(|(name, _)| *name == text));
        if found.is_none() {
            let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
            errors.note(at, format!("Must be one of: {}.", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }
}

/// A number, as it was written.
pub fn number<'j>(json: &'j Json, at: &str, errors: &mut Errors) -> Option<&'j str> {
    match json {
        Json::Number(number) if number.len() <= 64 => Some(number),
        Json::Number(_) => {
            errors.note(at, "Must have at most 64 characters.");
            None
        }
        _ => {
            errors.note(at, "Must be of type number.");
            None
        }
    }
}

/// A quantity; see [`quantity::amount`].
pub fn amount(json: &Json, at: &str, errors: &mut Errors) -> Option<Decimal> {
    let found = quantity::amount(number(json, at, errors)?);
    if found.is_none() {
        errors
            .note(at, "Must not be negative, with at most 12 digits before and 9 after the point.");
    }
    found
}

/// Notes items that stand in a list twice.
pub fn distinct(list: &Members<'_>, name: &str, errors: &mut Errors) {
    let Some((Json::Array(items), at)) = list.get(name) else { return };
    let mut seen = std::collections::HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let mut text = String::new();
        item.write(&mut text);
        if !seen.insert(text) {
            errors.note(&format!("{at}/{index}"), "Stands in the list twice.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_one_form() {
        for good in
            ["2005-07-11T11:30:47.0Z", "2005-04-03T20:33:31.116000-06:00", "2020-02-29t23:59:59z"]
        {
            assert!(moment_of(good).is_some(), "{good}");
        }
        for bad in [
            "2005-07-11",
            "2005-07-11T11:30:47",
            "2005-07-11 11:30:47Z",
            "2005-13-11T11:30:47Z",
            "2021-02-29T00:00:00Z",
            "2005-07-11T11:30Z",
            "20050711T113047Z",
            "é005-07-11T11:30:47Z",
            "2005-07-11T11:30:47+1",
            "2005-07-11T11:30:47.Z",
            "2005-07-11T25:30:47Z",
            "",
            "2005-07-11T11:30:47Z[Europe/Dublin]",
            "0000-12-31T23:59:59Z",
        ] {
            assert!(moment_of(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn uris_have_a_scheme_and_no_blanks() {
        for good in ["urn:a:b", "https://x.org/a%20b?c#d", "ni:///sha-256;ab?ver=CBV2.0", "ex:f"] {
            assert!(is_uri(good), "{good}");
        }
        for bad in
            ["", "abc", "_:document1", "a b:c", "a:b c", "a:%2", "1a:b", "a:é", "a:b#c#d", "a:"]
        {
            assert!(!is_uri(bad), "{bad}");
        }
    }
}
