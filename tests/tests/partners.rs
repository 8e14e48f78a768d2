//! What partners' documents name, items with their lots and businesses by GLN, and
//! what they tell of themselves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use keystone::http::escaped;
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

/// The Digital Link of a place.
fn place(gln: &str) -> String {
    format!("https://id.gs1.org/414/{gln}")
}

/// What happens at this hour at the place with this GLN.
fn at(hour: u8, gln: &str, kind: &str, more: &Value) -> Value {
    let mut event = shipped(more);
    event["type"] = kind.into();
    event["eventTime"] = format!("2026-03-01T{hour:02}:00:00Z").into();
    event["readPoint"] = json!({ "id": place(gln) });
    event
}

fn kilograms(class: &str, amount: u32) -> Value {
    json!([{ "epcClass": class, "quantity": amount, "uom": "KGM" }])
}

/// What stands of a lot, by its Digital Link.
async fn of_lot(owner: &Client, lot: &str) -> Value {
    let lot = escaped(&escaped(lot));
    owner.get(&format!("/v1/batches/{lot}/article-18")).await.expect(200).json()
}

fn stock(shown: &Value) -> &Value {
    &shown["balance"]["stock"]
}

fn weight(kilograms: &str) -> Value {
    json!([{ "value": kilograms, "unit": "KGM" }])
}

#[tokio::test]
async fn what_partners_did_with_a_lot_is_none_of_our_stock() {
    let stack = Stack::load();
    let tenant = stack.tenant("theirs", &[]).await;
    let owner = tenant.owner();
    let dairy = samples::site();
    let ours = dairy["gln"].as_str().unwrap();
    owner.post("/v1/sites", &dairy).await.must(201);
    let (farm, shop, kiosk) = (samples::gtin(), samples::gtin(), samples::gtin());
    let supplier = partner(owner, "suppliers", &farm).await;
    let customer = partner(owner, "customers", &shop).await;
    partner(owner, "customers", &kiosk).await;
    let gtin = samples::gtin();
    let class = |lot: &str| format!("https://id.gs1.org/01/{gtin:0>14}/10/{lot}");
    let (hay, milk, cheese) = (class("HAY"), class("MILK"), class("CHEESE"));
    let parties = |side: &str, gln: &str| json!([{ "type": "possessing_party", side: place(gln) }]);
    let moves = |step: &str, lot: &str, amount, from: &str, to: &str| {
        json!({
            "bizStep": step, "quantityList": kilograms(lot, amount),
            "sourceList": parties("source", from), "destinationList": parties("destination", to),
            "bizTransactionList": [{ "type": "desadv", "bizTransaction": "urn:x:1" }],
        })
    };
    let (of, transaction) = ("ObjectEvent", "TransactionEvent");
    let made = |from: &str, amount, to: &str, out| {
        let mut event = json!({
            "inputQuantityList": kilograms(from, amount),
            "outputQuantityList": kilograms(to, out),
        });
        event["bizStep"] = "commissioning".into();
        event
    };
    let without_action = |mut event: Value| {
        event.as_object_mut().unwrap().remove("action");
        event
    };
    captured(
        owner,
        &[
            without_action(at(1, &farm, "TransformationEvent", &made(&hay, 900, &milk, 300))),
            at(2, &farm, transaction, &moves("shipping", &milk, 100, &farm, ours)),
            // The farm has other customers too.
            at(2, &farm, of, &moves("shipping", &milk, 200, &farm, "4000001000050")),
            at(3, ours, transaction, &moves("receiving", &milk, 100, &farm, ours)),
            without_action(at(4, ours, "TransformationEvent", &made(&milk, 60, &cheese, 50))),
            at(5, ours, transaction, &moves("shipping", &cheese, 30, ours, &shop)),
            at(6, &shop, of, &moves("receiving", &cheese, 30, ours, &shop)),
            at(7, &shop, of, &moves("shipping", &cheese, 20, &shop, &kiosk)),
            at(8, &shop, of, &json!({
                "action": "DELETE", "bizStep": "destroying", "quantityList": kilograms(&cheese, 5),
            })),
        ],
    )
    .await;

    let shown = of_lot(owner, &milk).await;
    assert_eq!(stock(&shown), &weight("40"), "{shown}");
    assert_eq!(ids(&shown["suppliers"]), [supplier.as_str()], "{shown}");
    assert_eq!((&shown["dispatches"], &shown["customers"]), (&json!([]), &json!([])), "{shown}");
    assert_eq!(shown["balance"]["incoming"], weight("100"), "{shown}");
    let shown = of_lot(owner, &cheese).await;
    assert_eq!(stock(&shown), &weight("20"), "{shown}");
    assert_eq!(ids(&shown["customers"]), [customer.as_str()], "{shown}");
    assert_eq!(shown["dispatches"].as_array().unwrap().len(), 1, "{shown}");

    // A trace goes on through what the farm made, and says no amount of it.
    let path = format!("/v1/batches/{}/trace?direction=back", escaped(&escaped(&cheese)));
    let graph = owner.get(&path).await.expect(200).json();
    let lots: Vec<&Value> =
        graph["nodes"].as_array().unwrap().iter().map(|node| &node["lot"]).collect();
    let keys = ["CHEESE", "MILK", "HAY"].map(|lot| json!(key(&gtin, lot)));
    assert_eq!(lots, keys.iter().collect::<Vec<_>>(), "{graph}");
    assert_eq!(graph["nodes"][1]["produced"], json!([]), "{graph}");
    assert_eq!(graph["nodes"][2]["consumed"], json!([]), "{graph}");
    tenant.finish().await;
}

