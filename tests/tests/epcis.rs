//! EPCIS 2.0: capture, query, and the status of events.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test fails by panicking, says what it leaves out, and tells one story"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures::TryStreamExt;
use futures::future::join_all;
use keystone::auth::Role;
use keystone::http::escaped;
use keystone_tests::goods::fields;
use keystone_tests::{Answer, Client, Stack, stack};
use mongodb::bson::{Document, doc};
use serde_json::{Map, Value, json};

const CONTEXT: &str = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld";

/// GS1's schema and examples, if they lie beside the checkout.
fn material() -> Option<PathBuf> {
    let folder = stack::root().join("../shared/epcis");
    if !folder.join("index.json").exists() {
        println!("NOT CHECKED: there is no reference material at {}", folder.display());
        return None;
    }
    Some(folder)
}

fn document(events: &[Value]) -> Value {
    json!({
        "@context": [CONTEXT, { "ex": "https://ns.example.com/" }],
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-03-01T08:00:00Z",
        "epcisBody": { "eventList": events },
    })
}

fn event(id: &str, minute: u32) -> Value {
    json!({
        "type": "ObjectEvent",
        "eventID": id,
        "action": "OBSERVE",
        "bizStep": "shipping",
        "epcList": [format!("urn:epc:id:sgtin:4012345.011111.{minute}")],
        "eventTime": format!("2026-03-01T08:{minute:02}:00.000+01:00"),
        "eventTimeZoneOffset": "+01:00",
        "ex:note": "kept",
    })
}

async fn capture(client: &Client, document: &Value) -> Answer {
    client
        .request("POST", "/v1/capture")
        .header("content-type", "application/ld+json")
        .body(document.to_string())
        .send()
        .await
}

fn listed(answer: &Answer) -> Vec<Value> {
    let body = answer.json();
    assert_eq!(body["type"], "EPCISQueryDocument", "{answer}");
    assert_eq!(answer.header("content-type"), Some("application/ld+json"));
    body["epcisBody"]["queryResults"]["resultsBody"]["eventList"].as_array().unwrap().clone()
}

async fn query(client: &Client, parameters: &[(&str, &str)]) -> Vec<Value> {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    listed(&client.get(&format!("/v1/events?{}", pairs.join("&"))).await.expect(200))
}

/// The path of the next page.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let path = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
    Some(path.unwrap().to_owned())
}

/// What an event says: without what the server adds, numbers by their value.
fn said(event: &Value) -> Value {
    fn plain(value: &Value) -> Value {
        match value {
            Value::Number(number) => json!({ "number": number.as_f64() }),
            Value::Array(items) => items.iter().map(plain).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
            }
            other => other.clone(),
        }
    }
    let mut members: Map<String, Value> = event.as_object().unwrap().clone();
    for added in ["recordTime", "@context"] {
        members.remove(added);
    }
    let own = members.get("eventID").and_then(Value::as_str).unwrap_or_default();
    if own.starts_with("urn:uuid:0") {
        members.remove("eventID");
    }
    plain(&Value::Object(members))
}

/// The contexts that hold for an event of a document.
fn contexts(document: &Value, event: &Value) -> Vec<Value> {
    let list = |value: &Value| match value {
        Value::Array(items) => items.clone(),
        Value::Null => vec![],
        one => vec![one.clone()],
    };
    let mut all = list(&document["@context"]);
    for context in list(&event["@context"]) {
        if !all.contains(&context) {
            all.push(context);
        }
    }
    all
}

/// The documents that are not valid, and the fields for which they are refused.
const REFUSED: [(&str, &[&str]); 2] = [
    // The lists are objects.
    (
        "JSON-simple-context/Example-TransactionEvents-2020_07_03y.jsonld",
        &["/epcisBody/eventList/1/sourceList", "/epcisBody/eventList/1/destinationList"],
    ),
    // The id is no URI, and the version a number.
    ("JSON-simple-context/WithSensorData/SensorDataExample17.jsonld", &["/id", "/schemaVersion"]),
];

/// The lists of things and of amounts in an event, and how they are asked for.
const THINGS: [(&str, &str); 4] = [
    ("epcList", "MATCH_epc"),
    ("childEPCs", "MATCH_epc"),
    ("inputEPCList", "MATCH_inputEPC"),
    ("outputEPCList", "MATCH_outputEPC"),
];
const AMOUNTS: [(&str, &str); 4] = [
    ("quantityList", "MATCH_epcClass"),
    ("childQuantityList", "MATCH_epcClass"),
    ("inputQuantityList", "MATCH_inputEPCClass"),
    ("outputQuantityList", "MATCH_outputEPCClass"),
];

