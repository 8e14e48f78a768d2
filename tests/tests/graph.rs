//! How lots hang together in what partners capture: transformations in several
//! events, goods that leave in logistic units, lots without a batch.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use keystone::auth::Role;
use keystone::http::escaped;
use keystone_tests::goods::{AT, captured, customer, fields, key, lot, portion, product};
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
    captured(owner, std::slice::from_ref(&came_out)).await;
    captured(owner, &[went_in("urn:x:in-1", &milk_uri, vat)]).await;
    captured(owner, &[went_in("urn:x:in-2", rennet, vat)]).await;
    captured(owner, &[went_in("urn:x:in-3", "urn:epc:class:lgtin:4012345.066666.not", "urn:x:8")])
        .await;
    // The same name is another transformation elsewhere.
    captured(
        other.owner(),
        &[went_in("urn:x:in-9", "urn:epc:class:lgtin:4012345.066666.far", vat)],
    )
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
    captured(
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

const PALLET: &str = "urn:epc:id:sscc:0614141.1234567890";
const PALLET_KEY: &str = "00/106141412345678908";
const CONTAINER: &str = "urn:epc:id:sscc:0614141.1234567891";
const BUYER: &str = "urn:epc:id:pgln:4000001.00005";
const BUYER_KEY: &str = "417/4000001000050";

fn packed(id: &str, at: &str, action: &str, parent: &str, what: Value) -> Value {
    let mut members = what;
    members["type"] = "AggregationEvent".into();
    members["action"] = action.into();
    members["bizStep"] = if action == "ADD" { "packing" } else { "unpacking" }.into();
    members["parentID"] = parent.into();
    event(id, at, members)
}

fn shipped(id: &str, at: &str, things: &[&str], to: &str) -> Value {
    let members = json!({
        "type": "ObjectEvent", "action": "OBSERVE", "bizStep": "shipping", "epcList": things,
        "destinationList": [{ "type": "owning_party", "destination": to }],
    });
    event(id, at, members)
}

/// Hour of the day on which all of it happens.
fn hour(hour: u8) -> String {
    format!("2026-03-01T{hour:02}:00:00Z")
}

fn dispatched<'v>(node: &'v Value, lot: &str) -> Vec<&'v Value> {
    let nodes = node["nodes"].as_array().unwrap().iter();
    let own = nodes.filter(|node| node["lot"] == lot);
    own.flat_map(|node| node["partners"].as_array().unwrap())
        .filter(|partner| partner["role"] == "dispatched")
        .collect()
}

/// A recall finds the customer with the amount, and no pallets among the goods.
async fn a_recall_finds(owner: &Client, batch: &str, key: &str, buyer: &str) {
    let recall = json!({
        "kind": "exercise", "hazard": "biological", "reason": "Listeria", "lots": [batch],
    });
    let started = owner.post("/v1/recalls", &recall).await.expect(201).json();
    let summary = &started["summary"];
    assert_eq!((&summary["recipients"], &summary["limits"]), (&json!(1), &json!([])), "{summary}");
    let sums = summary["balance"].as_array().unwrap();
    assert_eq!(sums.len(), 1, "{summary}");
    assert_eq!(
        (&sums[0]["dispatched"], &sums[0]["stock"], &sums[0]["unaccounted"]),
        (&json!("60"), &json!("40"), &json!("0"))
    );
    let path = format!("/v1/recalls/{}", started["id"].as_str().unwrap());
    let finding = owner.get(&path).await.expect(200).json()["finding"].clone();
    let got = finding["recipients"][0]["lots"].as_array().unwrap();
    assert_eq!(finding["recipients"][0]["recipient"], json!(buyer), "{finding}");
    let of_lot = got.iter().find(|sent| sent["lot"] == key).unwrap();
    assert_eq!(of_lot["dispatched"], kilograms("60"));
}

