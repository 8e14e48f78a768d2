//! What partners' documents name: items with their lots, and businesses by GLN.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use keystone_tests::goods::{AT, captured, fields, key, lot, made, product};
use keystone_tests::{Client, Stack, samples};
use serde_json::{Value, json};

/// A new customer or supplier with this GLN.
async fn partner(owner: &Client, kind: &str, gln: &str) -> String {
    let body = json!({ "name": format!("Partner {gln}"), "country": "IE", "gln": gln });
    owner.post(&format!("/v1/{kind}"), &body).await.expect(201).id()
}

fn shipped(more: &Value) -> Value {
    let mut event = json!({
        "type": "ObjectEvent", "action": "OBSERVE", "bizStep": "shipping",
        "eventTime": AT, "eventTimeZoneOffset": "+00:00",
    });
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

/// No partner here has contact data, so nothing is disclosed.
async fn evidence(owner: &Client, batch: &str) -> Value {
    owner.get(&format!("/v1/batches/{batch}/article-18")).await.expect(200).json()
}

fn ids(list: &Value) -> Vec<String> {
    let mut ids: Vec<String> =
        list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn items_of_a_lot_that_were_sent_to_a_gln_are_recalled_from_the_customer() {
    let stack = Stack::load();
    let tenant = stack.tenant("partners", &[]).await;
    let owner = tenant.owner();
    let (cheese, gtin) = product(owner, "Cheese").await;
    let glns: Vec<String> = (0..4).map(|_| samples::gtin()).collect();
    let supplier = partner(owner, "suppliers", &glns[0]).await;
    let mut customers = Vec::new();
    for gln in &glns[1..] {
        customers.push(partner(owner, "customers", gln).await);
    }
    let receipt = json!({
        "supplier_id": supplier, "at": AT, "lots": [lot(&cheese, "C-1", "10", "H87")],
    });
    let batch = made(owner, "/v1/receipts", receipt).await.remove(0);

    // By party as a URN, by place as a link, and by where the goods are then.
    let item = |serial: u32| format!("https://id.gs1.org/01/{gtin:0>14}/10/C-1/21/{serial}");
    let (company, rest) = glns[1].split_at(7);
    let party = format!("urn:epc:id:pgln:{company}.{}", &rest[..5]);
    captured(
        owner,
        &[
            shipped(&json!({
                "epcList": [item(1), item(2)],
                "destinationList": [{ "type": "owning_party", "destination": party }],
            })),
            shipped(&json!({
                "epcList": [item(3)],
                "destinationList": [
                    { "type": "possessing_party", "destination": "urn:epc:id:pgln:4000001.00005" },
                    {
                        "type": "location",
                        "destination": format!("https://id.gs1.org/414/{}/254/dock-7", glns[2]),
                    },
                ],
            })),
            shipped(&json!({
                "epcList": [item(4)],
                "bizLocation": { "id": format!("https://id.gs1.org/414/{}", glns[3]) },
            })),
            // What came from the supplier, as its own document says it.
            shipped(&json!({
                "bizStep": "receiving",
                "quantityList": [{
                    "epcClass": format!("https://id.gs1.org/01/{gtin:0>14}/10/C-1"),
                    "quantity": 2, "uom": "H87",
                }],
                "sourceList": [{
                    "type": "possessing_party",
                    "source": format!("https://id.gs1.org/417/{}", glns[0]),
                }],
            })),
        ],
    )
    .await;

    let shown = evidence(owner, &batch).await;
    let mut expected = customers.clone();
    expected.sort_unstable();
    assert_eq!(ids(&shown["customers"]), expected, "{shown}");
    assert_eq!(ids(&shown["suppliers"]), [supplier.as_str()], "{shown}");
    assert_eq!(shown["receipts"].as_array().unwrap().len(), 2);
    assert_eq!(shown["dispatches"].as_array().unwrap().len(), 3);
    assert_eq!(shown["balance"]["stock"], json!([{ "value": "8", "unit": "H87" }]), "{shown}");
    let trace = format!("/v1/batches/{batch}/trace?direction=forward");
    let graph = owner.get(&trace).await.expect(200).json();
    for customer in &customers {
        assert!(graph.to_string().contains(&format!("urn:uuid:{customer}")), "{graph}");
    }

    // A recall names them, and what each got.
    let recall = json!({
        "kind": "exercise", "hazard": "other", "reason": "Rehearsal", "lots": [batch],
    });
    let started = owner.post("/v1/recalls", &recall).await.expect(201);
    let path = format!("/v1/recalls/{}/recipients", started.id());
    let recipients = owner.get(&path).await.expect(200).json();
    for (customer, pieces) in customers.iter().zip(["2", "1", "1"]) {
        let all = recipients["items"].as_array().unwrap();
        let one = all.iter().find(|one| one["recipient"] == customer.as_str()).unwrap();
        assert_eq!(one["customer"]["id"], customer.as_str());
        assert_eq!(one["lots"][0]["lot"], key(&gtin, "C-1"));
        assert_eq!(one["lots"][0]["dispatched"], json!([{ "value": pieces, "unit": "H87" }]));
    }
    assert_eq!(recipients["items"].as_array().unwrap().len(), 3, "{recipients}");

    // An item is found by its serial, whatever is stated of its lot.
    let found = format!("/v1/events?MATCH_epc=urn:epc:id:sgtin:{}", sgtin(&gtin, 4));
    let found = owner.get(&found).await.expect(200).json();
    let events = &found["epcisBody"]["queryResults"]["resultsBody"]["eventList"];
    assert_eq!(events.as_array().unwrap().len(), 1, "{found}");
    tenant.finish().await;
}

/// The item's EPC after `urn:epc:id:sgtin:`, of a GTIN-13 whose company prefix
/// has seven digits.
fn sgtin(gtin: &str, serial: u32) -> String {
    format!("{}.0{}.{serial}", &gtin[..7], &gtin[7..12])
}

#[tokio::test]
async fn a_gln_is_one_partners_and_may_be_learnt_later() {
    let stack = Stack::load();
    let tenant = stack.tenant("glns", &[]).await;
    let owner = tenant.owner();
    let (cheese, gtin) = product(owner, "Cheese").await;
    let gln = samples::gtin();
    for kind in ["customers", "suppliers"] {
        let body = |gln: &str| json!({ "name": "Another", "country": "IE", "gln": gln });
        let path = format!("/v1/{kind}");
        let first = partner(owner, kind, &gln).await;
        owner.post(&path, &body(&gln)).await.must(409);
        assert_eq!(fields(&owner.post(&path, &body("0614141000006")).await), ["/gln"]);
        let other = partner(owner, kind, &samples::gtin()).await;
        let taken = json!({ "gln": gln });
        owner.patch(&format!("{path}/{other}"), "\"1\"", &taken).await.must(409);
        // Its own it may keep, give up and take again.
        let path = format!("{path}/{first}");
        owner.patch(&path, "\"1\"", &taken).await.must(200);
        owner.patch(&path, "\"2\"", &json!({ "gln": null })).await.must(200);
        owner.patch(&format!("/v1/{kind}/{other}"), "\"1\"", &taken).await.must(200);
    }

    // An event came before its customer was entered.
    let receipt = json!({
        "supplier_id": partner(owner, "suppliers", &samples::gtin()).await,
        "at": AT, "lots": [lot(&cheese, "C-1", "10", "KGM")],
    });
    let batch = made(owner, "/v1/receipts", receipt).await.remove(0);
    let later = samples::gtin();
    captured(
        owner,
        &[shipped(&json!({
            "quantityList": [{
                "epcClass": format!("https://id.gs1.org/01/{gtin:0>14}/10/C-1"),
                "quantity": 4, "uom": "KGM",
            }],
            "destinationList": [{
                "type": "possessing_party",
                "destination": format!("https://id.gs1.org/417/{later}"),
            }],
        }))],
    )
    .await;
    let asked = |shown: &Value| shown["missing"].to_string().contains(&format!("417/{later}"));
    let shown = evidence(owner, &batch).await;
    assert_eq!((shown["customers"].clone(), asked(&shown)), (json!([]), true), "{shown}");
    let customer = partner(owner, "customers", &later).await;
    let shown = evidence(owner, &batch).await;
    assert_eq!((ids(&shown["customers"]), asked(&shown)), (vec![customer], false), "{shown}");
    tenant.finish().await;
}
