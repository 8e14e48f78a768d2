//! Bodies that the API accepts.

use serde_json::{Value, json};

use crate::stack::random;

/// A random GTIN-13 (GS1 General Specifications §7.9).
pub fn gtin() -> String {
    let digits: Vec<u32> = random::<12>().iter().map(|byte| u32::from(byte % 10)).collect();
    let sum: u32 =
        digits.iter().zip([1, 3].iter().cycle()).map(|(digit, weight)| digit * weight).sum();
    let check = (10 - sum % 10) % 10;
    digits.iter().chain([&check]).map(u32::to_string).collect()
}

/// A random Maltese IBAN (ISO 13616) of a bank that does not exist. Malta's
/// account numbers hold letters, so no other number looks like part of one.
pub fn iban() -> String {
    let account: String = random::<18>()
        .iter()
        .map(|byte| char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[usize::from(byte % 36)]))
        .collect();
    let bban = format!("QXZJ01100{account}");
    // 98 less the remainder of the number with MT00 at its end, letters as
    // two digits from 10.
    let remainder = format!("{bban}MT00")
        .chars()
        .filter_map(|c| c.to_digit(36))
        .fold(0, |rest, digit| (rest * if digit < 10 { 10 } else { 100 } + digit) % 97);
    format!("MT{:02}{bban}", 98 - remainder)
}

/// A supplier with this bank account and a GLN of its own, which is a GTIN-13
/// in form.
pub fn supplier(iban: &str) -> Value {
    json!({
        "name": "Hollow Farm",
        "country": "IE",
        "gln": gtin(),
        "email": "office@hollow-farm.example",
        "banking": { "iban": iban, "bic": "QXZJMTMT", "account_holder": "Hollow Farm Ltd" },
    })
}

/// A customer with sealed contact data.
pub fn customer(line1: &str, phone: &str) -> Value {
    json!({
        "name": "Corner Shop",
        "country": "IE",
        "gln": null,
        "delivery_address": { "line1": line1, "town": "Ballyhaunis", "country": "IE" },
        "phone": phone,
    })
}

/// A product with a random GTIN.
pub fn product() -> Value {
    json!({
        "gtin": gtin(),
        "name": "Raw milk",
        "description": "Whole cow's milk, chilled",
        "animal_origin": true,
    })
}

/// A lot of the product.
pub fn batch(product_id: &str) -> Value {
    json!({
        "lot_number": format!("L-{:08X}", u32::from_be_bytes(random())),
        "product_id": product_id,
        "quantity": { "value": "1250.500", "unit": "LTR" },
        "best_before": "2027-01-31",
        "origin": "IE",
    })
}

/// A confirmed breach that affects these tenants, as an event says it.
pub fn breach(slugs: &[&str]) -> Value {
    let tenants: Vec<Value> = slugs
        .iter()
        .map(|slug| {
            json!({ "tenant": slug, "affected": {
                "subject_categories": ["contacts at customers"], "subjects": 120,
                "record_categories": ["delivery addresses", "telephone numbers"],
            }})
        })
        .collect();
    let now = keystone::clock::now();
    json!({
        "incident": keystone::random::id(now).expect("there is randomness"),
        "confirmed_at": now,
        "nature": "A copy of a backup was read by somebody unknown.",
        "consequences": "Unwanted calls and letters are likely.",
        "measures": "Access was closed and keys were replaced.",
        "contact": {
            "name": "Una Daly", "email": "dpl@keystone.example", "phone": "+35312345678",
        },
        "tenants": tenants,
    })
}

/// A site.
pub fn site() -> Value {
    json!({ "gln": gtin(), "name": "Creamery", "country": "IE" })
}

/// An EPCIS event.
pub fn event() -> Value {
    json!({
        "type": "ObjectEvent",
        "action": "OBSERVE",
        "epcList": ["urn:epc:id:sgtin:4012345.011111.987"],
        "eventTime": "2026-03-01T08:00:00.000+01:00",
        "eventTimeZoneOffset": "+01:00",
    })
}

/// An EPCIS document with one event.
pub fn capture() -> Value {
    json!({
        "@context": "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-03-01T08:00:00Z",
        "epcisBody": { "eventList": [event()] },
    })
}
