//! The rules of this module against GS1's JSON schema and examples, where the
//! reference material lies beside the checkout.

use std::path::PathBuf;

use jsonschema::{Draft, Validator};
use serde_json::Value;

use super::document::{self, read_bare};
use super::json::Json;

fn material() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/epcis");
    if !folder.join("index.json").exists() {
        println!("NOT CHECKED: there is no reference material at {}", folder.display());
        return None;
    }
    Some(folder)
}

fn schema(folder: &std::path::Path) -> Validator {
    let text = std::fs::read_to_string(folder.join("EPCIS-JSON-Schema.json")).unwrap();
    jsonschema::options()
        .with_draft(Draft::Draft7)
        .should_validate_formats(true)
        .build(&serde_json::from_str(&text).unwrap())
        .unwrap()
}

/// What is wrong with a document or a bare event.
fn wrong(text: &str) -> Vec<String> {
    let json = Json::read(text).unwrap();
    let document =
        json.get("type").and_then(Json::text).is_some_and(|kind| kind.ends_with("Document"));
    let errors = if document {
        let (entries, mut errors) = document::read(&json);
        errors.0.extend(entries.into_iter().flat_map(|entry| entry.errors.0));
        errors
    } else {
        read_bare(&json).1
    };
    errors.0.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
}

#[test]
fn the_examples_are_judged_as_their_index_says() {
    let Some(folder) = material() else { return };
    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    for entry in serde_json::from_str::<Vec<Value>>(&index).unwrap() {
        let file = entry["file"].as_str().unwrap();
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let bare = entry["note"].as_str().is_some_and(|note| note.starts_with("bare event"));
        match entry["capture"].as_str().unwrap() {
            "accept" => assert_eq!(wrong(&text), Vec::<String>::new(), "{file}"),
            "reject" if bare => assert_eq!(wrong(&text), Vec::<String>::new(), "{file}"),
            "reject" => assert_ne!(wrong(&text), Vec::<String>::new(), "{file}"),
            _ => {}
        }
    }
}

/// Every way to leave out, replace or add one member or item.
fn mutants(value: &Value) -> Vec<Value> {
    let replacements = [
        Value::Null,
        Value::from(true),
        Value::from(-1),
        Value::from(""),
        Value::from("no uri"),
        Value::from("ex:other"),
        serde_json::json!([]),
        serde_json::json!({}),
    ];
    let mut all = Vec::new();
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let with = |changed: Value| {
                    let mut copy = members.clone();
                    copy.insert(name.clone(), changed);
                    Value::Object(copy)
                };
                let mut without = members.clone();
                without.shift_remove(name);
                all.push(Value::Object(without));
                all.extend(replacements.iter().cloned().map(with));
                all.extend(mutants(member).into_iter().map(with));
            }
            for name in ["bogus", "ex:bogus", "ilmd", "action", "parentID"] {
                if !members.contains_key(name) {
                    let mut copy = members.clone();
                    copy.insert(name.into(), Value::from("x"));
                    all.push(Value::Object(copy));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let with = |changed: Value| {
                    let mut copy = items.clone();
                    copy[index] = changed;
                    Value::Array(copy)
                };
                let mut copy = items.clone();
                copy.remove(index);
                all.push(Value::Array(copy));
                let mut copy = items.clone();
                copy.push(item.clone());
                all.push(Value::Array(copy));
                all.extend(replacements.iter().cloned().map(with));
                all.extend(mutants(item).into_iter().map(with));
            }
        }
        _ => {}
    }
    all
}

/// Where we are stricter than the schema, which says nothing about these.
fn is_stricter(message: &str) -> bool {
    [
        // Only the five kinds of events, and only members that exist.
        "Must be one of: ObjectEvent",
        "There is no such field.",
        "Must be EPCISDocument.",
        "Must be a version of EPCIS 2",
        // Check digits and lengths of GS1 identifiers; signs and digits of quantities.
        "Must be an EPC URN",
        "Must be a GS1 Digital Link",
        "Must not be negative",
        // EPCIS 2.0 §7.4.3.
        "parentID: This field is required.",
        // EPCIS 2.0 §7.4.1.2; who names no event withdraws none.
        "An error declaration has the eventID",
    ]
    .iter()
    .any(|known| message.contains(known))
}

#[test]
fn changed_examples_are_judged_as_the_schema_says() {
    let Some(folder) = material() else { return };
    let schema = schema(&folder);
    let mut judged = (0, 0, 0);
    for file in [
        "JSON/Example_9.6.3-AggregationEvent.jsonld",
        "JSON/Example_9.6.4-TransformationEvent.jsonld",
        "JSON/Example-TransactionEvents-2020_07_03y.jsonld",
        "JSON/PersistentDisposition-example.jsonld",
        "JSON/AssociationEvent/AssociationEvent-a.jsonld",
        "JSON/WithErrorDeclaration/Example_9.6.1-ObjectEvent-with-error-declaration.jsonld",
        "JSON/WithSensorData/SensorDataExample10.jsonld",
        "JSON/WithSensorData/SensorDataExample17.jsonld",
    ] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let example: Value = serde_json::from_str(&text).unwrap();
        for mutant in mutants(&example) {
            let ours = wrong(&mutant.to_string());
            match (schema.is_valid(&mutant), ours.is_empty()) {
                (true, true) => judged.0 += 1,
                (false, false) => judged.1 += 1,
                (true, false) => {
                    judged.2 += 1;
                    assert!(ours.iter().all(|one| is_stricter(one)), "{file}: {ours:?}\n{mutant}");
                }
                (false, true) => {
                    let errors: Vec<String> =
                        schema.iter_errors(&mutant).map(|e| e.to_string()).collect();
                    panic!("{file}: only the schema refuses {mutant}\n{errors:?}");
                }
            }
        }
    }
    println!("accepted, refused, refused by us alone: {judged:?}");
    assert!(judged.0 > 100 && judged.1 > 1000, "{judged:?}");
}
