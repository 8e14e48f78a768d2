//! Whom a recall reaches by what partners capture: items by their serials, crates
//! that are used again, steps that tell of the same goods twice, and what narrows
//! a recall.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use keystone::auth::Role;
use keystone_tests::goods::{captured, fields, key, product};
use keystone_tests::{Client, Stack, samples};
use serde_json::{Value, json};

const PALLET: &str = "urn:epc:id:sscc:0614141.1234567890";
const CRATE: &str = "urn:epc:id:grai:0614141.12345.400";
const CRATE_KEY: &str = "8003/00614141123452400";

/// A new customer with this GLN.
async fn customer(owner: &Client, gln: &str) -> String {
    let body = json!({ "name": format!("Customer {gln}"), "country": "IE", "gln": gln });
    owner.post("/v1/customers", &body).await.expect(201).id()
}

/// A new batch of the product, of which nothing is there yet but what events say.
async fn batch(owner: &Client, product: &str, number: &str) -> String {
    let batch = json!({
        "product_id": product, "lot_number": number, "quantity": { "value": "100", "unit": "KGM" },
    });
    owner.post("/v1/batches", &batch).await.expect(201).id()
}

/// A batch of a new product, and the Digital Link of its lot.
async fn cheese(owner: &Client) -> (String, String) {
    let (cheese, gtin) = product(owner, "Cheese").await;
    let uri = format!("https://id.gs1.org/01/{gtin:0>14}/10/C-1");
    (batch(owner, &cheese, "C-1").await, uri)
}

/// Two new customers, and their GLNs.
async fn two_customers(owner: &Client) -> ([String; 2], [String; 2]) {
    let glns = [samples::gtin(), samples::gtin()];
    ([customer(owner, &glns[0]).await, customer(owner, &glns[1]).await], glns)
}