/// The things, products and lots that an event names, each with the parameters by
/// which it is found.
fn things_of(event: &Value) -> Vec<(&str, [&'static str; 2])> {
    let mut all = Vec::new();
    for (list, parameter) in THINGS {
        for thing in event[list].as_array().into_iter().flatten() {
            all.push((thing.as_str().unwrap(), [parameter, "MATCH_anyEPC"]));
        }
    }
    for (list, parameter) in AMOUNTS {
        for amount in event[list].as_array().into_iter().flatten() {
            all.push((amount["epcClass"].as_str().unwrap(), [parameter, "MATCH_anyEPCClass"]));
        }
    }
    if let Some(parent) = event["parentID"].as_str() {
        all.push((parent, ["MATCH_parentID", "MATCH_anyEPC"]));
    }
    all
}

/// Whether an example's event says where its things went, and so has lines in the
/// ledger (docs/adr/0019, 0045): a transformation, and what is shipped or received in
/// an event of any kind. What was only seen, inspected or measured has none, nor has
/// what withdraws an event.
fn has_lines(event: &Value) -> bool {
    let steps = ["shipping", "receiving", "departing", "accepting", "void_shipping"];
    let moves = event["bizStep"].as_str().is_some_and(|step| steps.contains(&step));
    let made = event["type"] == "TransformationEvent";
    (made || moves) && event["errorDeclaration"].is_null()
}

/// An identifier as it stands in a path: a gateway undoes one escape before it looks
/// for the route.
fn in_path(id: &str) -> String {
    if id.contains('/') { escaped(&escaped(id)) } else { escaped(id) }
}

#[tokio::test]
async fn every_example_is_captured_and_comes_back_as_it_was() {
    let Some(folder) = material() else { return };
    let stack = Stack::load();
    let index = std::fs::read_to_string(folder.join("index.json")).unwrap();
    let index: Vec<Value> = serde_json::from_str(&index).unwrap();
    let mut captured = 0;
    // Some share eventIDs, so each gets a tenant of its own.
    for some in index.chunks(6) {
        let stack = &stack;
        let folder = &folder;
        let done = join_all(some.iter().map(|entry| async move {
            let file = entry["file"].as_str().unwrap();
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            let tenant = stack.tenant("example", &[]).await;
            let captured = example(tenant.owner(), entry, &text).await;
            tenant.finish().await;
            captured
        }))
        .await;
        captured += done.iter().filter(|captured| **captured).count();
    }
    let accepted = index.iter().filter(|entry| entry["capture"] == "accept").count();
    assert!(captured >= accepted, "{captured} of {accepted}");
}

/// Captures an example and compares what comes back; whether it was captured.
async fn example(owner: &Client, entry: &Value, text: &str) -> bool {
    let file = entry["file"].as_str().unwrap();
    let original: Value = serde_json::from_str(text).unwrap();
    let answer = owner
        .request("POST", "/v1/capture")
        .header("content-type", "application/ld+json")
        .body(text)
        .send()
        .await;
    if answer.status != 202 {
        assert_ne!(entry["capture"], "accept", "{file}: {answer}");
        answer.must(422);
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        assert!(!errors.is_empty() && errors.iter().all(|error| error["field"].is_string()));
        if let Some((_, expected)) = REFUSED.iter().find(|(known, _)| *known == file) {
            assert_eq!(fields(&answer), *expected, "{file}");
        }
        if let Some(kind) = original["type"].as_str().filter(|kind| *kind != "EPCISDocument") {
            // A query document, or a bare event, which has a route of its own.
            assert_eq!(errors[0]["field"], "/type", "{file}");
            if kind.ends_with("Event") {
                bare(owner, file, text, &original).await;
            }
        }
        return false;
    }
    assert_ne!(entry["capture"], "reject", "{file}: {answer}");
    let job = answer.json();
    assert_eq!(job["success"], true, "{file}: {job}");
    let location = answer.header("location").unwrap();
    assert_eq!(owner.get(location).await.expect(200).json(), job);

    let given = original["epcisBody"]["eventList"].as_array().unwrap();
    let page = owner.get("/v1/events?perPage=100&orderDirection=ASC").await.expect(200);
    let back = listed(&page);
    assert_eq!(back.len(), given.len(), "{file}");
    for one in given {
        let same: Vec<&Value> = back.iter().filter(|found| said(found) == said(one)).collect();
        assert_eq!(same.len(), 1, "{file}: {one} is not among {back:?}");
        assert_eq!(contexts(&page.json(), same[0]), contexts(&original, one), "{file}");
        assert!(same[0]["recordTime"].is_string() && same[0]["eventID"].is_string());
        // By its eventID, as a query and as a path.
        let id = same[0]["eventID"].as_str().unwrap();
        assert_eq!(query(owner, &[("EQ_eventID", id)]).await.len(), 1, "{file}");
        let alone = owner.get(&format!("/v1/events/{}", in_path(id))).await.expect(200);
        assert_eq!(said(&alone.json()), said(one), "{file}");
        // By every thing that it names, alone, as an amount, or as what holds others.
        for (thing, parameters) in things_of(one) {
            for parameter in parameters {
                let found = query(owner, &[(parameter, thing)]).await;
                let is_there = found.iter().any(|found| said(found) == said(one));
                assert!(is_there, "{file}: {parameter}={thing}");
            }
        }
    }
    // What an event says moved is traced; of other things the events that name them are
    // all that is known.
    let mut moved: BTreeMap<&str, bool> = BTreeMap::new();
    for one in given {
        for (thing, _) in things_of(one) {
            *moved.entry(thing).or_default() |= has_lines(one);
        }
    }
    for (thing, moved) in moved {
        let answer = owner.get(&format!("/v1/batches/{}/trace", in_path(thing))).await;
        assert_eq!(answer.status, 200, "{file}: {thing}: {answer}");
        let known = answer.json();
        assert_eq!(known["nodes"][0]["lot"], known["start"], "{file}: {answer}");
        if !moved {
            let path = format!("/v1/batches/{}/trace", in_path(thing));
            let events = owner.request("GET", &path).header("accept", "application/ld+json");
            let events = events.send().await.expect(200).json();
            let naming = events["epcisBody"]["eventList"].as_array().unwrap();
            assert!(!naming.is_empty(), "{file}: {thing}");
            assert!(naming.iter().all(|event| given.iter().any(|one| said(one) == said(event))));
        }
    }
    // The same document again changes nothing.
    let again = owner
        .request("POST", "/v1/capture")
        .header("content-type", "application/ld+json")
        .body(text)
        .send()
        .await
        .expect(202)
        .json();
    let named = given.iter().filter(|event| event["eventID"].is_string()).count();
    assert_eq!(again["known"], named, "{file}");
    true
}

async fn bare(owner: &Client, file: &str, text: &str, original: &Value) {
    let answer = owner.request("POST", "/v1/events").bytes(text).send().await.expect(201);
    assert_eq!(said(&answer.json()), said(original), "{file}");
    let alone = owner.get(answer.header("location").unwrap()).await.expect(200);
    assert_eq!(alone.json(), answer.json(), "{file}");
    assert_eq!(contexts(&json!({}), &alone.json()), contexts(&json!({}), original), "{file}");
}

#[tokio::test]
async fn an_event_is_the_same_event_whatever_its_spelling() {
    let stack = Stack::load();
    let tenant = stack.tenant("same", &[]).await;
    let owner = tenant.owner();
    let id = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
    let mut first = event(id, 1);
    first["quantityList"] = json!([
        { "epcClass": "urn:epc:class:lgtin:0614141.077777.987", "quantity": 0, "uom": "KGM" }
    ]);
    // The number is written in the text: a JSON library would make 0.1 of it.
    let text = |quantity: &str, event: &Value| {
        event.to_string().replace("\"quantity\":0", &format!("\"quantity\":{quantity}"))
    };
    let post = async |text: String| owner.request("POST", "/v1/events").bytes(text).send().await;
    let made = post(text("0.10", &first)).await.expect(201);
    assert!(String::from_utf8_lossy(&made.body).contains("\"quantity\":0.10,"), "{made}");

    let mut same = first.clone();
    same["quantityList"][0]["epcClass"] = "https://id.gs1.org/01/00614141777778/10/987".into();
    same["bizStep"] = "https://ref.gs1.org/cbv/BizStep-shipping".into();
    same["epcList"] = json!(["https://id.gs1.org/01/04012345111118/21/1"]);
    let again = post(text("1E-1", &same)).await.expect(201);
    assert_eq!(again.header("location"), made.header("location"));
    let mut other = first.clone();
    other["disposition"] = "in_transit".into();
    post(text("0.1", &other)).await.must(409);
    post(text("0.11", &first)).await.must(409);

    // In a document the others are captured if asked for, else none.
    let events = [event("urn:x:1", 1), other.clone(), event("urn:x:2", 2), event("urn:x:1", 1)];
    let job = capture(owner, &document(&events)).await.expect(202).json();
    assert_eq!((&job["success"], &job["captured"]), (&json!(false), &json!(0)), "{job}");
    assert_eq!(job["errors"][0]["field"], "/epcisBody/eventList/1/eventID");
    assert_eq!(job["errors"][0]["eventID"], id);
    let proceed = owner
        .request("POST", "/v1/capture")
        .header("gs1-capture-error-behaviour", "proceed")
        .json(&document(&events))
        .send()
        .await
        .expect(202);
    let job = proceed.json();
    let counted = (&job["received"], &job["captured"], &job["known"], &job["success"]);
    assert_eq!(counted, (&json!(4), &json!(2), &json!(1), &json!(false)), "{job}");

    // An error declaration repeats the eventID of what it withdraws.
    let mut withdrawn = first.clone();
    withdrawn["errorDeclaration"] =
        json!({ "declarationTime": "2026-03-02T08:00:00Z", "reason": "did_not_occur" });
    post(text("0.1", &withdrawn)).await.must(201);
    assert_eq!(query(owner, &[("EQ_eventID", id)]).await.len(), 2);
    for (name, value) in [("EQ_errorReason", "did_not_occur"), ("EXISTS_errorDeclaration", "true")]
    {
        assert_eq!(query(owner, &[(name, value)]).await.len(), 1, "{name}");
    }
    tenant.finish().await;
}

#[tokio::test]
async fn every_wrong_field_of_a_document_is_named() {
    let stack = Stack::load();
    let tenant = stack.tenant("wrong", &[Role::Viewer]).await;
    let owner = tenant.owner();
    let quantity = |number: &str| {
        let event = json!({
            "type": "ObjectEvent", "action": "ADD", "eventTime": "2026-03-01T08:00:00Z",
            "eventTimeZoneOffset": "+00:00",
            "quantityList": [{
                "epcClass": "urn:epc:class:lgtin:0614141.077777.987", "quantity": 7, "uom": "KGM",
            }],
        });
        event.to_string().replace("\"quantity\":7", &format!("\"quantity\":{number}"))
    };
    for number in ["-1", "-0.001", "1e400", "1e12", "0.0000000001", "\"1\"", "null"] {
        let answer = owner.request("POST", "/v1/events").bytes(quantity(number)).send().await;
        answer.must(422);
        assert_eq!(answer.json()["errors"][0]["field"], "/quantityList/0/quantity", "{number}");
    }
    owner.request("POST", "/v1/events").bytes(quantity("NaN")).send().await.must(400);
    owner.request("POST", "/v1/events").bytes(quantity("1,\"quantity\":2")).send().await.must(400);
    let unit = quantity("1").replace("KGM", "kilo");
    let answer = owner.request("POST", "/v1/events").bytes(unit).send().await.expect(422);
    assert_eq!(answer.json()["errors"][0]["field"], "/quantityList/0/uom");

    let mut wrong = document(&[event("no uri", 1), json!(7), event("urn:x:3", 3)]);
    wrong["schemaVersion"] = "1.2".into();
    wrong["epcisBody"]["eventList"][2]["eventTime"] = "yesterday".into();
    wrong["epcisBody"]["eventList"][2]["bizStep"] = "juggling".into();
    wrong["epcisBody"]["eventList"][2]["colour"] = "red".into();
    wrong["epcisBody"]["eventList"][2]["epcList"] =
        json!(["https://id.gs1.org/01/09506000134353/21/12345"]);
    let answer = capture(owner, &wrong).await.expect(422);
    let errors = answer.json();
    let mut fields: Vec<&str> = errors["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "/epcisBody/eventList/0/eventID",
            "/epcisBody/eventList/1",
            "/epcisBody/eventList/2/bizStep",
            "/epcisBody/eventList/2/colour",
            "/epcisBody/eventList/2/epcList/0",
            "/epcisBody/eventList/2/eventTime",
            "/schemaVersion",
        ]
    );
    // A document that one transaction could not take names its limit.
    let small = |index: u32| {
        json!({
            "type": "ObjectEvent", "action": "OBSERVE", "epcList": [format!("urn:x:{index}")],
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
        })
    };
    let named = |answer: &Answer| {
        answer.must(422);
        let error = answer.json()["errors"][0].clone();
        (error["field"].as_str().unwrap().to_owned(), error["message"].to_string())
    };
    let many: Vec<Value> = (0..1_001).map(small).collect();
    let (field, message) = named(&capture(owner, &document(&many)).await);
    assert!(field == "/epcisBody/eventList" && message.contains("1000"), "{field}: {message}");
    let mut crowded = small(0);
    crowded["epcList"] = (0..1_001).map(|index| format!("urn:x:{index}")).collect();
    let (field, message) = named(&capture(owner, &document(&[crowded])).await);
    assert!(field.ends_with("/0/epcList") && message.contains("1000"), "{field}: {message}");
    let job = capture(owner, &document(&many[..1_000])).await.expect(202).json();
    assert_eq!(job["captured"], 1_000);

    tenant.user(Role::Viewer).post("/v1/capture", &document(&[])).await.must(403);
    capture(owner, &document(&[])).await.must(202);
    for wrong in ["{", "[]", "7", "null", "{}", "{\"type\":\"EPCISQueryDocument\"}"] {
        let answer = owner.request("POST", "/v1/capture").bytes(wrong).send().await;
        assert!(matches!(answer.status, 400 | 422), "{wrong}: {answer}");
    }
    tenant.finish().await;
}

