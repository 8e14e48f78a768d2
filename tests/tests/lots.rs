//! Lots from farm to customer: receipts, transformations, dispatches, stock,
//! trace, Art. 18 and mass balance.
#![expect(clippy::too_many_lines, reason = "a test tells one story")]

use std::collections::BTreeSet;

use futures::future::join_all;
use keystone::auth::Role;
use keystone_tests::goods::{AT, captured, fields, lot, made, portion, product};
use keystone_tests::{Stack, samples};
use serde_json::{Value, json};

#[tokio::test]
async fn a_contaminated_farm_lot_leads_to_every_customer() {
    let stack = Stack::load();
    let tenant = stack.tenant("dairy", &[Role::Viewer]).await;
    let owner = tenant.owner();
    let site = owner.post("/v1/sites", &samples::site()).await.expect(201).id();
    owner.get("/v1/sites").await.must(200);
    let (milk, milk_gtin) = product(owner, "Raw milk").await;
    let (cheese, cheese_gtin) = product(owner, "Farmhouse cheese").await;
    let (packed, packed_gtin) = product(owner, "Farmhouse cheese, 250 g").await;

    // Milk from three farms.
    let mut farms = Vec::new();
    for (index, litres) in ["1200.250", "800.125", "999.625"].iter().enumerate() {
        let supplier = owner
            .post("/v1/suppliers", &samples::supplier(&samples::iban()))
            .await
            .expect(201)
            .id();
        let receipt = json!({
            "supplier_id": supplier, "at": AT, "site_id": site,
            "lots": [lot(&milk, &format!("MILK-{index}"), litres, "LTR")],
        });
        farms.push((supplier, made(owner, "/v1/receipts", receipt).await.remove(0)));
    }
    // Two batches of cheese: the first of farms 0 and 1, the second of 2.
    let first = made(
        owner,
        "/v1/transformations",
        json!({
            "at": AT, "site_id": site,
            "inputs": [portion(&farms[0].1, "1200.25", "LTR"), portion(&farms[1].1, "800", "LTR")],
            "outputs": [lot(&cheese, "CHEESE-1", "200.5", "KGM")],
        }),
    )
    .await
    .remove(0);
    let second = made(
        owner,
        "/v1/transformations",
        json!({
            "at": AT, "inputs": [portion(&farms[2].1, "999.625", "LTR")],
            "outputs": [lot(&cheese, "CHEESE-2", "100", "KGM")],
        }),
    )
    .await
    .remove(0);
    // Repacked: one lot of the first, one of both.
    let pure = made(
        owner,
        "/v1/transformations",
        json!({
            "at": AT, "inputs": [portion(&first, "100.5", "KGM")],
            "outputs": [lot(&packed, "PACK-1", "100250", "GRM")],
        }),
    )
    .await
    .remove(0);
    let mixed = made(
        owner,
        "/v1/transformations",
        json!({
            "at": AT, "inputs": [portion(&first, "0.1", "TNE"), portion(&second, "50", "KGM")],
            "outputs": [lot(&packed, "PACK-2", "150", "KGM")],
        }),
    )
    .await
    .remove(0);
    owner
        .post("/v1/waste", &json!({ "at": AT, "lots": [portion(&pure, "250", "GRM")] }))
        .await
        .must(201);

    // Fourteen customers: seven of each pack, and nobody of what is left of the second.
    let mut customers = Vec::new();
    for index in 0..14 {
        let customer = samples::customer(&format!("{index} Quay Street"), "+353861234567");
        customers.push(owner.post("/v1/customers", &customer).await.expect(201).id());
    }
    for (index, customer) in customers.iter().enumerate() {
        let (batch, grams) = if index < 7 { (&pure, "14285") } else { (&mixed, "21000") };
        owner
            .post(
                "/v1/dispatches",
                &json!({
                    "customer_id": customer, "at": AT, "site_id": site,
                    "lots": [portion(batch, grams, "GRM")],
                }),
            )
            .await
            .must(201);
    }

    // Farm 0 is contaminated: exactly these lots, customers and amounts.
    let path = format!("/v1/batches/{}/trace?direction=forward", farms[0].1);
    let graph = tenant.user(Role::Viewer).get(&path).await.expect(200).json();
    let key = |gtin: &str, lot: &str| format!("01/{gtin:0>14}/10/{lot}");
    let nodes = graph["nodes"].as_array().unwrap();
    let lots: BTreeSet<&str> = nodes.iter().map(|node| node["lot"].as_str().unwrap()).collect();
    let expected = [
        key(&milk_gtin, "MILK-0"),
        key(&cheese_gtin, "CHEESE-1"),
        key(&packed_gtin, "PACK-1"),
        key(&packed_gtin, "PACK-2"),
    ];
    assert_eq!(lots, expected.iter().map(String::as_str).collect());
    let mut reached: Vec<(String, String)> = nodes
        .iter()
        .flat_map(|node| node["partners"].as_array().unwrap())
        .filter(|partner| partner["role"] == "dispatched")
        .map(|partner| {
            let id = partner["partner"].as_str().unwrap().replace("urn:uuid:", "");
            (id, partner["quantity"].as_str().unwrap().to_owned())
        })
        .collect();
    reached.sort();
    let mut all: Vec<(String, String)> = customers
        .iter()
        .enumerate()
        .map(|(index, id)| (id.clone(), if index < 7 { "14285" } else { "21000" }.to_owned()))
        .collect();
    all.sort();
    assert_eq!(reached, all);
    assert_eq!((&graph["truncated"], graph["edges"].as_array().unwrap().len()), (&json!(false), 3));
    // Farm 2 reaches the seven customers of the mixed pack only.
    let path = format!("/v1/batches/{}/trace?direction=forward", farms[2].1);
    let graph = owner.get(&path).await.expect(200).json();
    let count = graph["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|node| node["partners"].as_array().unwrap())
        .filter(|partner| partner["role"] == "dispatched")
        .count();
    assert_eq!(count, 7);
    // Back from the mixed pack to all three farms, with a limit said.
    let back = |depth: &str| format!("/v1/batches/{mixed}/trace?direction=back{depth}");
    let graph = owner.get(&back("")).await.expect(200).json();
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 6);
    let graph = owner.get(&back("&depth=1")).await.expect(200).json();
    assert_eq!((&graph["truncated"], graph["nodes"].as_array().unwrap().len()), (&json!(true), 3));
    assert_eq!(graph["limits"], json!(["depth"]));
    let graph = owner.get(&format!("/v1/batches/{first}/trace")).await.expect(200).json();
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 5, "{graph}");
    owner.get(&back("&depth=0")).await.must(422);

    // Mass balance to the gram: in = out + stock + waste.
    let evidence = owner.get(&format!("/v1/batches/{pure}/article-18")).await.expect(200);
    tenant.vouch_for(&evidence.request_id());
    let shown = evidence.json();
    let amount = |value: &str| json!([{ "value": value, "unit": "KGM" }]);
    let balance = &shown["balance"];
    assert_eq!(balance["incoming"], amount("100.25"), "{balance}");
    assert_eq!(balance["outgoing"], amount("99.995"));
    assert_eq!(balance["wasted"], amount("0.25"));
    assert_eq!(balance["stock"], amount("0.005"));
    assert_eq!(balance["unaccounted"], amount("0"));
    assert_eq!(shown["customers"].as_array().unwrap().len(), 7);
    assert_eq!(shown["customers"][0]["delivery_address"]["town"], "Ballyhaunis");
    assert_eq!(shown["made_of"], json!([key(&cheese_gtin, "CHEESE-1")]));
    assert_eq!(shown["missing"], json!([]), "{shown}");
    // Whom contact data is not for sees none.
    let path = format!("/v1/batches/{pure}/article-18");
    let masked = tenant.user(Role::Viewer).get(&path).await.expect(200);
    assert!(!String::from_utf8_lossy(&masked.body).contains("Ballyhaunis"), "{masked}");
    assert_eq!(masked.json()["customers"][0]["masked"], true);
    let path = format!("/v1/batches/{}/article-18", farms[1].1);
    let step = owner.get(&path).await.expect(200).json();
    assert_eq!(step["suppliers"][0]["id"].as_str(), Some(farms[1].0.as_str()));
    assert_eq!(step["balance"]["stock"], json!([{ "value": "0.125", "unit": "LTR" }]));

    // The plain routes made EPCIS events.
    let events = owner.get("/v1/events?perPage=100&EQ_bizStep=shipping").await.expect(200).json();
    let list = events["epcisBody"]["queryResults"]["resultsBody"]["eventList"].as_array().unwrap();
    assert_eq!(list.len(), 14);
    let uri = format!("https://id.gs1.org/01/{packed_gtin:0>14}/10/PACK-2");
    let events = owner.get(&format!("/v1/events?MATCH_anyEPCClass={uri}")).await.expect(200).json();
    let list = events["epcisBody"]["queryResults"]["resultsBody"]["eventList"].as_array().unwrap();
    assert_eq!(list.len(), 8);

    // What a document says goes into the same trace.
    let soup = json!({
        "type": "TransformationEvent", "eventTime": AT, "eventTimeZoneOffset": "+00:00",
        "inputQuantityList": [{ "epcClass": uri, "quantity": 1, "uom": "KGM" }],
        "outputQuantityList": [
            { "epcClass": "urn:epc:class:lgtin:4012345.066666.soup", "quantity": 9, "uom": "KGM" },
        ],
    });
    captured(owner, &[soup]).await;
    let path = format!("/v1/batches/{}/trace?direction=forward", farms[0].1);
    let graph = owner.get(&path).await.expect(200).json();
    assert!(graph.to_string().contains("01/04012345666663/10/soup"), "{graph}");
    tenant.finish().await;
}