#[tokio::test]
async fn what_is_on_a_pallet_leaves_with_what_holds_the_pallet() {
    let stack = Stack::load();
    let tenant = stack.tenant("pallet", &[Role::Viewer]).await;
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let (cheese, gtin) = product(owner, "Cheese").await;
    let buyer = customer(owner).await;
    let buyer_uri = format!("urn:uuid:{buyer}");
    let (first, second) = (batch(owner, &cheese, "C-1").await, batch(owner, &cheese, "C-2").await);
    let (first_uri, second_uri) = (uri(&gtin, "C-1"), uri(&gtin, "C-2"));
    let first_key = key(&gtin, "C-1");
    let left = async |batch: &str| {
        let shown = evidence(viewer, batch, "").await;
        shown["balance"]["stock"].clone()
    };

    // The shipment is told of first, and the packing, an hour before it, later.
    captured(owner, &[shipped("urn:x:ship", &hour(12), &[CONTAINER], &buyer_uri)]).await;
    let things =
        json!({ "childQuantityList": [amount(&first_uri, 60.5), amount(&second_uri, 30.0)] });
    let pallet = json!({ "childEPCs": [PALLET] });
    captured(
        owner,
        &[
            packed("urn:x:pack", &hour(8), "ADD", PALLET, things),
            // Of the second lot everything is taken off again, of the first half a kilogram.
            packed(
                "urn:x:off",
                &hour(9),
                "DELETE",
                PALLET,
                json!({ "childQuantityList": [amount(&first_uri, 0.5), amount(&second_uri, 30.0)] }),
            ),
        ],
    )
    .await;
    assert_eq!((left(&first).await, left(&second).await), (kilograms("100"), kilograms("100")));
    let before = now().await;
    captured(owner, &[packed("urn:x:load", &hour(11), "ADD", CONTAINER, pallet)]).await;
    assert_eq!((left(&first).await, left(&second).await), (kilograms("40"), kilograms("100")));

    // Art. 18: whom it went to, how much, and in what.
    let shown = evidence(viewer, &first, "").await;
    let dispatch = &shown["dispatches"][0];
    assert_eq!(shown["dispatches"].as_array().unwrap().len(), 1, "{shown}");
    assert_eq!((&dispatch["quantity"], &dispatch["unit"]), (&json!("60"), &json!("KGM")));
    assert_eq!(
        (&dispatch["partner"], &dispatch["within"]),
        (&json!(buyer_uri), &json!(PALLET_KEY))
    );
    assert_eq!(shown["customers"][0]["id"], json!(buyer));
    let balance = &shown["balance"];
    assert_eq!(
        (&balance["outgoing"], &balance["unaccounted"]),
        (&kilograms("60"), &kilograms("0"))
    );
    let believed = evidence(viewer, &first, &format!("?as_of={before}")).await;
    assert_eq!(believed["balance"]["stock"], kilograms("100"), "{believed}");
    // What has left cannot be taken.
    let take = |value: &str| json!({ "customer_id": buyer, "at": AT, "lots": [portion(&first, value, "KGM")] });
    let refused = owner.post("/v1/dispatches", &take("40.001")).await;
    assert_eq!(fields(&refused), ["/lots/0/quantity/value"]);

    // The trace has the customer at the lot and at the container.
    let graph = trace(owner, &first, "direction=forward").await;
    let sent = dispatched(&graph, &first_key);
    assert_eq!(sent.len(), 1, "{graph}");
    assert_eq!((&sent[0]["quantity"], &sent[0]["within"]), (&json!("60"), &json!(PALLET_KEY)));
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 3, "{graph}");

    a_recall_finds(owner, &first, &first_key, &buyer).await;

    // Whoever ships it on is found, and the stock does not fall twice.
    captured(owner, &[shipped("urn:x:on", &hour(15), &[PALLET], BUYER)]).await;
    assert_eq!(left(&first).await, kilograms("40"));
    let graph = trace(owner, &first, "direction=forward").await;
    let to: Vec<&Value> =
        dispatched(&graph, &first_key).iter().map(|sent| &sent["partner"]).collect();
    assert_eq!(to, [&json!(buyer_uri), &json!(BUYER_KEY)]);
    withdraw(owner, "urn:x:on").await;

    // The pallet was not loaded: then nothing left.
    withdraw(owner, "urn:x:load").await;
    assert_eq!(left(&first).await, kilograms("100"));
    // Unloaded as a whole before it left, nothing left either.
    let pallet = json!({ "childEPCs": [PALLET] });
    captured(
        owner,
        &[
            packed("urn:x:load-2", &hour(10), "ADD", CONTAINER, pallet),
            packed("urn:x:unload", &hour(11), "DELETE", CONTAINER, json!({})),
        ],
    )
    .await;
    assert_eq!(left(&first).await, kilograms("100"));
    withdraw(owner, "urn:x:unload").await;
    assert_eq!(left(&first).await, kilograms("40"));
    // Units that are said to hold each other end.
    let container = json!({ "childEPCs": [CONTAINER] });
    captured(owner, &[packed("urn:x:circle", &hour(7), "ADD", PALLET, container)]).await;
    assert_eq!(left(&first).await, kilograms("40"));
    tenant.finish().await;
}