#[tokio::test]
async fn contexts_of_a_document_and_of_an_event_have_an_end() {
    let stack = Stack::load();
    let tenant = stack.tenant("contexts", &[]).await;
    let owner = tenant.owner();
    let uris = |count: usize| -> Value {
        (0..count).map(|index| Value::from(format!("urn:x:context:{index}"))).collect()
    };
    // An object whose array has so many bytes.
    let long = |bytes: usize| json!({ "ex": "a".repeat(bytes - r#"[{"ex":""}]"#.len()) });
    let of_document = |context: &Value, id: &str| {
        let mut whole = document(&[event(id, 1)]);
        whole["@context"] = context.clone();
        whole
    };
    let of_event = |context: &Value, id: &str| {
        let mut whole = document(&[event(id, 1)]);
        whole["@context"] = json!([]);
        whole["epcisBody"]["eventList"][0]["@context"] = context.clone();
        whole
    };
    let own = "/epcisBody/eventList/0/@context";
    for (number, (at_most, too_much)) in
        [(uris(20), uris(21)), (long(16 * 1024), long(16 * 1024 + 1))].iter().enumerate()
    {
        for (refused, field) in [
            (of_document(too_much, "urn:x:refused"), "/@context"),
            (of_event(too_much, "urn:x:refused"), own),
        ] {
            assert_eq!(fields(&capture(owner, &refused).await), [field]);
        }
        // Those of the document hold for the event too.
        let mut both = of_document(at_most, "urn:x:refused");
        both["epcisBody"]["eventList"][0]["@context"] = CONTEXT.into();
        assert_eq!(fields(&capture(owner, &both).await), [own]);

        for (taken, place) in [
            (of_document(at_most, &format!("urn:x:document:{number}")), "document"),
            (of_event(at_most, &format!("urn:x:event:{number}")), "event"),
        ] {
            let job = capture(owner, &taken).await.expect(202).json();
            assert_eq!(job["captured"], 1, "{place}: {job}");
            let id = escaped(&format!("urn:x:{place}:{number}"));
            let back = owner.get(&format!("/v1/events/{id}")).await.expect(200).json();
            assert_eq!(
                contexts(&json!({}), &back),
                contexts(&json!({}), &json!({ "@context": at_most }))
            );
            // As long as it may be, it can still be declared wrong.
            let path = format!("/v1/events/{id}/error-declaration");
            owner.post(&path, &json!({ "reason": "did_not_occur" })).await.must(201);
        }
    }
    assert_eq!(query(owner, &[("EQ_eventID", "urn:x:refused")]).await.len(), 0);
    tenant.finish().await;
}

#[tokio::test]
async fn events_are_had_as_linked_data_and_as_json() {
    let stack = Stack::load();
    let tenant = stack.tenant("forms", &[]).await;
    let owner = tenant.owner();
    let id = "urn:x:forms:1";
    capture(owner, &document(&[event(id, 1), event("urn:x:forms:2", 2)])).await.must(202);
    let (linked, plain) = ("application/ld+json", "application/json");
    let list = "/v1/events?perPage=1&orderDirection=ASC".to_owned();
    for path in [list, format!("/v1/events/{}", escaped(id))] {
        let form =
            async |accept: &str| owner.request("GET", &path).header("accept", accept).send().await;
        let members = |answer: &Answer| {
            let mut body = answer.json();
            body.as_object_mut().unwrap().remove("creationDate");
            body
        };
        let first = form(linked).await.expect(200);
        assert_eq!(first.json()["@context"][0], CONTEXT, "{path}");
        for (accept, media_type) in [
            ("*/*", linked),
            (linked, linked),
            (plain, plain),
            ("application/*", linked),
            ("application/json, application/ld+json;q=0.9", plain),
            ("text/html, application/json;q=0.1", plain),
        ] {
            let answer = form(accept).await.expect(200);
            assert_eq!(answer.header("content-type"), Some(media_type), "{path}: {accept}");
            assert_eq!(members(&answer), members(&first), "{path}: {accept}");
            // The page has a next one and the event its version, whatever the form.
            assert_eq!(next(&answer).is_some(), path.contains('?'), "{path}: {accept}");
            assert_eq!(answer.header("etag"), first.header("etag"), "{path}: {accept}");
        }
        for accept in ["text/csv", "application/xml", "application/json;q=0"] {
            let refused = form(accept).await.expect(406).json();
            let detail = refused["detail"].as_str().unwrap();
            assert!(detail.contains(linked) && detail.contains(plain), "{refused}");
        }
    }
    tenant.finish().await;
}

#[tokio::test]
async fn queries_find_what_fits_page_by_page() {
    let stack = Stack::load();
    let tenant = stack.tenant("queries", &[Role::Demo]).await;
    let owner = tenant.owner();
    let mut events: Vec<Value> =
        (0..25).map(|index| event(&format!("urn:x:{index}"), index)).collect();
    events.push(json!({
        "type": "TransformationEvent",
        "eventTime": "2026-03-02T08:00:00Z",
        "eventTimeZoneOffset": "+00:00",
        "transformationID": "urn:x:cheese:1",
        "inputQuantityList": [{
            "epcClass": "urn:epc:class:lgtin:0614141.077777.milk-1", "quantity": 1000.5, "uom": "LTR",
        }],
        "outputQuantityList": [{
            "epcClass": "https://id.gs1.org/01/04012345666663/10/cheese-1", "quantity": 100,
            "uom": "KGM",
        }],
        "readPoint": { "id": "urn:epc:id:sgln:9506000.13430.0" },
        "bizLocation": { "id": "https://id.gs1.org/414/9506000134307/254/vat-1" },
        "bizStep": "commissioning",
        "disposition": "in_progress",
        "persistentDisposition": { "set": ["completeness_verified"] },
        "bizTransactionList": [
            { "type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:0614141000005:1152" },
        ],
        "sourceList": [{ "type": "owning_party", "source": "urn:epc:id:pgln:4000001.00005" }],
        "sensorElementList": [
            { "sensorReport": [{ "type": "Temperature", "value": 4.5, "uom": "CEL" }] },
        ],
    }));
    let job = capture(owner, &document(&events)).await.expect(202).json();
    assert_eq!(job["captured"], 26);

    // Page by page, in both directions, each event once.
    for direction in ["ASC", "DESC"] {
        for order in ["eventTime", "recordTime"] {
            let mut path = format!(
                "/v1/events?perPage=10&orderBy={order}&orderDirection={direction}&EQ_bizStep=shipping"
            );
            let mut seen = Vec::new();
            let mut pages = 0;
            loop {
                let page = tenant.user(Role::Demo).get(&path).await.expect(200);
                seen.extend(listed(&page));
                pages += 1;
                let Some(next) = next(&page) else { break };
                path = next;
            }
            assert_eq!((seen.len(), pages), (25, 3), "{order} {direction}");
            let mut ids: Vec<&str> =
                seen.iter().map(|event| event["eventID"].as_str().unwrap()).collect();
            if order == "eventTime" {
                let minutes: Vec<&str> =
                    seen.iter().map(|event| event["eventTime"].as_str().unwrap()).collect();
                let mut sorted = minutes.clone();
                sorted.sort_unstable();
                if direction == "DESC" {
                    sorted.reverse();
                }
                assert_eq!(minutes, sorted);
            }
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 25);
        }
    }

    let one = |parameters: Vec<(&'static str, &'static str)>| async move {
        query(owner, &parameters).await.len()
    };
    for (parameter, value, fitting) in [
        ("eventType", "TransformationEvent", 1),
        ("eventType", "TransformationEvent|AggregationEvent", 1),
        ("EQ_action", "OBSERVE", 25),
        ("EQ_action", "DELETE", 0),
        ("EQ_bizStep", "urn:epcglobal:cbv:bizstep:commissioning", 1),
        ("EQ_bizStep", "https://ref.gs1.org/cbv/BizStep-commissioning", 1),
        ("EQ_disposition", "https://ns.gs1.org/cbv/Disp-in_progress", 1),
        ("EQ_readPoint", "https://id.gs1.org/414/9506000134307", 1),
        ("EQ_bizLocation", "urn:epc:id:sgln:9506000.13430.vat-1", 1),
        ("EQ_bizLocation", "urn:epc:id:sgln:9506000.13430.0", 0),
        ("EQ_transformationID", "urn:x:cheese:1", 1),
        ("EQ_eventID", "urn:x:7|urn:x:8", 2),
        ("MATCH_epc", "https://id.gs1.org/01/04012345111118/21/7", 1),
        ("MATCH_epc", "urn:epc:idpat:sgtin:4012345.011111.*", 25),
        ("MATCH_anyEPC", "https://id.gs1.org/01/04012345111118", 25),
        ("MATCH_inputEPC", "urn:epc:id:sgtin:4012345.011111.7", 0),
        ("MATCH_inputEPCClass", "https://id.gs1.org/01/00614141777778/10/milk-1", 1),
        ("MATCH_outputEPCClass", "https://id.gs1.org/01/00614141777778/10/milk-1", 0),
        ("MATCH_outputEPCClass", "urn:epc:class:lgtin:4012345.066666.cheese-1", 1),
        ("MATCH_anyEPCClass", "urn:epc:idpat:sgtin:4012345.066666.*", 1),
        ("MATCH_epcClass", "urn:epc:class:lgtin:4012345.066666.cheese-1", 0),
        ("MATCH_parentID", "urn:epc:id:sscc:0614141.1234567890", 0),
        ("GE_eventTime", "2026-03-01T08:20:00+01:00", 6),
        ("LT_eventTime", "2026-03-01T07:20:00Z", 20),
        ("GE_recordTime", "2020-01-01T00:00:00Z", 26),
        ("LT_recordTime", "2020-01-01T00:00:00Z", 0),
        ("EQ_bizStep", "$ne", 0),
        ("EQ_bizTransaction", "urn:epcglobal:cbv:bt:0614141000005:1152", 1),
        ("EQ_bizTransaction_po", "urn:epcglobal:cbv:bt:0614141000005:1152", 1),
        ("EQ_bizTransaction_inv", "urn:epcglobal:cbv:bt:0614141000005:1152", 0),
        ("EQ_source_owning_party", "https://id.gs1.org/417/4000001000050", 1),
        ("EQ_source_possessing_party", "https://id.gs1.org/417/4000001000050", 0),
        ("EQ_destination_owning_party", "https://id.gs1.org/417/4000001000050", 0),
        ("EQ_persistentDisposition_set", "completeness_verified", 1),
        ("EQ_persistentDisposition_unset", "completeness_verified", 0),
        ("EQ_type", "Temperature", 1),
        ("WD_readPoint", "urn:epc:id:sgln:9506000.13430.0", 1),
        ("WD_bizLocation", "urn:epc:id:sgln:9506000.13430.0", 1),
        ("EXISTS_errorDeclaration", "true", 0),
        ("eventCountLimit", "7", 7),
        ("maxEventCount", "26", 26),
    ] {
        assert_eq!(one(vec![(parameter, value)]).await, fitting, "{parameter}={value}");
    }
    let limited = owner.get("/v1/events?eventCountLimit=7").await.expect(200);
    assert!(next(&limited).is_none(), "there is no more than was asked for");
    for (path, field) in [
        ("/v1/events?maxEventCount=25", "maxEventCount"),
        ("/v1/events?maxEventCount=25&eventCountLimit=7", "maxEventCount"),
        ("/v1/events?perPage=25&eventCountLimit=7", "eventCountLimit"),
        // They would count what was not believed then.
        ("/v1/events?as_of=2026-03-01T08:00:00Z&eventCountLimit=7", "eventCountLimit"),
        ("/v1/events?as_of=2026-03-01T08:00:00Z&maxEventCount=25", "maxEventCount"),
        // What the standard has and is not answered here, by name.
        ("/v1/events?EQ_quantity=7", "EQ_quantity"),
        ("/v1/events?EQ_INNER_ILMD_x=7", "EQ_INNER_ILMD_x"),
    ] {
        let answer = owner.get(path).await.expect(422);
        assert_eq!(answer.json()["errors"][0]["field"], field, "{path}: {answer}");
    }
    assert_eq!(
        one(vec![
            ("GE_eventTime", "2026-03-01T08:05:00+01:00"),
            ("LT_eventTime", "2026-03-01T08:10:00+01:00"),
            ("EQ_bizStep", "shipping"),
            ("MATCH_epc", "urn:epc:idpat:sgtin:4012345.011111.*"),
        ])
        .await,
        5
    );
    for wrong in [
        "EQ_colour=red",
        "eventType=NoEvent",
        "MATCH_epc=urn:epc:id:sgtin:1.2.3",
        "GE_eventTime=now",
        "perPage=0",
        "perPage=101",
        "orderBy=colour",
        "nextPageToken=x",
        "EQ_bizStep=a&EQ_bizStep=b",
    ] {
        let answer = owner.get(&format!("/v1/events?{wrong}")).await.expect(422);
        let field = wrong.split('=').next().unwrap();
        assert_eq!(answer.json()["errors"][0]["field"], field, "{wrong}");
    }
    tenant.finish().await;
}

#[tokio::test]
async fn a_status_moves_once_and_its_history_shows_every_move() {
    let stack = Stack::load();
    let tenant = stack.tenant("status", &[Role::OpsUser, Role::Viewer]).await;
    let (owner, ops_user) = (tenant.owner(), tenant.user(Role::OpsUser));
    let made = owner.post("/v1/events", &event("urn:x:status", 1)).await.expect(201);
    let path = made.header("location").unwrap().to_owned();
    let status = format!("{path}/status");
    let to = |status: &str| json!({ "to": status, "reason": "As the delivery note says" });
    let set = async |client: &Client, etag: &str, body: Value| {
        client.request("POST", &status).header("if-match", etag).json(&body).send().await
    };
    owner.post(&status, &to("submitted")).await.must(428);
    set(tenant.user(Role::Viewer), "\"1\"", to("submitted")).await.must(403);
    for wrong in [json!({}), json!({ "to": "draft" }), json!({ "to": "odd", "reason": "x" })] {
        set(owner, "\"1\"", wrong).await.must(422);
    }
    set(owner, "\"1\"", to("verified")).await.must(409);
    let submitted = set(owner, &made.etag(), to("submitted")).await.expect(200);
    assert_eq!(
        (submitted.json()["status"].as_str(), submitted.etag().as_str()),
        (Some("submitted"), "\"2\"")
    );

    // Two at once: one wins, the other learns what is now.
    let answers = futures::join!(
        set(owner, "\"2\"", to("verified")),
        set(ops_user, "\"2\"", to("disputed")),
    );
    let (won, lost) = match answers.0.status {
        200 => (answers.0, answers.1),
        _ => (answers.1, answers.0),
    };
    won.must(200);
    lost.must(409);
    let now = won.json()["status"].as_str().unwrap().to_owned();
    let detail = lost.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&now), "{detail}");

    let voided = set(owner, "\"3\"", to("voided")).await.expect(200);
    set(owner, &voided.etag(), to("submitted")).await.must(409);
    let history = tenant.user(Role::Viewer).get(&format!("{path}/history")).await.expect(200);
    let shown = history.json();
    assert_eq!((&shown["intact"], &shown["status"]), (&json!(true), &json!("voided")), "{shown}");
    let links = shown["links"].as_array().unwrap();
    let moves: Vec<(i64, &Value, &str)> = links
        .iter()
        .map(|link| (link["seq"].as_i64().unwrap(), &link["from"], link["to"].as_str().unwrap()))
        .collect();
    assert_eq!(
        moves,
        [
            (0, &Value::Null, "draft"),
            (1, &json!("draft"), "submitted"),
            (2, &json!("submitted"), now.as_str()),
            (3, &json!(now), "voided"),
        ]
    );
    for pair in links.windows(2) {
        assert_eq!(pair[1]["previous"], pair[0]["hash"]);
    }
    // The same event by its eventID, and what never was.
    owner.get("/v1/events/urn:x:status/history").await.must(200);
    owner.get("/v1/events/urn:x:nothing").await.must(404);

    // Whoever changes the event behind the functions' back is found out, also
    // when history and event tell the same: the audit trail tells otherwise.
    let id = shown["id"].as_str().unwrap();
    let database = stack.database().await;
    let name = format!("t_{}", tenant.slug());
    let history = database.database(&format!("{name}_audit"));
    let history = history.collection::<Document>("event_history");
    let removed = history.delete_one(doc! { "event_id": id, "seq": 3_i64 }).await.unwrap();
    assert_eq!(removed.deleted_count, 1);
    let hash = links[2]["hash"].as_str().unwrap();
    let back = doc! { "status": &now, "history": { "seq": 2_i64, "hash": hash } };
    let events = database.database(&name).collection::<Document>("events");
    events.update_one(doc! { "_id": id }, doc! { "$set": back }).await.unwrap();
    let shown = owner.get(&format!("{path}/history")).await.expect(200).json();
    assert_eq!((&shown["intact"], &shown["status"]), (&json!(false), &json!(now)));
    let id = shown["id"].as_str().unwrap();
    tenant.set_in_document("events", "_id", id, "status", "closed").await;
    let shown = owner.get(&format!("{path}/history")).await.expect(200).json();
    assert_eq!(shown["intact"], false);
    tenant.finish().await;
}