#[tokio::test]
async fn nothing_is_taken_that_is_not_there() {
    let stack = Stack::load();
    let tenant = stack.tenant("stock", &[Role::Viewer]).await;
    let owner = tenant.owner();
    let (flour, _) = product(owner, "Flour").await;
    let (bread, _) = product(owner, "Bread").await;
    let supplier =
        owner.post("/v1/suppliers", &samples::supplier(&samples::iban())).await.expect(201).id();
    let customer = samples::customer("1 Quay Street", "+353861234567");
    let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
    let receipt = |value: &str, unit: &str| json!({ "supplier_id": supplier, "at": AT, "lots": [lot(&flour, "F-1", value, unit)] });
    for (value, field) in [
        ("-1", "/lots/0/quantity/value"),
        ("NaN", "/lots/0/quantity/value"),
        ("1e400", "/lots/0/quantity/value"),
        ("0", "/lots/0/quantity/value"),
        ("0.0000001", "/lots/0/quantity/value"),
    ] {
        let answer = owner.post("/v1/receipts", &receipt(value, "KGM")).await;
        assert_eq!(fields(&answer), [field], "{value}");
    }
    assert_eq!(
        fields(&owner.post("/v1/receipts", &receipt("1", "stone")).await),
        ["/lots/0/quantity/unit"]
    );
    tenant.user(Role::Viewer).post("/v1/receipts", &receipt("1", "KGM")).await.must(403);

    // Nothing happened before the year 2000 or is yet to happen.
    for at in ["1999-12-31T23:59:59Z", "2999-01-01T00:00:00Z"] {
        let mut receipt = receipt("1", "KGM");
        receipt["at"] = at.into();
        assert_eq!(fields(&owner.post("/v1/receipts", &receipt).await), ["/at"], "{at}");
        let mut event = samples::event();
        event["eventTime"] = at.into();
        assert_eq!(fields(&owner.post("/v1/events", &event).await), ["/eventTime"], "{at}");
        let mut document = samples::capture();
        document["epcisBody"]["eventList"][0] = event;
        let answer = owner.post("/v1/capture", &document).await;
        assert_eq!(fields(&answer), ["/epcisBody/eventList/0/eventTime"], "{at}");
    }

    let batch = made(owner, "/v1/receipts", receipt("10", "KGM")).await.remove(0);
    // The same lot again grows.
    assert_eq!(
        made(owner, "/v1/receipts", receipt("500", "GRM")).await,
        std::slice::from_ref(&batch)
    );
    // And is measured as it was.
    let otherwise = owner.post("/v1/receipts", &receipt("5", "LTR")).await;
    assert_eq!(fields(&otherwise), ["/lots/0/quantity/unit"]);
    let mut empty = samples::batch(&flour);
    empty["quantity"]["value"] = "0".into();
    assert_eq!(fields(&owner.post("/v1/batches", &empty).await), ["/quantity/value"]);
    let dispatch = |lots: Value| json!({ "customer_id": customer, "at": AT, "lots": lots });
    for (lots, field) in [
        (json!([portion(&batch, "10.501", "KGM")]), "/lots/0/quantity/value"),
        (
            json!([portion(&batch, "10", "KGM"), portion(&batch, "501", "GRM")]),
            "/lots/1/quantity/value",
        ),
        (json!([portion(&batch, "1", "LTR")]), "/lots/0/quantity/unit"),
        (json!([portion(&customer, "1", "KGM")]), "/lots/0/batch_id"),
        (json!([]), "/lots"),
    ] {
        let answer = owner.post("/v1/dispatches", &dispatch(lots)).await;
        assert_eq!(fields(&answer), [field]);
    }
    let answer = owner
        .post(
            "/v1/transformations",
            &json!({
                "at": AT, "inputs": [portion(&batch, "11", "KGM")],
                "outputs": [lot(&bread, "B-1", "0", "KGM"), lot(&customer, "B-2", "1", "KGM")],
            }),
        )
        .await;
    assert_eq!(
        fields(&answer),
        ["/inputs/0/quantity/value", "/outputs/0/quantity/value", "/outputs/1/product_id"]
    );
    // Nothing is left of what was refused.
    let batches = owner.get(&format!("/v1/batches?product_id={bread}")).await.expect(200).json();
    assert_eq!(batches["items"], json!([]));

    // Two take the last at once: one gets it.
    let last = dispatch(json!([portion(&batch, "10.5", "KGM")]));
    let answers = join_all((0..2).map(|_| owner.post("/v1/dispatches", &last))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 422]);
    let evidence = owner.get(&format!("/v1/batches/{batch}/article-18")).await.expect(200);
    tenant.vouch_for(&evidence.request_id());
    assert_eq!(evidence.json()["balance"]["stock"], json!([{ "value": "0", "unit": "KGM" }]));

    // A batch on hold is not to be used.
    let held = made(
        owner,
        "/v1/receipts",
        json!({
            "supplier_id": supplier, "at": AT, "lots": [lot(&flour, "F-2", "1", "KGM")],
        }),
    )
    .await
    .remove(0);
    let path = format!("/v1/batches/{held}");
    owner.patch(&path, "\"1\"", &json!({ "state": "on_hold" })).await.must(200);
    let answer = owner.post("/v1/dispatches", &dispatch(json!([portion(&held, "1", "KGM")]))).await;
    assert_eq!(fields(&answer), ["/lots/0/batch_id"]);
    // But it can be thrown away, also once it is withdrawn, as far as it is there.
    let waste = |value: &str| json!({ "at": AT, "lots": [portion(&held, value, "KGM")] });
    owner.post("/v1/waste", &waste("0.4")).await.must(201);
    owner.patch(&path, "\"2\"", &json!({ "state": "withdrawn" })).await.must(200);
    owner.post("/v1/waste", &waste("0.6")).await.must(201);
    let answer = owner.post("/v1/waste", &waste("0.1")).await;
    assert_eq!(fields(&answer), ["/lots/0/quantity/value"]);
    tenant.finish().await;
}
