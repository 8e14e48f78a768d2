//! How lots hang together in what partners capture: transformations in several
//! events, goods that leave in logistic units, lots without a batch.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use keystone::auth::Role;
use keystone::http::escaped;
use keystone_tests::goods::{AT, customer, fields, key, lot, portion, product};
use keystone_tests::{Client, Stack};
use serde_json::{Value, json};

fn uri(gtin: &str, lot: &str) -> String {
    format!("https://id.gs1.org/01/{gtin:0>14}/10/{lot}")
}

fn kilograms(value: &str) -> Value {
    json!([{ "value": value, "unit": "KGM" }])
}

fn amount(class: &str, kilograms: f64) -> Value {
    json!({ "epcClass": class, "quantity": kilograms, "uom": "KGM" })
}

/// An event with these members, and what every event has.
fn event(id: &str, at: &str, mut members: Value) -> Value {
    members["eventID"] = id.into();
    members["eventTime"] = at.into();
    members["eventTimeZoneOffset"] = "+00:00".into();
    members
}

async fn capture(owner: &Client, events: &[Value]) {
    let document = json!({
        "@context": "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
        "type": "EPCISDocument", "schemaVersion": "2.0", "creationDate": AT,
        "epcisBody": { "eventList": events },
    });
    let job = owner.post("/v1/capture", &document).await.expect(202).json();
    assert_eq!(job["captured"], events.len(), "{job}");
}

async fn withdraw(owner: &Client, event: &str) {
    let path = format!("/v1/events/{}/error-declaration", escaped(event));
    owner.post(&path, &json!({ "reason": "did_not_occur" })).await.must(201);
}

/// This moment, once it is over, so that what follows comes later.
async fn now() -> String {
    let now = keystone::clock::now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    escaped(&now.to_string())
}

async fn trace(client: &Client, batch: &str, query: &str) -> Value {
    client.get(&format!("/v1/batches/{batch}/trace?{query}")).await.expect(200).json()
}

/// What the Art. 18 view says, asked for by somebody who sees no contact data.
async fn evidence(viewer: &Client, batch: &str, query: &str) -> Value {
    viewer.get(&format!("/v1/batches/{batch}/article-18{query}")).await.expect(200).json()
}

fn lots(graph: &Value) -> BTreeSet<String> {
    let nodes = graph["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["lot"].as_str().unwrap().to_owned()).collect()
}

fn set<const N: usize>(lots: [&str; N]) -> BTreeSet<String> {
    lots.into_iter().map(str::to_owned).collect()
}

/// A new batch of the product: 100 kg.
async fn batch(owner: &Client, product: &str, number: &str) -> String {
    owner.post("/v1/batches", &lot(product, number, "100", "KGM")).await.expect(201).id()
}

#[tokio::test]
async fn a_transformation_in_several_events_links_what_went_in_with_what_came_out() {
    let stack = Stack::load();
    let (tenant, other) =
        futures::join!(stack.tenant("vat", &[Role::Viewer]), stack.tenant("vat-other", &[]));
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let (milk, milk_gtin) = product(owner, "Milk").await;
    let (cheese, cheese_gtin) = product(owner, "Cheese").await;
    let (milk, cheese) = (batch(owner, &milk, "M-1").await, batch(owner, &cheese, "C-1").await);
    let (milk_uri, cheese_uri) = (uri(&milk_gtin, "M-1"), uri(&cheese_gtin, "C-1"));
    let rennet = "urn:epc:class:lgtin:4012345.066666.rennet";
    let vat = "urn:x:transformation:vat-7";
    let went_in = |id: &str, class: &str, of: &str| {
        let members = json!({
            "type": "TransformationEvent", "transformationID": of,
            "inputQuantityList": [amount(class, 40.5)],
        });
        event(id, AT, members)
    };
    let came_out = json!({
        "type": "TransformationEvent", "transformationID": vat,
        "outputQuantityList": [amount(&cheese_uri, 9.0)],
    });
    let came_out = event("urn:x:out", "2026-03-01T12:00:00Z", came_out);
    // Out before in: the parts may come in any order.
    capture(owner, std::slice::from_ref(&came_out)).await;
    capture(owner, &[went_in("urn:x:in-1", &milk_uri, vat)]).await;
    capture(owner, &[went_in("urn:x:in-2", rennet, vat)]).await;
    capture(owner, &[went_in("urn:x:in-3", "urn:epc:class:lgtin:4012345.066666.not", "urn:x:8")])
        .await;
    // The same name is another transformation elsewhere.
    capture(other.owner(), &[went_in("urn:x:in-9", "urn:epc:class:lgtin:4012345.066666.far", vat)])
        .await;

    let (milk_key, cheese_key) = (key(&milk_gtin, "M-1"), key(&cheese_gtin, "C-1"));
    let rennet_key = "01/04012345666663/10/rennet";
    let forward = trace(owner, &milk, "direction=forward").await;
    assert_eq!(lots(&forward), set([&milk_key, &cheese_key]), "{forward}");
    let edges = forward["edges"].as_array().unwrap();
    assert_eq!(edges.len(), 1, "{forward}");
    assert_eq!((&edges[0]["quantity"], &edges[0]["unit"]), (&json!("40.5"), &json!("KGM")));
    assert_eq!((&forward["truncated"], &forward["limits"]), (&json!(false), &json!([])));
    let back = trace(owner, &cheese, "direction=back").await;
    assert_eq!(lots(&back), set([&milk_key, &cheese_key, rennet_key]), "{back}");
    assert_eq!(back["edges"].as_array().unwrap().len(), 2, "{back}");
    let shown = evidence(viewer, &cheese, "").await;
    assert_eq!(shown["made_of"], json!(set([&milk_key, rennet_key])));
    assert_eq!(evidence(viewer, &milk, "").await["made_into"], json!([cheese_key]));
    let before = now().await;

    // A part that is withdrawn leads nowhere, and led there before.
    withdraw(owner, "urn:x:in-1").await;
    let forward = trace(owner, &milk, "direction=forward").await;
    assert_eq!(lots(&forward), set([&milk_key]), "{forward}");
    let back = trace(owner, &cheese, "direction=back").await;
    assert_eq!(lots(&back), set([&cheese_key, rennet_key]), "{back}");
    let query = format!("direction=forward&as_of={before}");
    assert_eq!(lots(&trace(owner, &milk, &query).await), set([&milk_key, &cheese_key]));
    withdraw(owner, "urn:x:out").await;
    let back = trace(owner, &cheese, "direction=back").await;
    assert_eq!(lots(&back), set([&cheese_key]), "{back}");

    // In a circle every lot stands once.
    let circle = "urn:x:transformation:rework";
    let round = |id: &str, members: Value| event(id, AT, members);
    capture(
        owner,
        &[
            round(
                "urn:x:round-1",
                json!({
                    "type": "TransformationEvent", "transformationID": circle,
                    "inputQuantityList": [amount(&milk_uri, 1.0), amount(&cheese_uri, 1.0)],
                }),
            ),
            round(
                "urn:x:round-2",
                json!({
                    "type": "TransformationEvent", "transformationID": circle,
                    "outputQuantityList": [amount(&cheese_uri, 1.0), amount(&milk_uri, 1.0)],
                }),
            ),
        ],
    )
    .await;
    let forward = trace(owner, &milk, "direction=forward").await;
    assert_eq!(lots(&forward), set([&milk_key, &cheese_key]), "{forward}");
    other.finish().await;
    tenant.finish().await;
}
