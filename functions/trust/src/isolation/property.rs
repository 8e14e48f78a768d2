//! What each canary owns: one thing of every kind that a read route takes the
//! id of. It is made through the API, once, and found in the audit trail.

use serde_json::{Value, json};

use super::visitor::{Unanswered, Visitor};

/// Where users are, of whom a canary has the one who visits.
pub(super) const USERS: &str = "/v1/users";

/// How a thing is made: where, and of what, `Null` for no body. `None` while
/// what it is made of is not there.
type Make = fn(&Visitor<'_>) -> Option<(String, Value)>;

/// A kind of thing.
pub(super) struct Kind {
    /// Path of its collection, or of what is read with it.
    pub(super) at: &'static str,
    /// The action under which the trail has its making.
    action: &'static str,
    /// `None` for what no user of a tenant can make.
    make: Option<Make>,
}

/// All kinds, each after those that it is made of.
pub(super) const KINDS: [Kind; 14] = [
    Kind {
        at: "/v1/products",
        action: "product.create",
        make: Some(|visitor| {
            let product = json!({
                // GS1 has set the prefix 952 aside for examples.
                "gtin": "9521234500018", "name": format!("Bait of {}", visitor.slug()),
                "description": "Belongs to the isolation probe", "animal_origin": false,
            });
            Some(("/v1/products".into(), product))
        }),
    },
    Kind {
        at: "/v1/sites",
        action: "site.create",
        make: Some(|visitor| {
            let name = format!("Cage of {}", visitor.slug());
            let site = json!({ "gln": "9521234500025", "name": name, "country": "IE" });
            Some(("/v1/sites".into(), site))
        }),
    },
    Kind {
        at: "/v1/suppliers",
        action: "supplier.create",
        make: Some(|visitor| {
            let name = format!("Supplier of {}", visitor.slug());
            Some(("/v1/suppliers".into(), json!({ "name": name, "country": "IE" })))
        }),
    },
    Kind {
        at: "/v1/customers",
        action: "customer.create",
        make: Some(|visitor| {
            let name = format!("Customer of {}", visitor.slug());
            Some(("/v1/customers".into(), json!({ "name": name, "country": "IE" })))
        }),
    },
    Kind {
        at: "/v1/batches",
        action: "batch.create",
        make: Some(|visitor| {
            let lot = json!({
                "lot_number": "CANARY-1", "product_id": visitor.owned("/v1/products")?,
                "quantity": { "value": "1", "unit": "KGM" },
            });
            Some(("/v1/batches".into(), lot))
        }),
    },
    Kind {
        at: "/v1/recalls",
        action: "recall.start",
        make: Some(|visitor| {
            let recall = json!({
                "kind": "exercise", "hazard": "other",
                "reason": format!("Belongs to the isolation probe of {}", visitor.slug()),
                "lots": [visitor.owned("/v1/batches")?],
            });
            Some(("/v1/recalls".into(), recall))
        }),
    },
    Kind {
        at: "/v1/recalls/{id}/pack",
        action: "recall_pack.create",
        make: Some(|visitor| {
            let recall = visitor.owned("/v1/recalls")?;
            Some((format!("/v1/recalls/{recall}/pack"), json!({})))
        }),
    },
    Kind {
        at: "/v1/events",
        action: "event.create",
        make: Some(|visitor| Some(("/v1/events".into(), event(visitor.slug(), "event")))),
    },
    Kind {
        at: "/v1/capture",
        action: "capture.create",
        make: Some(|visitor| {
            let document = json!({
                "@context": "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
                "type": "EPCISDocument",
                "schemaVersion": "2.0",
                "creationDate": "2026-03-01T08:00:00Z",
                "epcisBody": { "eventList": [event(visitor.slug(), "captured")] },
            });
            Some(("/v1/capture".into(), document))
        }),
    },
    Kind {
        at: "/v1/data-subject-requests",
        action: "data_subject_request.open",
        make: Some(|visitor| {
            let request = json!({
                "kind": "access", "received_on": "2026-03-01", "channel": "email",
                "subject": { "kind": "customer", "id": visitor.owned("/v1/customers")? },
            });
            Some(("/v1/data-subject-requests".into(), request))
        }),
    },
    Kind {
        at: "/v1/questionnaires",
        action: "questionnaire.request",
        make: Some(|_| Some(("/v1/questionnaires".into(), json!({ "kind": "lite" })))),
    },
    Kind {
        at: "/v1/audit/exports",
        action: "audit_export.create",
        make: Some(|_| Some(("/v1/audit/exports".into(), json!({ "format": "csv" })))),
    },
    Kind {
        // Proofs lead to one; without it there would be none in the first hour.
        at: "/v1/audit/checkpoint",
        action: "audit_trail.request_checkpoint",
        make: Some(|_| Some(("/v1/audit/checkpoints".into(), Value::Null))),
    },
    // Comes of an exercise of breach notification (infra/runbooks/deploy.md).
    Kind { at: "/v1/incidents", action: "incident.notify", make: None },
];

/// An event that only the tenant with this slug has.
fn event(slug: &str, name: &str) -> Value {
    json!({
        "type": "ObjectEvent",
        "eventID": format!("urn:canary:{slug}:{name}"),
        "action": "OBSERVE",
        "epcList": ["urn:epc:id:sgtin:9521234.500018.1"],
        "eventTime": "2026-03-01T08:00:00.000+01:00",
        "eventTimeZoneOffset": "+01:00",
    })
}

/// Sees to it that the visitor's tenant has one of each kind, and has the
/// visitor know them. What cannot be had is missing afterwards.
pub(super) async fn furnish(visitor: &mut Visitor<'_>) {
    for kind in &KINDS {
        match find_or_make(visitor, kind).await {
            Ok(Some(id)) => visitor.own(kind.at, id),
            Ok(None) => tracing::error!(tenant = visitor.slug(), at = kind.at, "a canary has none"),
            Err(Unanswered(why)) => {
                tracing::error!(tenant = visitor.slug(), at = kind.at, why, "a canary has none");
            }
        }
    }
}

async fn find_or_make(visitor: &Visitor<'_>, kind: &Kind) -> Result<Option<String>, Unanswered> {
    let found = find(visitor, kind.action).await?;
    let (None, Some(make)) = (&found, kind.make) else { return Ok(found) };
    let Some((path, body)) = make(visitor) else { return Ok(None) };
    let answer = visitor.post(&path, &format!("canary-{}", kind.action), &body).await?;
    if answer.status >= 300 {
        return Err(Unanswered(format!("POST {path} answered {}", answer.status)));
    }
    find(visitor, kind.action).await
}

/// What the newest entry with this action is about. The trail is asked and not
/// the lists: what somebody put into a list was not made by this action.
async fn find(visitor: &Visitor<'_>, action: &str) -> Result<Option<String>, Unanswered> {
    let path = format!("/v1/audit?action={action}&limit=1");
    let answer = visitor.get(&path).await?;
    let read = (answer.status == 200).then(|| serde_json::from_str::<Value>(&answer.body));
    let Some(Ok(page)) = read else {
        return Err(Unanswered(format!("GET {path} answered {}", answer.status)));
    };
    Ok(page["items"][0]["resource"]["id"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GS1 General Specifications §7.9.
    fn check_digit_fits(number: &str) -> bool {
        let digits = number.chars().filter_map(|digit| digit.to_digit(10));
        let weights = [1, 3].iter().cycle();
        number.len() == 13
            && digits.zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 10 == 0
    }

    #[test]
    fn what_is_made_has_well_formed_numbers_and_says_whose_it_is() {
        let http = reqwest::Client::new();
        let mut visitor = Visitor::unsigned(&http, "canary-one");
        let mut numbers = 0;
        for kind in &KINDS {
            let Some(make) = kind.make else { continue };
            let (_, body) = make(&visitor).unwrap();
            for member in ["gtin", "gln"] {
                if let Some(number) = body[member].as_str() {
                    assert!(check_digit_fits(number), "{number}");
                    numbers += 1;
                }
            }
            visitor.own(kind.at, "01890000-0000-7000-8000-000000000001".into());
        }
        assert_eq!(numbers, 2);
        assert!(event("canary-two", "event").to_string().contains("canary-two"));
    }
}
