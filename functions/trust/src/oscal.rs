//! The posture as OSCAL 1.1.3, of NIST: a component definition (what is
//! claimed, and how it is done) and assessment results (what was found).
//!
//! Ids are made from what they name, so that the same thing has the same id in
//! every document.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use keystone::audit::entry::at_text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::catalogue::{self, Declared};
use crate::checks::Verdict;
use crate::posture::{ControlState, PostureView};

const OSCAL_VERSION: &str = "1.1.3";
/// Where the controls are described that the ids name.
const CATALOGUE: &str = "/v1/trust/posture";
/// Namespace of our own properties.
const NAMESPACE: &str = "urn:keystone:oscal";

/// A model of OSCAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "OscalModel")]
pub enum Model {
    /// What is claimed, and how it is done.
    ComponentDefinition,
    /// What was found.
    AssessmentResults,
}

/// A document of OSCAL, whose own schema says what is in it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct OscalDocument(Map<String, Value>);

/// The id of `what`: in the form of version 5, since OSCAL takes 4 and 5 only,
/// over SHA-256.
fn id(what: &str) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest(&SHA256, what.as_bytes()).as_ref()[..16]);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid().to_string()
}

/// A control's id as a token of OSCAL.
fn token(control: &ControlState) -> String {
    control.id.to_lowercase()
}

fn metadata(title: &str, now: Timestamp) -> Value {
    json!({
        "title": title,
        "last-modified": at_text(now),
        "version": &catalogue::digest()[..12],
        "oscal-version": OSCAL_VERSION,
    })
}

fn property(name: &str, value: &str) -> Value {
    json!({ "name": name, "ns": NAMESPACE, "value": value })
}

/// The implementation status of OSCAL.
const fn implementation(declared: Declared) -> &'static str {
    match declared {
        Declared::Live => "implemented",
        Declared::InProgress => "partial",
        Declared::Planned => "planned",
        Declared::NotCertified => "not-applicable",
    }
}

fn document(model: &str, body: Value) -> OscalDocument {
    OscalDocument(Map::from_iter([(model.to_owned(), body)]))
}

/// What is claimed of each control.
pub fn component_definition(posture: &PostureView, now: Timestamp) -> OscalDocument {
    let requirements: Vec<Value> = posture
        .controls
        .iter()
        .map(|control| {
            let mut props = vec![
                json!({ "name": "implementation-status", "value": implementation(control.declared) }),
                property("status", control.status.words()),
                property("owner", &control.owner),
            ];
            props.extend(control.target_on.map(|on| property("target-date", &on.to_string())));
            json!({
                "uuid": id(&format!("requirement/{}", control.id)),
                "control-id": token(control),
                "description": control.claim,
                "props": props,
                "remarks": control.shown_by,
            })
        })
        .collect();
    let body = json!({
        "uuid": id(&format!("component-definition/{}", catalogue::digest())),
        "metadata": metadata("Keystone: controls", now),
        "components": [{
            "uuid": id("component/keystone"),
            "type": "service",
            "title": "Keystone",
            "description": "Back end of a multi-tenant food-traceability product.",
            "control-implementations": [{
                "uuid": id("implementation/keystone"),
                "source": CATALOGUE,
                "description": "The controls of Keystone's public security page.",
                "implemented-requirements": requirements,
            }],
        }],
    });
    document("component-definition", body)
}

