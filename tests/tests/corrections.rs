//! Errors that are declared, counts, and what was believed when; a trace in all
//! its forms.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it leaves out"
)]

use keystone::auth::Role;
use keystone::http::escaped;
use keystone_tests::goods::{
    AT, customer, document, fields, key, lot, made, portion, product, supplier,
};
use keystone_tests::{Answer, Client, Stack, samples, stack};
use serde_json::{Value, json};

/// The stock of a batch, as the Art. 18 view has it.
async fn evidence(owner: &Client, batch: &str, query: &str) -> Value {
    owner.get(&format!("/v1/batches/{batch}/article-18{query}")).await.expect(200).json()
}

fn kilograms(value: &str) -> Value {
    json!([{ "value": value, "unit": "KGM" }])
}

/// This moment, once it is over, so that what follows comes later.
async fn now() -> String {
    let now = keystone::clock::now();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    escaped(&now.to_string())
}

async fn events(owner: &Client, query: &str) -> Vec<Value> {
    let page = owner.get(&format!("/v1/events{query}")).await.expect(200).json();
    page["epcisBody"]["queryResults"]["resultsBody"]["eventList"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_was_declared_wrong_counts_until_then() {
    let stack = Stack::load();
    let tenant = stack.tenant("corrections", &[Role::Viewer]).await;
    let owner = tenant.owner();
    let (flour, flour_gtin) = product(owner, "Flour").await;
    let (bread, bread_gtin) = product(owner, "Bread").await;
    let supplier = supplier(owner).await;
    let receipt = |value: &str| json!({ "supplier_id": supplier, "at": AT, "lots": [lot(&flour, "F-1", value, "KGM")] });
    let first = owner.post("/v1/receipts", &receipt("100")).await.expect(201).json();
    let batch = first["batches"][0].as_str().unwrap().to_owned();
    let baked = owner
        .post(
            "/v1/transformations",
            &json!({
                "at": AT, "inputs": [portion(&batch, "40", "KGM")],
                "outputs": [lot(&bread, "B-1", "55", "KGM")],
            }),
        )
        .await
        .expect(201)
        .json();
    let before = now().await;
    assert_eq!(evidence(owner, &batch, "").await["balance"]["stock"], kilograms("60"));

    // It was 10 kg, not 100: the right receipt first, then the declaration.
    let right = owner.post("/v1/receipts", &receipt("10")).await.expect(201).json();
    let between = now().await;
    let path = format!("/v1/events/{}/error-declaration", first["id"].as_str().unwrap());
    let body = json!({
        "reason": "incorrect_data", "corrective_event_ids": [right["event_id"]],
    });
    tenant.user(Role::Viewer).post(&path, &body).await.must(403);
    for (wrong, field) in [
        (json!({}), "/reason"),
        (json!({ "reason": "boredom" }), "/reason"),
        (
            json!({ "reason": "did_not_occur", "corrective_event_ids": ["urn:x:nothing"] }),
            "/corrective_event_ids/0",
        ),
        (
            json!({ "reason": "did_not_occur", "corrective_event_ids": [first["event_id"]] }),
            "/corrective_event_ids/0",
        ),
    ] {
        assert_eq!(fields(&owner.post(&path, &wrong).await), [field]);
    }
    let declared = owner.post(&path, &body).await.expect(201).json();
    // What was baked of it is more than there was: said, not refused.
    let overdrawn = json!([{ "lot": key(&flour_gtin, "F-1"), "left": kilograms("-30") }]);
    assert_eq!(declared["overdrawn"], overdrawn, "{declared}");
    owner.post(&path, &body).await.must(409);
    let again = format!("/v1/events/{}/error-declaration", declared["id"].as_str().unwrap());
    owner.post(&again, &body).await.must(409);
    let dispatch = json!({
        "customer_id": customer(owner).await, "at": AT, "lots": [portion(&batch, "1", "KGM")],
    });
    assert_eq!(fields(&owner.post("/v1/dispatches", &dispatch).await), ["/lots/0/quantity/value"]);

    // Now, and what was believed then.
    for (query, incoming, stock, unaccounted, receipts) in [
        (String::new(), "10", "0", "-30", 1),
        (format!("?as_of={between}"), "110", "70", "0", 2),
        (format!("?as_of={before}"), "100", "60", "0", 1),
    ] {
        let shown = evidence(owner, &batch, &query).await;
        assert_eq!(shown["balance"]["incoming"], kilograms(incoming), "{query}: {shown}");
        assert_eq!(shown["balance"]["stock"], kilograms(stock), "{query}");
        assert_eq!(shown["balance"]["unaccounted"], kilograms(unaccounted), "{query}");
        assert_eq!(shown["receipts"].as_array().unwrap().len(), receipts, "{query}");
    }
    let long_ago = evidence(owner, &batch, "?as_of=2020-01-01T00:00:00Z").await;
    assert_eq!(long_ago["balance"]["stock"], json!([]));
    let name = format!("https://id.gs1.org/01/{flour_gtin:0>14}/10/F-1");
    let about = format!("MATCH_anyEPCClass={name}&EQ_bizStep=receiving");
    assert_eq!(events(owner, &format!("?{about}")).await.len(), 3);
    assert_eq!(events(owner, &format!("?{about}&as_of={between}")).await.len(), 2);
    let believed = events(owner, &format!("?{about}&as_of={}", now().await)).await;
    assert_eq!(believed.len(), 1);
    assert_eq!(believed[0]["eventID"], right["event_id"]);
    let wrong = owner.get("/v1/events?as_of=yesterday").await;
    assert_eq!(fields(&wrong), ["as_of"]);
    let wrong = owner.get(&format!("/v1/batches/{batch}/trace?as_of=yesterday")).await;
    assert_eq!(fields(&wrong), ["as_of"]);

    // The baking never happened: the trace does not go on, but went.
    let path =
        format!("/v1/events/{}/error-declaration", escaped(baked["event_id"].as_str().unwrap()));
    let never = owner.post(&path, &json!({ "reason": "did_not_occur" })).await.expect(201).json();
    assert_eq!(never["overdrawn"], json!([]));
    let trace = format!("/v1/batches/{batch}/trace?direction=forward");
    let lots = |graph: &Value| graph["nodes"].as_array().unwrap().len();
    assert_eq!(lots(&owner.get(&trace).await.expect(200).json()), 1);
    let graph = owner.get(&format!("{trace}&as_of={between}")).await.expect(200).json();
    assert_eq!(lots(&graph), 2);
    assert_eq!(graph["edges"][0]["to"], key(&bread_gtin, "B-1"));
    assert_eq!(evidence(owner, &batch, "").await["balance"]["stock"], kilograms("10"));
    tenant.finish().await;
}

fn commissioning(id: &str, lot: &str) -> Value {
    json!({
        "type": "ObjectEvent", "eventID": id, "action": "ADD", "bizStep": "commissioning",
        "eventTime": AT, "eventTimeZoneOffset": "+00:00",
        "quantityList": [{ "epcClass": lot, "quantity": 5, "uom": "KGM" }],
    })
}

fn declaration(of: &Value) -> Value {
    let mut event = of.clone();
    event["errorDeclaration"] = json!({
        "declarationTime": "2026-03-02T08:00:00Z", "reason": "did_not_occur",
        "correctiveEventIDs": ["urn:x:right"],
    });
    event
}

#[tokio::test]
async fn a_captured_declaration_withdraws_in_whatever_order_it_comes() {
    let stack = Stack::load();
    let tenant = stack.tenant("declared", &[]).await;
    let owner = tenant.owner();
    let (product, gtin) = product(owner, "Cheese").await;
    let mut batch = samples::batch(&product);
    batch["lot_number"] = "C-1".into();
    batch["quantity"] = json!({ "value": "1", "unit": "KGM" });
    let batch = owner.post("/v1/batches", &batch).await.expect(201).id();
    let name = format!("https://id.gs1.org/01/{gtin:0>14}/10/C-1");
    let in_stock = async |expected: &str| {
        let shown = evidence(owner, &batch, "").await;
        assert_eq!(shown["balance"]["stock"], kilograms(expected), "{shown}");
    };
    let capture = async |events: &[Value]| {
        owner.post("/v1/capture", &document(events)).await.expect(202).json()
    };
    let (first, second) = (commissioning("urn:x:1", &name), commissioning("urn:x:2", &name));
    let (third, fourth) = (commissioning("urn:x:3", &name), commissioning("urn:x:4", &name));
    capture(&[first.clone(), second.clone()]).await;
    in_stock("11").await;
    // After the event, twice.
    capture(&[declaration(&first)]).await;
    in_stock("6").await;
    let job = capture(&[declaration(&first)]).await;
    assert_eq!((&job["known"], &job["captured"]), (&json!(1), &json!(0)));
    let mut other = declaration(&first);
    other["errorDeclaration"]["reason"] = "incorrect_data".into();
    capture(&[other]).await;
    in_stock("6").await;
    // Before the event; both in one document, in either order; one by one.
    capture(&[declaration(&third)]).await;
    capture(std::slice::from_ref(&third)).await;
    in_stock("6").await;
    capture(&[declaration(&fourth), fourth.clone(), commissioning("urn:x:5", &name)]).await;
    in_stock("11").await;
    owner.post("/v1/events", &declaration(&second)).await.must(201);
    in_stock("6").await;
    owner.post("/v1/events", &declaration(&commissioning("urn:x:6", &name))).await.must(201);
    owner.post("/v1/events", &commissioning("urn:x:6", &name)).await.must(201);
    in_stock("6").await;
    tenant.finish().await;
}

#[tokio::test]
async fn an_event_is_declared_wrong_a_hundred_times_and_no_more() {
    let stack = Stack::load();
    let tenant = stack.tenant("often", &[]).await;
    let owner = tenant.owner();
    let name = "urn:epc:class:lgtin:4012345.066666.often";
    let (event, other) = (commissioning("urn:x:often", name), commissioning("urn:x:other", name));
    let declared = |number: u32| {
        let mut declared = declaration(&event);
        let at = format!("2026-03-02T08:{:02}:{:02}Z", number / 60, number % 60);
        declared["errorDeclaration"]["declarationTime"] = at.into();
        declared
    };
    let capture = async |events: &[Value], behaviour: &str| {
        let request = owner.request("POST", "/v1/capture").json(&document(events));
        request.header("gs1-capture-error-behaviour", behaviour).send().await.expect(202).json()
    };
    let mut all = vec![event.clone()];
    all.extend((0..101).map(&declared));
    let job = capture(&all, "proceed").await;
    assert_eq!((&job["received"], &job["captured"]), (&json!(102), &json!(101)), "{job}");
    let errors = job["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{job}");
    assert_eq!(errors[0]["field"], "/epcisBody/eventList/101/eventID");
    assert_eq!(errors[0]["eventID"], "urn:x:often");
    assert!(errors[0]["message"].as_str().unwrap().contains("100"), "{job}");
    // Of a later document, and alone.
    let job = capture(&[declared(100), other.clone()], "rollback").await;
    assert_eq!((&job["success"], &job["captured"]), (&json!(false), &json!(0)), "{job}");
    owner.post("/v1/events", &declared(100)).await.must(409);
    // One that is there is known still, and another event has its own.
    let job = capture(&[declared(99), declaration(&other)], "rollback").await;
    assert_eq!((&job["known"], &job["captured"]), (&json!(1), &json!(1)), "{job}");
    tenant.finish().await;
}

#[tokio::test]
async fn a_batch_has_the_stock_that_it_was_made_with_and_counts_correct_it() {
    let stack = Stack::load();
    let tenant = stack.tenant("counts", &[Role::Viewer]).await;
    let owner = tenant.owner();
    let (jam, gtin) = product(owner, "Jam").await;
    let own = owner.post("/v1/batches", &lot(&jam, "J-1", "12.5", "KGM")).await.expect(201);
    let own = own.id();
    let mut bought = lot(&jam, "J-2", "3", "KGM");
    let supplier = supplier(owner).await;
    bought["supplier_id"] = supplier.clone().into();
    let bought = owner.post("/v1/batches", &bought).await.expect(201).id();
    owner.post("/v1/batches", &lot(&jam, "J-1", "1", "KGM")).await.must(409);
    for (batch, step, receipts) in [(&own, "commissioning", 0), (&bought, "receiving", 1)] {
        let shown = evidence(owner, batch, "").await;
        assert_eq!(shown["receipts"].as_array().unwrap().len(), receipts, "{shown}");
        let number = if receipts == 0 { "J-1" } else { "J-2" };
        let name = format!("https://id.gs1.org/01/{gtin:0>14}/10/{number}");
        let found = events(owner, &format!("?MATCH_epcClass={name}&EQ_bizStep={step}")).await;
        assert_eq!(found.len(), 1, "{step}");
    }
    assert_eq!(evidence(owner, &own, "").await["balance"]["stock"], kilograms("12.5"));
    let dispatch = json!({
        "customer_id": customer(owner).await, "at": AT, "lots": [portion(&own, "2.5", "KGM")],
    });
    owner.post("/v1/dispatches", &dispatch).await.must(201);

    let count = |difference: &str, value: &str| {
        json!({
            "at": AT, "batch_id": own, "difference": difference,
            "quantity": { "value": value, "unit": "KGM" }, "reason": "Count of 3 March",
        })
    };
    let path = "/v1/adjustments";
    tenant.user(Role::Viewer).post(path, &count("more", "1")).await.must(403);
    for (wrong, field) in [
        (count("less", "10.001"), "/quantity/value"),
        (count("more", "0"), "/quantity/value"),
        (count("some", "1"), "/difference"),
    ] {
        assert_eq!(fields(&owner.post(path, &wrong).await), [field]);
    }
    let mut otherwise = count("more", "1");
    otherwise["quantity"]["unit"] = "LTR".into();
    assert_eq!(fields(&owner.post(path, &otherwise).await), ["/quantity/unit"]);
    let mut nothing = count("more", "1");
    nothing["batch_id"] = supplier.into();
    assert_eq!(fields(&owner.post(path, &nothing).await), ["/batch_id"]);
    owner.post(path, &count("less", "0.4")).await.must(201);
    owner.post(path, &count("more", "0.15")).await.must(201);
    // Whom contact data is masked for leaves no entry of its own.
    let shown = evidence(tenant.user(Role::Viewer), &own, "").await;
    assert_eq!(shown["balance"]["stock"], kilograms("9.75"), "{shown}");
    assert_eq!(shown["balance"]["unaccounted"], kilograms("0.25"));
    assert_eq!(shown["balance"]["unaccounted_percent"], kilograms("2"));
    let graph = owner.get(&format!("/v1/batches/{own}/trace")).await.expect(200).json();
    assert_eq!(graph["nodes"][0]["adjusted"], kilograms("-0.25"), "{graph}");
    let counted = events(owner, "?EQ_bizStep=stock_taking").await;
    assert_eq!(counted.len(), 2);
    assert_eq!(counted[0]["urn:keystone:epcis:reason"], "Count of 3 March");

    // A site keeps its GLN; its name may change, for whoever saw it last.
    let site = owner.post("/v1/sites", &samples::site()).await.expect(201);
    let path = format!("/v1/sites/{}", site.id());
    let named = owner.patch(&path, "\"1\"", &json!({ "name": "Old Creamery" })).await.expect(200);
    assert_eq!((named.json()["name"].as_str(), &*named.etag()), (Some("Old Creamery"), "\"2\""));
    assert_eq!(named.json()["gln"], site.json()["gln"]);
    owner.patch(&path, "\"1\"", &json!({ "country": "FR" })).await.must(412);
    let moved = owner.patch(&path, "\"2\"", &json!({ "gln": samples::gtin() })).await;
    assert_eq!(fields(&moved), ["/gln"]);
    tenant.finish().await;
}

async fn form(client: &Client, path: &str, accept: &str) -> Answer {
    client.request("GET", path).header("accept", accept).send().await
}

#[tokio::test]
async fn a_trace_can_be_had_as_graph_events_table_and_picture() {
    let stack = Stack::load();
    let (tenant, partner) =
        futures::join!(stack.tenant("forms", &[Role::Viewer]), stack.tenant("partner", &[]));
    let owner = tenant.owner();
    let (milk, milk_gtin) = product(owner, "Milk").await;
    let (cheese, cheese_gtin) = product(owner, "Cheese").await;
    let supplier = supplier(owner).await;
    // A lot number may hold what other languages take for syntax.
    let receipt = json!({
        "supplier_id": supplier, "at": AT, "lots": [lot(&milk, "M<&1>", "100.50", "LTR")],
    });
    let milk = made(owner, "/v1/receipts", receipt).await.remove(0);
    let vat = json!({
        "at": AT, "inputs": [portion(&milk, "80.25", "LTR")],
        "outputs": [lot(&cheese, "=C-1", "9", "KGM")],
    });
    let cheese = made(owner, "/v1/transformations", vat).await.remove(0);
    owner
        .post("/v1/waste", &json!({ "at": AT, "lots": [portion(&cheese, "1", "KGM")] }))
        .await
        .must(201);
    // The cheese goes on a pallet, which goes to somebody.
    let name = format!("https://id.gs1.org/01/{cheese_gtin:0>14}/10/{}", escaped("=C-1"));
    let pallet = "urn:epc:id:sscc:0614141.1234567890";
    let packed = json!({
        "type": "AggregationEvent", "action": "ADD", "bizStep": "packing", "parentID": pallet,
        "childQuantityList": [
            { "epcClass": name, "quantity": 8, "uom": "KGM" },
            { "epcClass": "urn:epc:class:lgtin:4012345.066666.soup", "quantity": 3, "uom": "KGM" },
        ],
        "eventTime": AT, "eventTimeZoneOffset": "+00:00",
    });
    let shipped = json!({
        "type": "ObjectEvent", "action": "OBSERVE", "bizStep": "shipping", "epcList": [pallet],
        "destinationList": [
            { "type": "owning_party", "destination": "urn:epc:id:pgln:4000001.00005" },
        ],
        "eventTime": AT, "eventTimeZoneOffset": "+00:00",
    });
    owner.post("/v1/capture", &document(&[packed, shipped])).await.must(202);

    let path = format!("/v1/batches/{milk}/trace");
    let viewer = tenant.user(Role::Viewer);
    let graph = viewer.get(&path).await.expect(200).json();
    let lots: Vec<&str> = graph["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["lot"].as_str().unwrap())
        .collect();
    // Not the soup, which only shares the pallet.
    let sscc = "00/106141412345678908";
    assert_eq!(lots, [key(&milk_gtin, "M<&1>"), key(&cheese_gtin, "=C-1"), sscc.to_owned()]);
    assert_eq!(graph["nodes"][2]["partners"][0]["partner"], "417/4000001000050", "{graph}");
    assert_eq!(graph["edges"].as_array().unwrap().len(), 2);

    // The events, which somebody else can capture.
    let events = form(viewer, &path, "application/ld+json").await.expect(200);
    assert_eq!(events.header("content-type"), Some("application/ld+json"));
    let shown = events.json();
    let list = shown["epcisBody"]["eventList"].as_array().unwrap();
    assert_eq!(list.len(), 5, "{shown}");
    assert_schema_takes(&shown);
    let job = partner.owner().post("/v1/capture", &shown).await.expect(202).json();
    assert_eq!((&job["success"], &job["captured"]), (&json!(true), &json!(5)), "{job}");

    // The table.
    let table = form(viewer, &path, "text/csv").await.expect(200);
    let media_type = table.header("content-type").unwrap();
    assert_eq!(media_type, "text/csv; charset=utf-8; header=present");
    let text = String::from_utf8(table.body.clone()).unwrap();
    let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let row = |record: &str, lot: &str| {
        rows.iter()
            .find(|row| &row[0] == record && &row[2] == lot)
            .unwrap_or_else(|| panic!("{text}"))
    };
    let (milk_key, cheese_key) = (key(&milk_gtin, "M<&1>"), key(&cheese_gtin, "=C-1"));
    let link = row("link", &milk_key);
    assert_eq!((&link[3], &link[5], &link[6]), (cheese_key.as_str(), "80.25", "LTR"));
    assert_eq!(&row("total_wasted", &cheese_key)[5], "1");
    assert_eq!(&row("received", &milk_key)[4], format!("urn:uuid:{supplier}"));
    assert_eq!(&row("dispatched", sscc)[4], "417/4000001000050");

    // The picture.
    let picture = form(viewer, &path, "image/svg+xml,*/*;q=0.1").await.expect(200);
    assert_eq!(picture.header("content-type"), Some("image/svg+xml"));
    let text = String::from_utf8(picture.body.clone()).unwrap();
    for part in
        ["M&lt;&amp;1&gt;", "80.25 LTR", "role=\"img\"", "<desc id=\"desc\">3 lots and 2 links"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("M<&"));

    let other = form(viewer, &path, "application/pdf").await.expect(406).json();
    let detail = other["detail"].as_str().unwrap();
    for offered in ["application/json", "application/ld+json", "text/csv", "image/svg+xml"] {
        assert!(detail.contains(offered), "{other}");
    }
    partner.finish().await;
    tenant.finish().await;
}

/// Checks a document with GS1's JSON schema, where it lies beside the checkout.
fn assert_schema_takes(document: &Value) {
    let file = stack::root().join("../shared/epcis/EPCIS-JSON-Schema.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("NOT CHECKED: there is no schema at {}", file.display());
        return;
    };
    let schema = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft7)
        .should_validate_formats(true)
        .build(&serde_json::from_str(&text).unwrap())
        .unwrap();
    let wrong: Vec<String> = schema.iter_errors(document).map(|error| error.to_string()).collect();
    assert_eq!(wrong, Vec::<String>::new(), "{document}");
}