#[tokio::test]
async fn what_is_in_a_case_leaves_with_it_though_the_lot_of_the_case_is_stated() {
    let stack = Stack::load();
    let tenant = stack.tenant("case", &[Role::Viewer]).await;
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let (cheese, gtin) = product(owner, "Cheese").await;
    let (_, case_gtin) = product(owner, "Cheese, a case").await;
    let inside = batch(owner, &cheese, "C-1").await;
    let case = format!("https://id.gs1.org/01/{case_gtin:0>14}/10/K-1/21/7");
    let cheeses = json!({ "childQuantityList": [amount(&uri(&gtin, "C-1"), 60.0)] });
    captured(
        owner,
        &[
            packed("urn:x:pack", &hour(8), "ADD", &case, cheeses),
            packed("urn:x:load", &hour(9), "ADD", PALLET, json!({ "childEPCs": [case] })),
            shipped("urn:x:ship", &hour(10), &[PALLET], BUYER),
        ],
    )
    .await;
    let shown = evidence(viewer, &inside, "").await;
    let dispatch = &shown["dispatches"][0];
    assert_eq!(shown["balance"]["stock"], kilograms("40"), "{shown}");
    assert_eq!(dispatch["within"], json!(format!("01/{case_gtin:0>14}/21/7")));
    assert_eq!(dispatch["partner"], json!(BUYER_KEY));
    assert!(shown["missing"].to_string().contains(BUYER_KEY), "{shown}");

    // What stands on the case leads to its lot, which left as one piece.
    let graph = trace(viewer, &escaped(&escaped(&case)), "direction=forward").await;
    let case_lot = key(&case_gtin, "K-1");
    assert_eq!(graph["start"], json!(case_lot));
    let sent = dispatched(&graph, &case_lot);
    assert_eq!((sent.len(), &sent[0]["quantity"]), (1, &json!("1")), "{graph}");

    // Who has the GLN is the customer, and no case is among the goods.
    let buyer = json!({ "name": "Buyer", "country": "IE", "gln": "4000001000050" });
    let buyer = owner.post("/v1/customers", &buyer).await.expect(201).id();
    let shown = evidence(viewer, &inside, "").await;
    assert_eq!(shown["customers"][0]["id"], json!(buyer), "{shown}");
    a_recall_finds(owner, &inside, &key(&gtin, "C-1"), &buyer).await;
    tenant.finish().await;
}

#[tokio::test]
async fn a_lot_that_only_events_name_is_traced_by_its_identifier() {
    let stack = Stack::load();
    let (tenant, other) =
        futures::join!(stack.tenant("named", &[Role::Viewer]), stack.tenant("named-other", &[]));
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let (soup, gtin) = product(owner, "Soup").await;
    let recorded = batch(owner, &soup, "S-1").await;
    let leek = "urn:epc:class:lgtin:4012345.066666.leek%2F1";
    let members = json!({
        "type": "TransformationEvent",
        "inputQuantityList": [amount(leek, 12.0)],
        "outputQuantityList": [amount(&uri(&gtin, "S-1"), 10.0)],
    });
    captured(owner, &[event("urn:x:soup", AT, members)]).await;

    let (leek_key, soup_key) = ("01/04012345666663/10/leek/1", key(&gtin, "S-1"));
    let link = "https://id.gs1.org/01/04012345666663/10/leek%2F1";
    let twice = |identifier: &str| escaped(&escaped(identifier));
    for name in [escaped(leek), twice(link), twice(leek_key)] {
        let graph = trace(viewer, &name, "direction=forward").await;
        assert_eq!(graph["start"], leek_key, "{name}");
        assert_eq!(lots(&graph), set([leek_key, &soup_key]), "{name}");
        let shown = evidence(viewer, &name, "").await;
        assert_eq!((&shown["batch"], &shown["lot"]), (&json!(null), &json!(leek_key)));
        assert_eq!(shown["made_into"], json!([soup_key]));
        let missing = shown["missing"].to_string();
        assert!(missing.contains("Whom it came from") && missing.contains("animal origin"));
    }
    let answer = viewer.request("GET", &format!("/v1/batches/{}/trace", escaped(leek)));
    let table = answer.header("accept", "text/csv").send().await.expect(200);
    assert!(String::from_utf8_lossy(&table.body).contains(leek_key));
    // A lot that is ours too is the same by its identifier.
    let shown = evidence(viewer, &twice(&uri(&gtin, "S-1")), "").await;
    assert_eq!(shown["batch"]["id"], json!(recorded), "{shown}");
    assert_eq!(shown, evidence(viewer, &recorded, "").await);

    // What nobody names is not there, nor is another tenant's; wrong digits are said.
    for name in
        [escaped("urn:epc:class:lgtin:4012345.066666.none"), "nonsense".into(), twice("01/9")]
    {
        for view in ["trace", "article-18"] {
            viewer.get(&format!("/v1/batches/{name}/{view}")).await.must(404);
        }
    }
    for view in ["trace", "article-18"] {
        let path = format!("/v1/batches/{}/{view}", escaped(leek));
        other.owner().get(&path).await.must(404);
        let wrong = twice("https://id.gs1.org/01/04012345666664/10/leek");
        let answer = viewer.get(&format!("/v1/batches/{wrong}/{view}")).await;
        assert_eq!(fields(&answer), ["id"]);
        let early = format!("{path}?as_of=2020-01-01T00:00:00Z");
        viewer.get(&early).await.must(404);
    }
    other.finish().await;
    tenant.finish().await;
}