#[tokio::test]
async fn what_goes_between_our_sites_has_not_left() {
    let stack = Stack::load();
    let tenant = stack.tenant("between", &[]).await;
    let owner = tenant.owner();
    let (dairy, depot) = (samples::site(), samples::site());
    for site in [&dairy, &depot] {
        owner.post("/v1/sites", site).await.must(201);
    }
    let (dairy, depot) = (dairy["gln"].as_str().unwrap(), depot["gln"].as_str().unwrap());
    let shop = samples::gtin();
    let customer = partner(owner, "customers", &shop).await;
    let gtin = samples::gtin();
    let lot = format!("https://id.gs1.org/01/{gtin:0>14}/10/C-1");
    let to = |gln: &str| json!([{ "type": "location", "destination": place(gln) }]);
    let pallet = "urn:epc:id:sscc:0614141.1234567890";
    let of = "ObjectEvent";
    captured(
        owner,
        &[
            at(1, dairy, of, &json!({
                "action": "ADD", "bizStep": "commissioning", "quantityList": kilograms(&lot, 100),
            })),
            at(2, dairy, of, &json!({
                "bizStep": "shipping", "quantityList": kilograms(&lot, 40),
                "destinationList": to(depot),
            })),
            at(3, depot, of, &json!({
                "bizStep": "receiving", "quantityList": kilograms(&lot, 40),
            })),
            at(4, depot, of, &json!({
                "bizStep": "accepting", "quantityList": kilograms(&lot, 40),
            })),
        ],
    )
    .await;
    let shown = of_lot(owner, &lot).await;
    assert_eq!(stock(&shown), &weight("100"), "{shown}");
    assert_eq!((&shown["receipts"], &shown["dispatches"]), (&json!([]), &json!([])), "{shown}");

    // On a pallet, which is received as it is, and its lot then; and on to a customer.
    let packed = json!({
        "action": "ADD", "bizStep": "packing", "parentID": pallet,
        "childQuantityList": kilograms(&lot, 30),
    });
    // Who ships it sees what is on it.
    let moved = |step: &str, gln: &str| {
        json!({
            "bizStep": step, "parentID": pallet, "destinationList": to(gln),
            "childEPCs": ["urn:epc:id:sscc:0614141.0000000001"],
        })
    };
    captured(
        owner,
        &[
            at(5, dairy, "AggregationEvent", &packed),
            at(6, dairy, "AggregationEvent", &moved("shipping", depot)),
            at(7, depot, of, &json!({ "bizStep": "receiving", "epcList": [pallet] })),
            at(
                8,
                depot,
                of,
                &json!({
                    "bizStep": "receiving", "quantityList": kilograms(&lot, 30),
                }),
            ),
        ],
    )
    .await;
    let shown = of_lot(owner, &lot).await;
    assert_eq!(stock(&shown), &weight("100"), "{shown}");
    captured(
        owner,
        &[
            at(9, depot, "AggregationEvent", &moved("shipping", &shop)),
            // The lot departs with the pallet that was shipped.
            at(
                10,
                depot,
                of,
                &json!({
                    "bizStep": "departing", "quantityList": kilograms(&lot, 30),
                    "destinationList": to(&shop),
                }),
            ),
        ],
    )
    .await;
    let shown = of_lot(owner, &lot).await;
    assert_eq!(stock(&shown), &weight("70"), "{shown}");
    assert_eq!(ids(&shown["customers"]), [customer.as_str()], "{shown}");
    tenant.finish().await;
}