/// What the checks found.
pub fn assessment_results(posture: &PostureView, now: Timestamp) -> OscalDocument {
    let published = posture.published_at.clone().unwrap_or_else(|| at_text(now));
    let (mut observations, mut findings) = (Vec::new(), Vec::new());
    for control in posture.controls.iter().filter(|control| !control.results.is_empty()) {
        let mut related = Vec::new();
        for result in &control.results {
            let (check, at) = (result.check.name(), &result.checked_at);
            let uuid = id(&format!("observation/{}/{check}/{at}", control.id));
            related.push(json!({ "observation-uuid": uuid }));
            observations.push(json!({
                "uuid": uuid,
                "title": check,
                "description": result.evidence,
                "methods": ["TEST"],
                "props": [property("result", result.result.words())],
                "collected": at,
            }));
        }
        let all = control.results.iter().all(|result| result.result == Verdict::Pass);
        findings.push(json!({
            "uuid": id(&format!("finding/{}/{published}", control.id)),
            "title": control.id,
            "description": control.claim,
            "target": {
                "type": "objective-id",
                "target-id": token(control),
                "status": { "state": if all { "satisfied" } else { "not-satisfied" } },
            },
            "props": [property("status", control.status.words())],
            "related-observations": related,
        }));
    }
    let checked = posture.controls.iter().filter(|control| !control.results.is_empty());
    let checked: Vec<Value> =
        checked.map(|control| json!({ "control-id": token(control) })).collect();
    let selection = if checked.is_empty() {
        json!({ "include-all": {} })
    } else {
        json!({ "include-controls": checked })
    };
    let mut result = json!({
        "uuid": id(&format!("result/{published}")),
        "title": "Checks of the running system",
        "description": "What the system found when it last looked at itself.",
        "start": published,
        "reviewed-controls": { "control-selections": [selection] },
    });
    // Lists of OSCAL are absent rather than empty.
    if !observations.is_empty() {
        result["observations"] = Value::Array(observations);
        result["findings"] = Value::Array(findings);
    }
    let body = json!({
        "uuid": id(&format!("assessment-results/{published}")),
        "metadata": metadata("Keystone: what its checks found", now),
        "import-ap": { "href": CATALOGUE },
        "results": [result],
    });
    document("assessment-results", body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::tests::view;

    const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

    /// What OSCAL 1.1.3 requires of the parts that we write.
    fn required() -> Value {
        let uuid = json!({
            "type": "string",
            "pattern": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[45][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$",
        });
        let token = json!({ "type": "string", "pattern": "^(\\p{L}|_)(\\p{L}|\\p{N}|[.\\-_])*$" });
        let list = |items: Value| json!({ "type": "array", "minItems": 1, "items": items });
        let text = json!({ "type": "string", "minLength": 1 });
        let object = |members: Value, optional: &[&str]| {
            let required: Vec<String> = members
                .as_object()
                .unwrap()
                .keys()
                .filter(|name| !optional.contains(&name.as_str()))
                .cloned()
                .collect();
            json!({
                "type": "object", "required": required, "properties": members,
                "additionalProperties": false,
            })
        };
        let property = object(json!({ "name": token, "ns": text, "value": text }), &["ns"]);
        let metadata = object(
            json!({
                "title": text, "last-modified": text, "version": text,
                "oscal-version": { "const": "1.1.3" },
            }),
            &[],
        );
        let requirement = object(
            json!({
                "uuid": uuid, "control-id": token, "description": text,
                "props": list(property.clone()), "remarks": text,
            }),
            &["props", "remarks"],
        );
        let component = object(
            json!({
                "uuid": uuid, "type": text, "title": text, "description": text,
                "control-implementations": list(object(json!({
                    "uuid": uuid, "source": text, "description": text,
                    "implemented-requirements": list(requirement),
                }), &[])),
            }),
            &[],
        );
        let observation = object(
            json!({
                "uuid": uuid, "title": text, "description": text, "methods": list(text.clone()),
                "props": list(property.clone()), "collected": text,
            }),
            &["title", "props"],
        );
        let finding = object(
            json!({
                "uuid": uuid, "title": text, "description": text,
                "target": object(json!({
                    "type": { "enum": ["statement-id", "objective-id"] }, "target-id": token,
                    "status": object(json!({
                        "state": { "enum": ["satisfied", "not-satisfied"] },
                    }), &[]),
                }), &[]),
                "props": list(property),
                "related-observations":
                    list(object(json!({ "observation-uuid": uuid }), &[])),
            }),
            &["props", "related-observations"],
        );
        let selections = list(object(
            json!({
                "include-all": { "type": "object" },
                "include-controls": list(object(json!({ "control-id": token }), &[])),
            }),
            &["include-all", "include-controls"],
        ));
        let result = object(
            json!({
                "uuid": uuid, "title": text, "description": text, "start": text,
                "reviewed-controls": object(json!({ "control-selections": selections }), &[]),
                "observations": list(observation), "findings": list(finding),
            }),
            &["observations", "findings"],
        );
        object(
            json!({
                "component-definition": object(json!({
                    "uuid": uuid, "metadata": metadata, "components": list(component),
                }), &[]),
                "assessment-results": object(json!({
                    "uuid": uuid, "metadata": metadata,
                    "import-ap": object(json!({ "href": text }), &[]),
                    "results": list(result),
                }), &[]),
            }),
            &["component-definition", "assessment-results"],
        )
    }

    #[test]
    fn documents_have_what_oscal_requires() {
        let validator = jsonschema::validator_for(&required()).unwrap();
        let mut unseen = view(Verdict::Pass);
        for control in &mut unseen.controls {
            control.results.clear();
        }
        for posture in [view(Verdict::Pass), view(Verdict::Fail), unseen] {
            for made in [component_definition(&posture, NOW), assessment_results(&posture, NOW)] {
                let made = serde_json::to_value(&made).unwrap();
                let errors: Vec<String> = validator
                    .iter_errors(&made)
                    .map(|error| format!("{}: {error}", error.instance_path()))
                    .collect();
                assert!(errors.is_empty(), "{errors:#?}");
            }
        }
    }

    #[test]
    fn a_control_whose_check_failed_is_not_satisfied() {
        let made = assessment_results(&view(Verdict::Fail), NOW);
        let findings = &made.0["assessment-results"]["results"][0]["findings"];
        let states = findings.as_array().unwrap().iter();
        let states: Vec<&Value> = states.map(|one| &one["target"]["status"]["state"]).collect();
        assert!(!states.is_empty() && states.iter().all(|state| **state == "not-satisfied"));
    }
}