#[tokio::test]
async fn what_went_into_production_is_balanced_against_what_came_out() {
    let stack = Stack::load();
    let tenant = stack.tenant("yield", &[Role::Viewer]).await;
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let (flour, flour_gtin) = product(owner, "Flour").await;
    let (bread, bread_gtin) = product(owner, "Bread").await;
    let flour = batch(owner, &flour, "F-1").await;
    let flour_uri = uri(&flour_gtin, "F-1");
    let bread_uri = uri(&bread_gtin, "B-1");
    // Two bakes: one by the plain route, one told of in two events and in other units.
    let baked = json!({
        "at": AT, "inputs": [portion(&flour, "40", "KGM")],
        "outputs": [lot(&bread, "B-1", "38500", "GRM")],
    });
    let baked = owner.post("/v1/transformations", &baked).await.expect(201).json();
    let bread = baked["batches"][0].as_str().unwrap().to_owned();
    let part = |id: &str, members: Value| {
        let mut members = members;
        members["type"] = "TransformationEvent".into();
        members["transformationID"] = "urn:x:transformation:bake-2".into();
        event(id, AT, members)
    };
    let water = "urn:epc:class:lgtin:4012345.066666.water";
    captured(
        owner,
        &[
            part(
                "urn:x:bake-in",
                json!({ "inputQuantityList": [
                    { "epcClass": flour_uri, "quantity": 0.02, "uom": "TNE" },
                    { "epcClass": water, "quantity": 11, "uom": "LTR" },
                    { "epcClass": "urn:epc:class:lgtin:4012345.066666.yeast", "quantity": 2, "uom": "CT" },
                ] }),
            ),
            part("urn:x:bake-out", json!({ "outputQuantityList": [amount(&bread_uri, 21.3)] })),
        ],
    )
    .await;
    let compared = json!([{
        "unit": "KGM", "input": "60", "output": "59.8", "unaccounted": "0.2",
        "unaccounted_percent": "0.33",
    }]);
    let rest = json!([
        { "side": "input", "reason": "unknown_unit", "unit": "CT", "quantity": "2", "lots": 1 },
        { "side": "input", "reason": "other_dimension", "unit": "LTR", "quantity": "11", "lots": 1 },
    ]);
    let shown = evidence(viewer, &bread, "").await;
    let production = &shown["production"];
    assert_eq!(production["limits"], json!([]));
    assert_eq!(production["made"]["transformations"], 2, "{production}");
    assert_eq!(production["made"]["compared"], compared, "{production}");
    assert_eq!(production["made"]["not_compared"], rest, "{production}");
    assert_eq!(production["used"]["transformations"], 0);
    // The same seen from what went in, whose commissioning is no transformation.
    let shown = evidence(viewer, &flour, "").await;
    assert_eq!(shown["production"]["used"]["compared"], compared, "{shown}");
    assert_eq!(shown["production"]["made"]["transformations"], 0);

    // Without the outputs of the second there is nothing to compare it with.
    withdraw(owner, "urn:x:bake-out").await;
    let shown = evidence(viewer, &flour, "").await;
    let used = &shown["production"]["used"];
    assert_eq!(
        used["compared"],
        json!([{
            "unit": "KGM", "input": "40", "output": "38.5", "unaccounted": "1.5",
            "unaccounted_percent": "3.75",
        }]),
        "{used}"
    );
    let flour_left = used["not_compared"].as_array().unwrap().iter();
    assert_eq!(flour_left.filter(|rest| rest["unit"] == "TNE").count(), 1, "{used}");
    tenant.finish().await;
}
