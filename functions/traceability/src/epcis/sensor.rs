//! Sensor data of events (EPCIS 2.0 §7.3.7).

use super::json::Json;
use super::read::{Errors, Extension, Members, number, term, text, time, uri, word};
use super::vocabulary::{ALERTS, COMPONENT, MEASUREMENTS};

/// What a sensor reported (EPCIS 2.0 §7.3.7). Values are those of the
/// document; nothing is computed with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorReport {
    /// What was measured.
    pub kind: String,
    /// The value, as it was written.
    pub value: Option<String>,
    /// Its unit.
    pub unit: Option<String>,
}

const METADATA_URIS: [&str; 5] =
    ["deviceID", "deviceMetadata", "rawData", "dataProcessingMethod", "bizRules"];
const METADATA_TIMES: [&str; 3] = ["time", "startTime", "endTime"];

/// Reads an element of a sensorElementList.
pub fn element(json: &Json, at: &str, errors: &mut Errors) -> Option<Vec<SensorReport>> {
    let known = ["sensorMetadata", "sensorReport"];
    let element = Members::of(json, at, &known, Extension::Uris, errors)?;
    if let Some((metadata, at)) = element.get("sensorMetadata") {
        let known: Vec<&str> = METADATA_URIS.iter().chain(&METADATA_TIMES).copied().collect();
        let metadata = Members::of(metadata, &at, &known, Extension::Uris, errors)?;
        for name in METADATA_URIS {
            metadata.optional(name, errors, uri);
        }
        for name in METADATA_TIMES {
            metadata.optional(name, errors, time);
        }
    }
    if let (Json::Array(items), at) = element.required("sensorReport", errors)?
        && items.is_empty()
    {
        errors.note(&at, "Must have at least 1 items.");
    }
    Some(element.list("sensorReport", errors, report))
}

const REPORT_URIS: [&str; 9] = [
    "deviceID",
    "deviceMetadata",
    "rawData",
    "dataProcessingMethod",
    "bizRules",
    "microorganism",
    "chemicalSubstance",
    "coordinateReferenceSystem",
    "uriValue",
];
const REPORT_NUMBERS: [&str; 7] =
    ["value", "minValue", "maxValue", "meanValue", "sDev", "percRank", "percValue"];
const REPORT_OTHERS: [&str; 8] = [
    "type",
    "exception",
    "time",
    "component",
    "stringValue",
    "booleanValue",
    "hexBinaryValue",
    "uom",
];

fn report(json: &Json, at: &str, errors: &mut Errors) -> Option<SensorReport> {
    let known: Vec<&str> =
        REPORT_URIS.iter().chain(&REPORT_NUMBERS).chain(&REPORT_OTHERS).copied().collect();
    let members = Members::of(json, at, &known, Extension::Uris, errors)?;
    for name in REPORT_URIS {
        members.optional(name, errors, uri);
    }
    for name in REPORT_NUMBERS {
        members.optional(name, errors, number);
    }
    members.optional("exception", errors, term(ALERTS));
    members.optional("time", errors, time);
    members.optional("component", errors, word(&COMPONENT));
    members.optional("stringValue", errors, text);
    members.optional("booleanValue", errors, |value, at, errors| {
        if !matches!(value, Json::Bool(_)) {
            errors.note(at, "Must be of type boolean.");
        }
        Some(())
    });
    members.optional("hexBinaryValue", errors, |value, at, errors| {
        let text = text(value, at, errors)?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            errors.note(at, "Must be hexadecimal digits.");
        }
        Some(())
    });
    let unit = members.optional("uom", errors, text).map(str::to_owned);
    let kind = members.required("type", errors);
    Some(SensorReport {
        kind: kind.and_then(|(value, at)| term(MEASUREMENTS)(value, &at, errors))?,
        value: match members.get("value") {
            Some((Json::Number(number), _)) => Some(number.clone()),
            _ => None,
        },
        unit,
    })
}