#[tokio::test]
async fn a_customer_is_known_by_what_they_received_and_by_any_of_their_names() {
    let stack = Stack::load();
    let tenant = stack.tenant("names", &[]).await;
    let owner = tenant.owner();
    let (dairy, shop) = (samples::site(), samples::gtin());
    owner.post("/v1/sites", &dairy).await.must(201);
    let dairy = dairy["gln"].as_str().unwrap();
    let buyer = partner(owner, "customers", &shop).await;
    let (cheese, gtin) = product(owner, "Cheese").await;
    let entered = json!({
        "product_id": cheese, "lot_number": "C-1", "quantity": { "value": "100", "unit": "KGM" },
    });
    let batch = owner.post("/v1/batches", &entered).await.expect(201).id();
    let class = |lot: &str| format!("https://id.gs1.org/01/{gtin:0>14}/10/{lot}");
    let party = |side: &str, kind: &str, key: String| json!([{ "type": kind, side: format!("https://id.gs1.org/{key}") }]);

    // Entered by us under their id, told by the carrier under their GLN, and by them.
    let dispatch = json!({
        "customer_id": buyer, "at": "2026-03-01T05:00:00Z",
        "lots": [{ "batch_id": batch, "quantity": { "value": "30", "unit": "KGM" } }],
    });
    owner.post("/v1/dispatches", &dispatch).await.must(201);
    captured(
        owner,
        &[
            at(
                6,
                dairy,
                "ObjectEvent",
                &json!({
                    "bizStep": "departing", "quantityList": kilograms(&class("C-1"), 30),
                    "destinationList": party("destination", "owning_party", format!("417/{shop}")),
                }),
            ),
            at(
                7,
                &shop,
                "ObjectEvent",
                &json!({
                    "bizStep": "receiving", "quantityList": kilograms(&class("C-1"), 30),
                    "sourceList": party("source", "location", format!("414/{dairy}")),
                }),
            ),
            // Of this one nobody told that it was shipped.
            at(
                1,
                dairy,
                "ObjectEvent",
                &json!({
                    "action": "ADD", "bizStep": "commissioning",
                    "quantityList": kilograms(&class("C-2"), 50),
                }),
            ),
            at(
                7,
                &shop,
                "ObjectEvent",
                &json!({
                    "bizStep": "receiving", "quantityList": kilograms(&class("C-2"), 20),
                    "sourceList": party("source", "location", format!("414/{dairy}")),
                }),
            ),
        ],
    )
    .await;
    let shown = evidence(owner, &batch).await;
    assert_eq!(stock(&shown), &weight("70"), "{shown}");
    assert_eq!(ids(&shown["customers"]), [buyer.as_str()], "{shown}");
    let shown = of_lot(owner, &class("C-2")).await;
    assert_eq!(stock(&shown), &weight("30"), "{shown}");
    assert_eq!(ids(&shown["customers"]), [buyer.as_str()], "{shown}");

    // What they told that they received can still be entered, once.
    let entered = json!({
        "product_id": cheese, "lot_number": "C-3", "quantity": { "value": "100", "unit": "KGM" },
    });
    let batch = owner.post("/v1/batches", &entered).await.expect(201).id();
    let received = at(
        7,
        &shop,
        "ObjectEvent",
        &json!({
            "bizStep": "receiving", "quantityList": kilograms(&class("C-3"), 100),
            "sourceList": party("source", "location", format!("414/{dairy}")),
        }),
    );
    captured(owner, &[received]).await;
    let dispatch = |kilograms: &str| {
        json!({
            "customer_id": buyer, "at": "2026-03-01T05:00:00Z",
            "lots": [{ "batch_id": batch, "quantity": { "value": kilograms, "unit": "KGM" } }],
        })
    };
    assert_eq!(
        fields(&owner.post("/v1/dispatches", &dispatch("101")).await),
        ["/lots/0/quantity/value"]
    );
    owner.post("/v1/dispatches", &dispatch("100")).await.must(201);
    assert_eq!(
        fields(&owner.post("/v1/dispatches", &dispatch("1")).await),
        ["/lots/0/quantity/value"]
    );
    let shown = evidence(owner, &batch).await;
    assert_eq!(stock(&shown), &weight("0"), "{shown}");
    assert_eq!(shown["dispatches"].as_array().unwrap().len(), 1, "{shown}");
    tenant.finish().await;
}