/// What happens at this hour, with what every event has.
fn event(hour: u8, more: &Value) -> Value {
    let mut event = json!({
        "type": "ObjectEvent", "action": "OBSERVE", "eventTimeZoneOffset": "+00:00",
        "eventTime": format!("2026-03-01T{hour:02}:00:00Z"),
    });
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

fn to(gln: &str) -> Value {
    json!([{
        "type": "possessing_party", "destination": format!("https://id.gs1.org/417/{gln}"),
    }])
}

fn at_place(gln: &str) -> Value {
    json!({ "id": format!("https://id.gs1.org/414/{gln}") })
}

fn shipped(hour: u8, thing: &str, gln: &str) -> Value {
    let list = json!({ "bizStep": "shipping", "epcList": [thing], "destinationList": to(gln) });
    event(hour, &list)
}

fn packed(hour: u8, action: &str, holder: &str, more: &Value) -> Value {
    let mut event = event(hour, more);
    event["type"] = "AggregationEvent".into();
    event["action"] = action.into();
    event["parentID"] = holder.into();
    event
}

fn kilograms(class: &str, amount: u32) -> Value {
    json!([{ "epcClass": class, "quantity": amount, "uom": "KGM" }])
}

fn recall(lots: &[&str]) -> Value {
    json!({ "kind": "exercise", "hazard": "biological", "reason": "Listeria", "lots": lots })
}

/// The recall with what it found.
async fn started(owner: &Client, recall: &Value) -> Value {
    let id = owner.post("/v1/recalls", recall).await.expect(201).id();
    owner.get(&format!("/v1/recalls/{id}")).await.expect(200).json()
}

/// Who got what, by recipient.
fn recipients(recall: &Value) -> BTreeMap<String, Value> {
    let all = recall["finding"]["recipients"].as_array().unwrap().iter();
    let name = |one: &Value| one["recipient"].as_str().unwrap_or_default().to_owned();
    all.map(|one| (name(one), one["lots"].clone())).collect()
}

async fn stock(viewer: &Client, batch: &str) -> Value {
    let shown = viewer.get(&format!("/v1/batches/{batch}/article-18")).await.expect(200).json();
    shown["balance"]["stock"].clone()
}

#[tokio::test]
async fn an_item_that_is_shipped_by_its_serial_is_recalled_with_its_lot() {
    let stack = Stack::load();
    let tenant = stack.tenant("reach-item", &[Role::Viewer]).await;
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let (cheese, gtin) = product(owner, "Cheese").await;
    let batch = batch(owner, &cheese, "C-1").await;
    let glns: Vec<String> = (0..3).map(|_| samples::gtin()).collect();
    let mut customers = Vec::new();
    for gln in &glns {
        customers.push(customer(owner, gln).await);
    }
    // The item's EPC, of a GTIN-13 whose company prefix has seven digits.
    let item = |serial: u32| format!("urn:epc:id:sgtin:{}.0{}.{serial}", &gtin[..7], &gtin[7..12]);
    // One is shipped before anything says which lot it is of.
    captured(owner, &[shipped(9, &item(1), &glns[0])]).await;
    captured(
        owner,
        &[
            event(
                8,
                &json!({
                    "action": "ADD", "bizStep": "commissioning",
                    "epcList": [item(1), item(2), item(3), item(4)],
                    "ilmd": { "cbvmda:lotNumber": "C-1" },
                }),
            ),
            shipped(10, &item(2), &glns[1]),
            packed(10, "ADD", PALLET, &json!({ "childEPCs": [item(3)] })),
            shipped(11, PALLET, &glns[2]),
        ],
    )
    .await;
    let found = started(owner, &recall(&[&batch])).await;
    let got = recipients(&found);
    assert_eq!(got.len(), 3, "{found}");
    for customer in &customers {
        let lots = &got[customer];
        assert_eq!(lots.as_array().unwrap().len(), 1, "{found}");
        assert_eq!(lots[0]["lot"], json!(key(&gtin, "C-1")));
        assert_eq!(lots[0]["dispatched"], json!([{ "value": "1", "unit": "H87" }]));
    }
    assert_eq!(got[&customers[2]][0]["within"], json!(["00/106141412345678908"]));
    // The pallet is not counted beside what is on it.
    let goods = found["effectiveness"]["goods"].as_array().unwrap();
    assert_eq!((goods.len(), &goods[0]["dispatched"]), (1, &json!("3")), "{found}");
    let left = stock(viewer, &batch).await;
    assert!(left.as_array().unwrap().contains(&json!({ "value": "1", "unit": "H87" })), "{left}");
    tenant.finish().await;
}

#[tokio::test]
async fn a_crate_that_is_used_again_names_those_only_who_got_the_goods() {
    let stack = Stack::load();
    let tenant = stack.tenant("reach-crate", &[Role::Viewer]).await;
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let (cheese, gtin) = product(owner, "Cheese").await;
    let (first, second) = (batch(owner, &cheese, "C-1").await, batch(owner, &cheese, "C-2").await);
    let uri = |lot: &str| format!("https://id.gs1.org/01/{gtin:0>14}/10/{lot}");
    let glns: Vec<String> = (0..3).map(|_| samples::gtin()).collect();
    let mut customers = Vec::new();
    for gln in &glns {
        customers.push(customer(owner, gln).await);
    }
    let children = |lot: &str, amount| json!({ "childQuantityList": kilograms(&uri(lot), amount) });
    captured(
        owner,
        &[
            shipped(6, CRATE, &glns[2]),
            packed(8, "ADD", CRATE, &children("C-1", 5)),
            shipped(9, CRATE, &glns[0]),
            packed(10, "DELETE", CRATE, &children("C-1", 5)),
            packed(11, "ADD", CRATE, &children("C-2", 7)),
            shipped(12, CRATE, &glns[1]),
        ],
    )
    .await;
    for (batch, lot, customer, amount) in
        [(&first, "C-1", &customers[0], "5"), (&second, "C-2", &customers[1], "7")]
    {
        let found = started(owner, &recall(&[batch])).await;
        let expected = json!([{
            "lot": key(&gtin, lot), "dispatched": [{ "value": amount, "unit": "KGM" }],
            "last_at": found["finding"]["recipients"][0]["lots"][0]["last_at"],
            "within": [CRATE_KEY],
        }]);
        assert_eq!(recipients(&found), BTreeMap::from([(customer.clone(), expected)]), "{found}");
        let path = format!("/v1/batches/{batch}/trace?direction=forward");
        let graph = viewer.get(&path).await.expect(200).json();
        for other in customers.iter().filter(|other| *other != customer) {
            assert!(!graph.to_string().contains(other.as_str()), "{graph}");
        }
    }
    tenant.finish().await;
}

#[tokio::test]
async fn what_several_steps_tell_of_is_counted_once() {
    let stack = Stack::load();
    let tenant = stack.tenant("reach-steps", &[Role::Viewer]).await;
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let (cheese, gtin) = product(owner, "Cheese").await;
    let batch = batch(owner, &cheese, "C-1").await;
    let site = owner.post("/v1/sites", &samples::site()).await.expect(201).json();
    let ours = site["gln"].as_str().unwrap();
    let glns = [samples::gtin(), samples::gtin()];
    let buyer = customer(owner, &glns[0]).await;
    let uri = format!("https://id.gs1.org/01/{gtin:0>14}/10/C-1");
    let step = |hour, step: &str, amount, more: &Value| {
        let mut event = event(hour, more);
        event["bizStep"] = step.into();
        event["quantityList"] = kilograms(&uri, amount);
        event
    };
    let left = async |amount: &str| {
        assert_eq!(stock(viewer, &batch).await, json!([{ "value": amount, "unit": "KGM" }]));
    };
    let here = json!({ "bizLocation": at_place(ours) });
    captured(owner, &[step(1, "receiving", 20, &here), step(2, "accepting", 20, &here)]).await;
    left("120").await;
    // What the customer receives is with the customer.
    let sent = json!({ "destinationList": to(&glns[0]) });
    captured(
        owner,
        &[
            step(3, "shipping", 30, &sent),
            step(4, "departing", 30, &sent),
            step(5, "receiving", 30, &json!({ "readPoint": at_place(&glns[0]) })),
        ],
    )
    .await;
    left("90").await;
    // What was not shipped after all is here, and nobody else got it.
    let other = json!({ "destinationList": to(&glns[1]) });
    captured(owner, &[step(6, "shipping", 10, &other), step(7, "void_shipping", 10, &other)]).await;
    left("90").await;
    // An amount that is not known is said.
    captured(
        owner,
        &[event(
            8,
            &json!({
                "bizStep": "shipping", "quantityList": [{ "epcClass": uri }],
                "destinationList": to(&glns[0]),
            }),
        )],
    )
    .await;
    left("90").await;
    let shown = viewer.get(&format!("/v1/batches/{batch}/article-18")).await.expect(200).json();
    let unknown =
        json!([{ "role": "dispatched", "unit": "H87", "quantity": null, "movements": 1 }]);
    assert_eq!(shown["balance"]["not_counted"], unknown, "{shown}");
    let found = started(owner, &recall(&[&batch])).await;
    assert_eq!(found["summary"]["not_counted"], unknown, "{found}");
    assert_eq!(recipients(&found).into_keys().collect::<Vec<_>>(), [buyer], "{found}");
    tenant.finish().await;
}

#[tokio::test]
async fn a_recall_keeps_to_a_period_and_says_so() {
    let stack = Stack::load();
    let tenant = stack.tenant("reach-period", &[]).await;
    let owner = tenant.owner();
    let (batch, uri) = cheese(owner).await;
    let (customers, glns) = two_customers(owner).await;
    let sent = |hour, gln: &str| {
        let more = json!({
            "bizStep": "shipping", "quantityList": kilograms(&uri, 5), "destinationList": to(gln),
        });
        event(hour, &more)
    };
    captured(owner, &[sent(3, &glns[0]), sent(5, &glns[1])]).await;
    let hour = |hour: u8| format!("2026-03-01T{hour:02}:00:00Z");
    let during = |from: u8, until: u8| {
        let mut recall = recall(&[&batch]);
        recall["period"] = json!({ "from": hour(from), "until": hour(until) });
        recall
    };
    for (from, until, expected) in [(0, 5, &customers[0]), (5, 6, &customers[1])] {
        let found = started(owner, &during(from, until)).await;
        assert_eq!(
            recipients(&found).into_keys().collect::<Vec<_>>(),
            std::slice::from_ref(expected)
        );
        assert_eq!(found["period"], json!({ "from": hour(from), "until": hour(until) }));
    }
    let wrong = owner.post("/v1/recalls", &during(5, 5)).await;
    assert_eq!(fields(&wrong), ["/period/until"]);
    tenant.finish().await;
}

#[tokio::test]
async fn an_id_that_is_somebody_elses_hides_no_customer() {
    let stack = Stack::load();
    let tenant = stack.tenant("reach-id", &[]).await;
    let owner = tenant.owner();
    let (batch, uri) = cheese(owner).await;
    let (customers, glns) = two_customers(owner).await;
    let theirs = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let sent = |hour, owning: &str| {
        let more = json!({
            "bizStep": "shipping", "quantityList": kilograms(&uri, 5),
            "destinationList": [
                { "type": "possessing_party", "destination": theirs },
                { "type": "owning_party", "destination": owning },
            ],
        });
        event(hour, &more)
    };
    let by_gln = format!("https://id.gs1.org/417/{}", glns[0]);
    let by_id = format!("urn:uuid:{}", customers[1]);
    captured(owner, &[sent(3, &by_gln), sent(4, &by_id)]).await;
    let found = started(owner, &recall(&[&batch])).await;
    let mut expected = customers.to_vec();
    expected.sort_unstable();
    assert_eq!(recipients(&found).into_keys().collect::<Vec<_>>(), expected, "{found}");
    tenant.finish().await;
}