/// An event of each kind, with its members of the standard.
fn full_events() -> Vec<Value> {
    let common = json!({
        "eventTime": "2026-03-01T08:00:00.000+01:00",
        "recordTime": "2026-03-01T08:00:01.000+01:00",
        "eventTimeZoneOffset": "+01:00",
        "certificationInfo": "https://accreditation.example.org/1",
        "errorDeclaration": {
            "declarationTime": "2026-03-02T08:00:00Z",
            "reason": "incorrect_data",
            "correctiveEventIDs": ["urn:x:corrected"],
        },
        "bizStep": "commissioning",
        "disposition": "active",
        "readPoint": { "id": "urn:epc:id:sgln:4012345.00001.0" },
        "bizLocation": { "id": "urn:epc:id:sgln:4012345.00002.0" },
        "bizTransactionList": [{ "type": "po", "bizTransaction": "urn:x:po:1" }],
        "sourceList": [{ "type": "owning_party", "source": "urn:epc:id:pgln:4012345.00001" }],
        "destinationList": [
            { "type": "location", "destination": "urn:epc:id:sgln:4012345.00002.0" },
        ],
        "sensorElementList": [{
            "sensorMetadata": {
                "time": "2026-03-01T07:00:00Z",
                "deviceID": "urn:x:device:1",
                "bizRules": "https://example.org/rules",
            },
            "sensorReport": [{
                "type": "Temperature",
                "value": 4.5,
                "uom": "CEL",
                "component": "x",
                "stringValue": "cold",
                "hexBinaryValue": "f0",
                "uriValue": "urn:x:value",
            }],
        }],
    });
    let quantities = json!([
        { "epcClass": "urn:epc:class:lgtin:4012345.011111.L1", "quantity": 7.5, "uom": "KGM" },
    ]);
    let things = json!(["urn:epc:id:sgtin:4012345.011111.1"]);
    let parent = json!("urn:epc:id:sscc:4012345.0000000001");
    let disposed = json!({ "set": ["damaged"], "unset": ["in_transit"] });
    let holding = |kind: &str| {
        json!({
            "type": kind, "action": "ADD", "parentID": parent,
            "childEPCs": things, "childQuantityList": quantities,
        })
    };
    let own = [
        json!({
            "type": "ObjectEvent", "action": "ADD", "epcList": things,
            "quantityList": quantities, "persistentDisposition": disposed,
        }),
        holding("AggregationEvent"),
        holding("AssociationEvent"),
        json!({
            "type": "TransactionEvent", "action": "ADD", "parentID": parent,
            "epcList": things, "quantityList": quantities,
        }),
        json!({
            "type": "TransformationEvent", "inputEPCList": things,
            "inputQuantityList": quantities,
            "outputEPCList": ["urn:epc:id:sgtin:4012345.011111.2"],
            "outputQuantityList": quantities, "transformationID": "urn:x:transformation:1",
            "persistentDisposition": disposed,
        }),
    ];
    let whole = |(number, own): (usize, Value)| {
        let mut event = common.as_object().unwrap().clone();
        event.extend(own.as_object().unwrap().clone());
        event.insert("eventID".into(), format!("urn:x:full:{number}").into());
        Value::Object(event)
    };
    own.into_iter().enumerate().map(whole).collect()
}

