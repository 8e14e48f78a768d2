//! What is the same for all spellings of an event.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use rust_decimal::Decimal;

use super::epc::{self, Named};
use super::json::{Json, write_text};
use super::vocabulary::{BIZ_STEP, DISPOSITION};

/// SHA-256 of an event with these members in these contexts, in hexadecimal. It
/// is made of the members sorted by name, lists as the sets that JSON-LD takes them for,
/// numbers without padding, words of the CBV and identifiers in one form,
/// extension names with their prefix resolved.
pub fn digest_of<'j>(
    members: impl Iterator<Item = &'j (String, Json)>,
    contexts: &[Json],
) -> String {
    let mut canonical = String::new();
    canonicalise_members(members, &prefixes(contexts), &mut canonical);
    hex::encode(digest(&SHA256, canonical.as_bytes()))
}

/// Prefixes with the meaning that contexts give them.
type Prefixes<'c> = BTreeMap<&'c str, &'c str>;

/// The prefixes that contexts give a meaning; of several the last.
fn prefixes(contexts: &[Json]) -> Prefixes<'_> {
    contexts
        .iter()
        .flat_map(Json::members)
        .filter_map(|(name, value)| Some((name.as_str(), value.text()?)))
        .collect()
}

/// Writes what is the same for all spellings of an event.
fn canonicalise(json: &Json, member: &str, prefixes: &Prefixes<'_>, out: &mut String) {
    match json {
        Json::Object(members) => canonicalise_members(members.iter(), prefixes, out),
        Json::Array(items) => {
            let mut parts: Vec<String> = items
                .iter()
                .map(|item| {
                    let mut part = String::new();
                    canonicalise(item, member, prefixes, &mut part);
                    part
                })
                .collect();
            parts.sort_unstable();
            out.push('[');
            out.push_str(&parts.join(","));
            out.push(']');
        }
        Json::Number(number) => out.push_str(&plain_number(number)),
        Json::Text(text) => {
            let word = match member {
                "bizStep" => BIZ_STEP.short(text),
                "disposition" | "set" | "unset" => DISPOSITION.short(text),
                _ => text,
            };
            write_text(&identifier(word), out);
        }
        other => other.write(out),
    }
}

fn canonicalise_members<'j>(
    members: impl Iterator<Item = &'j (String, Json)>,
    prefixes: &Prefixes<'_>,
    out: &mut String,
) {
    let mut parts: Vec<String> = members
        .map(|(name, value)| {
            let mut part = String::new();
            write_text(&resolved(name, prefixes), &mut part);
            part.push(':');
            canonicalise(value, name, prefixes, &mut part);
            part
        })
        .collect();
    parts.sort_unstable();
    out.push('{');
    out.push_str(&parts.join(","));
    out.push('}');
}

/// An identifier in one form, with the lot that it states of an item: two
/// events of which one does not say the lot do not say the same. What a link says
/// besides what it identifies, such as a date of expiry, is said by it alone, so such a
/// link stays as it is.
fn identifier(text: &str) -> String {
    if text.contains(['?', '#']) {
        return text.to_owned();
    }
    match epc::named(text) {
        Ok(Named { key, lot: Some(lot) }) => format!("{key} of {lot}"),
        Ok(named) => named.key,
        Err(_) => text.to_owned(),
    }
}

fn resolved(name: &str, prefixes: &Prefixes<'_>) -> String {
    name.split_once(':')
        .and_then(|(prefix, rest)| {
            let meaning = prefixes.get(prefix)?;
            Some(format!("{meaning}{rest}"))
        })
        .unwrap_or_else(|| name.to_owned())
}

/// A number without padding, if it can be held exactly; else as it is.
fn plain_number(number: &str) -> String {
    Decimal::from_str_exact(number)
        .or_else(|_| Decimal::from_scientific(number))
        .map_or_else(|_| number.to_owned(), |value| value.normalize().to_string())
}