/// JSON pointers to all values below `value` that are no objects or lists, and
/// to all objects.
fn walk(value: &Value, at: &str, plain: &mut Vec<String>, objects: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            objects.push(at.to_owned());
            for (name, member) in members {
                walk(member, &format!("{at}/{name}"), plain, objects);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &format!("{at}/{index}"), plain, objects);
            }
        }
        _ => plain.push(at.to_owned()),
    }
}

/// Whether any member of a stored document has a name that the database could
/// take for an operator or a path.
fn holds_operator(value: &mongodb::bson::Bson) -> bool {
    use mongodb::bson::Bson;
    match value {
        Bson::Document(document) => document.iter().any(|(name, member)| {
            name.starts_with('$') || name.contains('.') || holds_operator(member)
        }),
        Bson::Array(items) => items.iter().any(holds_operator),
        _ => false,
    }
}

/// Operators of the database in place of every value of an event, and beside
/// every member; where other vocabularies may say anything, they are kept as
/// text that nothing reads.
#[tokio::test]
async fn operators_in_events_are_refused_or_kept_as_text() {
    let stack = Stack::load();
    let tenant = stack.tenant("eventoperators", &[]).await;
    let owner = tenant.owner();
    // As they are, they are accepted; so what is refused below is refused for
    // what was put in.
    capture(owner, &document(&full_events())).await.must(202);

    let mut attacks = Vec::new();
    for event in full_events() {
        let (mut plain, mut objects) = (Vec::new(), Vec::new());
        walk(&event, "", &mut plain, &mut objects);
        for at in plain {
            for hostile in [json!({ "$gt": "" }), json!(["x"]), json!({ "$where": "sleep(1000)" })]
            {
                let mut changed = event.clone();
                *changed.pointer_mut(&at).unwrap() = hostile;
                attacks.push((at.clone(), changed));
            }
        }
        for at in objects {
            // A place may say anything of itself beside its id.
            if at.ends_with("readPoint") || at.ends_with("bizLocation") {
                continue;
            }
            for name in ["$where", "a.b", "$set"] {
                let mut changed = event.clone();
                changed.pointer_mut(&at).unwrap()[name] = json!({ "$ne": "" });
                attacks.push((format!("{at}/{name}"), changed));
            }
        }
    }
    assert!(attacks.len() > 400, "{}", attacks.len());
    for some in attacks.chunks(40) {
        let events: Vec<Value> = some.iter().map(|(_, event)| event.clone()).collect();
        let answer = capture(owner, &document(&events)).await.expect(422).json();
        let fields: Vec<&str> = answer["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["field"].as_str().unwrap())
            .collect();
        for (index, (at, event)) in some.iter().enumerate() {
            let at = format!("/epcisBody/eventList/{index}{at}");
            assert!(fields.iter().any(|field| field.starts_with(&at)), "{at} of {event}");
        }
    }

    let hostile = json!({ "$where": "sleep(1000)", "a.b": [{ "$gt": "" }], "$set": { "x.y": 1 } });
    let mut extended = event("urn:x:extended", 1);
    extended["action"] = "ADD".into();
    extended["ex:note"] = hostile.clone();
    extended["ilmd"] = json!({ "ex:origin": hostile });
    extended["readPoint"] = json!({ "id": "urn:epc:id:sgln:4012345.00001.0", "$where": hostile });
    capture(owner, &document(std::slice::from_ref(&extended))).await.must(202);
    let back = query(owner, &[("EQ_eventID", "urn:x:extended")]).await;
    assert_eq!(said(&back[0]), said(&extended));

    // As values of a query they are text that nothing is found by.
    for name in ["EQ_eventID", "MATCH_epc", "EQ_bizStep", "EQ_bizLocation", "eventType"] {
        for value in ["{\"$ne\":\"\"}", "[$gt]", "$where", "/.*/"] {
            let answer = owner.get(&format!("/v1/events?{name}={}", escaped(value))).await;
            match answer.status {
                200 => assert!(listed(&answer).is_empty(), "{name}={value}: {answer}"),
                status => assert!(matches!(status, 400 | 422), "{name}={value}: {answer}"),
            }
        }
    }

    let stored = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let stored: Vec<Document> =
        stored.collection("events").find(doc! {}).await.unwrap().try_collect().await.unwrap();
    assert_eq!(stored.len(), full_events().len() + 1, "what was refused left nothing");
    for document in stored {
        assert!(!holds_operator(&document.clone().into()), "{document}");
    }
    tenant.finish().await;
}
