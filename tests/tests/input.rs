//! Hostile and careless requests to every route: each gets a 4xx that names
//! what is wrong, with all security headers, and nothing is changed.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use futures::{StreamExt, stream};
use keystone_tests::client::Request;
use keystone_tests::routes::{self, Listed};
use keystone_tests::{Answer, Client, Stack, goods, openapi, samples};
use serde_json::{Map, Value, json};

/// Routes attacked at once.
const PARALLEL: usize = 4;

/// An id that nothing has.
const NOTHING: &str = "01890000-0000-7000-8000-000000000000";

/// Largest body that is accepted, in bytes.
const LIMIT: usize = 1024 * 1024;

/// Every problem is one, by RFC 9457, with the headers of every answer.
fn check_problem(answer: &Answer) {
    assert!((400..500).contains(&answer.status), "{answer}");
    for (name, value) in [
        ("content-type", "application/problem+json"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}: {answer}");
    }
    let body = answer.json();
    assert_eq!(body["status"], answer.status, "{answer}");
    assert_eq!(body["request_id"], answer.request_id(), "{answer}");
    for member in ["type", "title", "detail"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
}

/// A request to the route, complete but for its body.
fn request(client: &Client, listed: &Listed) -> Request {
    client
        .request(listed.spec.method.as_str(), &routes::fill(listed.spec.path, NOTHING))
        .header("if-match", "\"1\"")
}

/// The routes that take JSON; `imports.rs` sends tables.
fn with_body() -> Vec<Listed> {
    let json = |listed: &Listed| listed.spec.takes() == Some("application/json");
    routes::all().into_iter().filter(json).collect()
}

#[tokio::test]
async fn no_body_gets_past_its_schema() {
    let stack = Stack::load();
    let tenant = stack.tenant("bodies", &[]).await;
    stream::iter(with_body())
        .for_each_concurrent(PARALLEL, |listed| {
            let client = match listed.permission {
                Some(_) => tenant.owner().clone(),
                None => tenant.stranger(),
            };
            async move {
                bodies_that_are_not_json(&client, &listed).await;
                media_types(&client, &listed).await;
                every_wrong_field_is_named(&client, &listed).await;
            }
        })
        .await;
    tenant.finish().await;
}

async fn bodies_that_are_not_json(client: &Client, listed: &Listed) {
    let deep = |open: &str| open.repeat(50_000).into_bytes();
    let malformed: [&[u8]; 9] = [
        b"",
        b"{",
        b"{}{}",
        b"{'name':'x'}",
        b"{\"name\":\"\xff\xfe\"}",
        b"{\"name\":1e999}",
        "\u{feff}{}".as_bytes(),
        &deep("["),
        &deep("{\"a\":"),
    ];
    // EPCIS keeps numbers as they are written, however large.
    let exact = ["capture-events", "create-event"].contains(&listed.spec.name);
    for body in malformed {
        let answer = request(client, listed).bytes(body).send().await;
        check_problem(&answer);
        answer.must(if exact && body.ends_with(b"1e999}") { 422 } else { 400 });
    }
    let wrong: [&[u8]; 6] =
        [b"[]", b"null", b"0", b"\"text\"", b"{\"\":{}}", b"{\"$where\":\"sleep(1000)\"}"];
    for body in wrong {
        let answer = request(client, listed).bytes(body).send().await;
        check_problem(&answer);
        answer.must(422);
    }
    let mut large = b"{\"name\":\"".to_vec();
    large.resize(LIMIT + 1, b'a');
    let answer = request(client, listed).bytes(large).send().await;
    check_problem(&answer);
    answer.must(413);
}

async fn media_types(client: &Client, listed: &Listed) {
    for media_type in ["text/plain", "application/xml", "multipart/form-data; boundary=x", "json"] {
        let request = request(client, listed).header("content-type", media_type);
        let answer = request.body("{}").send().await;
        check_problem(&answer);
        answer.must(415);
    }
    let answer = request(client, listed).body("{}").send().await;
    check_problem(&answer);
    answer.must(415);
}

/// A JSON pointer (RFC 6901) to a member.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

async fn every_wrong_field_is_named(client: &Client, listed: &Listed) {
    let schema = openapi::schema_alone(listed.spec.body.expect("it has a body"));
    let properties = schema["properties"].as_object().expect("an object").clone();
    // An operator of the database where anything but an object belongs.
    // A JSON-LD context may be text, so the value is not a wrong one.
    let mut body: Map<String, Value> = properties
        .iter()
        .filter(|(name, _)| *name != "@context")
        .map(|(name, property)| (name.clone(), wrong_value(property)))
        .collect();
    body.insert("__proto__".into(), json!({ "admin": true }));
    body.insert("a/b~c".into(), json!(null));
    refused(client, listed, &body).await;

    let with_nul: Map<String, Value> = properties
        .iter()
        .filter(|(_, property)| holds_text(property) && property["format"] != "password")
        .map(|(name, _)| (name.clone(), json!("a\u{0}b")))
        .collect();
    if !with_nul.is_empty() {
        refused(client, listed, &with_nul).await;
    }
}

/// Sends `body`, of which every member is wrong.
async fn refused(client: &Client, listed: &Listed, body: &Map<String, Value>) {
    let answer = request(client, listed).json(&json!(body)).send().await;
    check_problem(&answer);
    answer.must(422);
    let answered = answer.json();
    let errors = answered["errors"].as_array().expect("the errors");
    for name in body.keys() {
        let at = pointer(name);
        let named = errors
            .iter()
            .any(|error| error["field"].as_str().is_some_and(|field| field.starts_with(&at)));
        assert!(named, "{name} is not named: {answer}");
    }
}

/// A value that the property cannot have.
fn wrong_value(property: &Value) -> Value {
    let text = property.to_string();
    if text.contains("\"object\"") || text.contains("\"properties\"") {
        json!("text")
    } else {
        json!({ "$gt": "" })
    }
}

/// A place in a body: names of members, or the first element of a list.
#[derive(Clone, Debug)]
enum Step {
    Member(String),
    First,
}

/// The places in `schema` that hold text, and those that hold an object whose
/// members are all named.
#[derive(Default)]
struct Places {
    texts: Vec<Vec<Step>>,
    objects: Vec<Vec<Step>>,
}

impl Places {
    fn walk(&mut self, schema: &Value, at: &[Step]) {
        let below = |step: Step| [at, &[step]].concat();
        for variants in ["anyOf", "oneOf", "allOf"] {
            for variant in schema[variants].as_array().into_iter().flatten() {
                self.walk(variant, at);
            }
        }
        if schema["items"].is_object() {
            self.walk(&schema["items"], &below(Step::First));
        }
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            self.walk(member, &below(Step::Member(name.clone())));
        }
        if schema["additionalProperties"] == false {
            self.objects.push(at.to_vec());
        }
        if holds_text(schema) && !at.is_empty() {
            self.texts.push(at.to_vec());
        }
    }
}

/// Puts `value` at a place of `body`, and what it needs around it.
fn put(body: &mut Value, at: &[Step], value: Value) {
    match at {
        [] => *body = value,
        [Step::Member(name), rest @ ..] => {
            if !body.is_object() {
                *body = json!({});
            }
            put(&mut body[name], rest, value);
        }
        [Step::First, rest @ ..] => {
            if !body.is_array() {
                *body = json!([null]);
            }
            put(&mut body[0], rest, value);
        }
    }
}

fn pointer_to(at: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Member(name) => pointer(name),
        Step::First => "/0".into(),
    };
    at.iter().map(step).collect()
}

/// Operators of the database in place of every text, however deep, and beside
/// every member.
#[tokio::test]
async fn no_operator_gets_in_at_any_depth() {
    let stack = Stack::load();
    let tenant = stack.tenant("operators", &[]).await;
    let mut deepest = 0;
    for listed in with_body() {
        // EPCIS takes members of other vocabularies: see
        // `operators_in_events_are_refused_or_kept_as_text` in `epcis.rs`.
        if ["capture-events", "create-event"].contains(&listed.spec.name) {
            continue;
        }
        let client = match listed.permission {
            Some(_) => tenant.owner().clone(),
            None => tenant.stranger(),
        };
        let mut places = Places::default();
        places.walk(&openapi::schema_alone(listed.spec.body.expect("it has a body")), &[]);
        deepest = places.texts.iter().map(Vec::len).max().unwrap_or(0).max(deepest);
        let mut bodies = Vec::new();
        for hostile in [json!({ "$gt": "" }), json!(["x"]), json!({ "$where": "sleep(1000)" })] {
            bodies.push((places.texts.clone(), hostile));
        }
        for name in ["$where", "a.b", "$set"] {
            let beside = |at: &Vec<Step>| [at.as_slice(), &[Step::Member(name.into())]].concat();
            bodies.push((places.objects.iter().map(beside).collect(), json!("x")));
        }
        for (places, hostile) in bodies {
            if places.is_empty() {
                continue;
            }
            let mut body = Value::Null;
            for at in &places {
                put(&mut body, at, hostile.clone());
            }
            let answer = request(&client, &listed).json(&body).send().await;
            check_problem(&answer);
            answer.must(422);
            let answered = answer.json();
            let errors = answered["errors"].as_array().expect("the errors");
            for at in places.iter().map(|at| pointer_to(at)) {
                let named = |error: &Value| {
                    error["field"].as_str().is_some_and(|field| field.starts_with(&at))
                };
                assert!(errors.iter().any(named), "{at} is not named for {body}: {answered}");
            }
        }
    }
    assert!(deepest >= 3, "the walk went no deeper than {deepest}");
    tenant.finish().await;
}

fn holds_text(property: &Value) -> bool {
    let kinds = &property["type"];
    kinds == "string" || kinds.as_array().is_some_and(|kinds| kinds.contains(&json!("string")))
}

#[tokio::test]
async fn parameters_and_paths_are_checked() {
    let stack = Stack::load();
    let tenant = stack.tenant("paths", &[]).await;
    let owner = tenant.owner();
    for listed in routes::all().iter().filter(|listed| listed.spec.method.as_str() == "GET") {
        let path = routes::fill(listed.spec.path, NOTHING);
        for query in ["oops=1", "%24where=1", "a%5B%24ne%5D=1", "%00=1"] {
            let answer = owner.get(&format!("{path}?{query}")).await;
            check_problem(&answer);
            answer.must(422);
        }
        if listed.spec.query.is_some() {
            let wrong = [
                "limit=0",
                "limit=101",
                "limit=-1",
                "limit=1.5",
                "limit=x",
                "limit=",
                "limit=1e2",
                "limit=99999999999999999999",
                "limit=1&limit=2",
                "cursor=",
                "cursor=%00",
                "cursor=!!!",
                "cursor=e30",
                "cursor=JTAw",
                "cursor=AAAA",
                "limit=%7B%22%24gt%22%3A0%7D",
            ];
            for query in wrong {
                let answer = owner.get(&format!("{path}?{query}")).await;
                check_problem(&answer);
                assert_eq!(answer.status, 422, "{query}: {answer}");
            }
        }
        for id in
            ["x", "%00", "%7B%22%24ne%22%3A1%7D", "01890000000070008000000000000000", "-1", "1e3"]
        {
            if listed.spec.path.contains('{') {
                let answer = owner.get(&routes::fill(listed.spec.path, id)).await;
                check_problem(&answer);
                answer.must(404);
                // Whether the gateway or the function refuses this one.
                owner.get(&routes::fill(listed.spec.path, "..%2F..")).await.must(404);
            }
        }
    }
    owner.get("/v1/audit/18446744073709551616").await.must(404);
    for query in
        ["from=0000-01-01T00:00:00Z", "to=-009999-01-02T01:59:59Z", "to=10000-01-01T00:00:00Z"]
    {
        owner.get(&format!("/v1/audit?{query}")).await.must(422);
    }
    // What the gateway answers itself is a problem with HSTS as well.
    for (method, path) in [("GET", "/v1/nothing"), ("DELETE", "/v1/products"), ("GET", "/")] {
        let answer = owner.request(method, path).send().await;
        answer.must(404);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer}");
        assert_eq!(answer.json()["type"], "urn:keystone:problem:not-found");
    }
    tenant.finish().await;
}

#[tokio::test]
async fn lists_are_paged_without_gaps_and_repetitions() {
    let stack = Stack::load();
    let tenant = stack.tenant("pages", &[]).await;
    let owner = tenant.owner();
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(owner.post("/v1/products", &samples::product()).await.expect(201).id());
    }
    made.reverse();
    let (mut seen, mut path) = (Vec::new(), "/v1/products?limit=2".to_owned());
    loop {
        let page = owner.get(&path).await.expect(200).json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/products?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, made, "newest first");
    tenant.finish().await;
}

/// What the database would take for an operator, and what frameworks make of
/// brackets. Percent-encoded.
const IN_PARAMETERS: [&str; 6] = [
    "%7B%22%24gt%22%3A%22%22%7D",
    "%7B%22%24ne%22%3Anull%7D",
    "%7B%22%24where%22%3A%22sleep(1000)%22%7D",
    "%5B%22%24ne%22%5D",
    "%24ne",
    ".%2A",
];

/// The items of a list, whatever kind it is of.
fn items(answer: &Answer) -> usize {
    let body = answer.json();
    let list = body["items"]
        .as_array()
        .or_else(|| body.pointer("/epcisBody/queryResults/resultsBody/eventList")?.as_array());
    list.expect("it answers with a list").len()
}

/// Sends operators in every parameter of a list; how many were refused, and how
/// many found nothing.
async fn parameters_of(owner: &Client, listed: &Listed) -> (usize, usize) {
    let (mut refused, mut in_vain) = (0, 0);
    let path = routes::fill(listed.spec.path, NOTHING);
    let schema = openapi::schema_alone(listed.spec.query.expect("it has parameters"));
    for name in schema["properties"].as_object().expect("an object").keys() {
        for value in IN_PARAMETERS {
            let answer = owner.get(&format!("{path}?{name}={value}")).await;
            if answer.status == 200 {
                assert_eq!(items(&answer), 0, "{name}={value}: {answer}");
                in_vain += 1;
            } else {
                check_problem(&answer);
                assert!([404, 422].contains(&answer.status), "{name}={value}: {answer}");
                refused += 1;
            }
        }
        let answer = owner.get(&format!("{path}?{name}%5B%24ne%5D=x")).await;
        check_problem(&answer);
        answer.must(422);
    }
    (refused, in_vain)
}

/// What a route takes that changes something, complete but for its path: where the
/// body is right, only the path can be what is refused.
fn right_body(path: &str) -> Value {
    let last = path.rsplit('/').next().unwrap_or_default();
    match last {
        "erase" => json!({ "ground": "no_longer_needed" }),
        "offboard" => json!({ "reason": "left" }),
        "close" => json!({ "conclusion": "Done" }),
        "status" => json!({ "to": "submitted", "reason": "Done" }),
        "bundle" | "pack" | "report" => json!({}),
        _ => json!({ "name": "Renamed" }),
    }
}

/// Operators in the path of a route that changes something, which they must not
/// find. Returns how many requests there were.
async fn changes_by_path(client: &Client, listed: &Listed) -> usize {
    let mut requests = 0;
    for value in IN_PARAMETERS {
        let path = routes::fill(listed.spec.path, value);
        let request = client.request(listed.spec.method.as_str(), &path);
        let request = request.header("if-match", "\"1\"");
        let answer = match listed.spec.body {
            Some(_) => request.json(&right_body(listed.spec.path)).send().await,
            None => request.send().await,
        };
        check_problem(&answer);
        assert!([404, 422].contains(&answer.status), "{path}: {answer}");
        requests += 1;
    }
    requests
}

#[tokio::test]
async fn an_operator_in_the_path_changes_nothing() {
    let stack = Stack::load();
    let tenant = stack.tenant("operators-path", &[]).await;
    let owner = tenant.owner();
    // Of each kind there is one, which an operator would find.
    let (product, _) = goods::product(owner, "Milk").await;
    let supplier = goods::supplier(owner).await;
    let customer = goods::customer(owner).await;
    let site = owner.post("/v1/sites", &samples::site()).await.expect(201).id();
    let batch = goods::lot(&product, "A-1", "1", "LTR");
    let batch = owner.post("/v1/batches", &batch).await.expect(201).id();
    let user = json!({ "email": tenant.address_of("niamh"), "name": "Niamh", "role": "viewer" });
    let user = owner.post("/v1/users", &user).await.expect(201).id();
    let there = [
        format!("/v1/suppliers/{supplier}"),
        format!("/v1/customers/{customer}"),
        format!("/v1/sites/{site}"),
        format!("/v1/batches/{batch}"),
        format!("/v1/users/{user}"),
    ];
    let state = async || {
        let mut state = Vec::new();
        for path in &there {
            state.push(owner.get(path).await.expect(200).json());
        }
        state
    };
    let before = state().await;

    let mut requests = 0;
    let changing =
        |listed: &Listed| listed.spec.method.as_str() != "GET" && listed.spec.path.contains('{');
    for listed in routes::all().into_iter().filter(changing) {
        let client = match listed.permission {
            Some(_) => owner.clone(),
            None => tenant.stranger(),
        };
        requests += changes_by_path(&client, &listed).await;
    }
    assert!(requests > 100, "{requests} requests");
    // With a right body, only what the path names is missing.
    for value in IN_PARAMETERS {
        for path in ["/v1/customers/{id}", "/v1/suppliers/{id}", "/v1/users/{id}"] {
            let path = path.replace("{id}", value);
            owner.patch(&path, "\"1\"", &json!({ "name": "Renamed" })).await.must(404);
            let erase = json!({ "ground": "no_longer_needed" });
            owner.post(&format!("{path}/erase"), &erase).await.must(404);
        }
    }
    assert_eq!(state().await, before);
    tenant.finish().await;
}

/// What a database could take for an operator in a cell, and a list in place of
/// a text.
const IN_CELLS: [&str; 4] = [r#"{"$gt":""}"#, "$where", "a.$b", r#"["x"]"#];

#[tokio::test]
async fn an_operator_in_any_cell_is_refused() {
    let stack = Stack::load();
    let tenant = stack.tenant("operators-cells", &[]).await;
    let owner = tenant.owner();
    let (product, gtin) = goods::product(owner, "Milk").await;
    let supplier = goods::supplier(owner).await;
    let customer = goods::customer(owner).await;
    let site = owner.post("/v1/sites", &samples::site()).await.expect(201).json();
    let gln = site["gln"].as_str().expect("a GLN");
    let receipt = json!({
        "supplier_id": supplier, "at": goods::AT,
        "lots": [goods::lot(&product, "A-1", "10", "LTR")],
    });
    let batch = goods::made(owner, "/v1/receipts", receipt).await.remove(0);
    let batches = [
        ("gtin", gtin.as_str()),
        ("lot_number", "A-2"),
        ("quantity", "1"),
        ("unit", "LTR"),
        ("best_before", "2027-01-31"),
        ("origin", "IE"),
        ("supplier_id", &supplier),
    ];
    let dispatches = [
        ("customer_id", customer.as_str()),
        ("at", goods::AT),
        ("site_gln", gln),
        ("gtin", &gtin),
        ("lot_number", "A-1"),
        ("quantity", "1"),
        ("unit", "LTR"),
    ];
    let send = async |path: &str, table: String| {
        let request = owner.request("POST", path).header("content-type", "text/csv");
        request.body(table).send().await
    };
    for (path, columns) in
        [("/v1/imports/batches", batches), ("/v1/imports/dispatches", dispatches)]
    {
        let header = columns.map(|(name, _)| name).join(",");
        for (wrong, _) in columns {
            for hostile in IN_CELLS {
                let cell = |(name, right): (&str, &str)| {
                    let cell = if name == wrong { hostile } else { right };
                    format!("\"{}\"", cell.replace('"', "\"\""))
                };
                let row = columns.map(cell).join(",");
                let answer = send(path, format!("{header}\n{row}\n")).await;
                check_problem(&answer);
                let named = goods::fields(&answer);
                assert!(named.contains(&format!("/2/{wrong}")), "{hostile} in {wrong}: {answer}");
            }
        }
        for hostile in ["$where", "quantity.$gt", "quantity[$gt]"] {
            let answer = send(path, format!("{header},{hostile}\n")).await;
            check_problem(&answer);
            answer.must(422);
        }
    }
    // Nothing came, and nothing went.
    let listed = owner.get("/v1/batches").await.expect(200).json();
    let listed = listed["items"].as_array().expect("items").iter();
    assert_eq!(listed.map(|item| &item["id"]).collect::<Vec<_>>(), [&json!(batch)]);
    let shown = owner.get(&format!("/v1/batches/{batch}/article-18")).await.expect(200).json();
    assert_eq!(shown["balance"]["stock"], json!([{ "value": "10", "unit": "LTR" }]), "{shown}");
    tenant.finish().await;
}

/// As [`no_operator_gets_in_at_any_depth`], for what is no body: a filter finds
/// nothing by an operator, a header and a cell mean what they say.
#[tokio::test]
async fn an_operator_in_a_parameter_header_or_cell_is_text_or_refused() {
    let stack = Stack::load();
    let tenant = stack.tenant("operators-beside", &[]).await;
    let owner = tenant.owner();
    // Of each kind there is something to be found.
    let (product, gtin) = goods::product(owner, "Milk").await;
    goods::supplier(owner).await;
    goods::customer(owner).await;
    owner.post("/v1/sites", &samples::site()).await.must(201);
    owner.post("/v1/batches", &goods::lot(&product, "A-1", "1", "LTR")).await.must(201);
    owner.post("/v1/events", &samples::event()).await.must(201);

    let lists: Vec<Listed> = routes::all()
        .into_iter()
        .filter(|listed| listed.spec.method.as_str() == "GET" && listed.spec.query.is_some())
        .collect();
    let counts: Vec<(usize, usize)> = stream::iter(lists)
        .map(|listed| async move { parameters_of(owner, &listed).await })
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let refused: usize = counts.iter().map(|(refused, _)| refused).sum();
    let in_vain: usize = counts.iter().map(|(_, in_vain)| in_vain).sum();
    assert!(refused > 100 && in_vain > 20, "{refused} refused, {in_vain} in vain");

    // Headers.
    let hostile = r#"{"$gt":""}"#;
    let get = |name: &str, value: &str| owner.request("GET", "/v1/products").header(name, value);
    get("authorization", &format!("Bearer {hostile}")).send().await.must(401);
    for name in ["accept", "user-agent", "x-forwarded-for", "cookie"] {
        get(name, hostile).send().await.must(200);
    }
    let body = json!({ "name": "Milk, skimmed" });
    let path = format!("/v1/suppliers/{}", goods::supplier(owner).await);
    for version in [hostile, r#""{"$gt":0}""#, r#"{"$ne":null}"#] {
        let answer = owner.request("PATCH", &path).header("if-match", version).json(&body);
        let answer = answer.send().await;
        check_problem(&answer);
        assert!([400, 412, 422, 428].contains(&answer.status), "{version}: {answer}");
    }
    let create = |key: &str| {
        let body = samples::product();
        owner.request("POST", "/v1/products").header("idempotency-key", key).json(&body)
    };
    create(r#"{"$ne":"a"}"#).send().await.must(201);
    // A key of its own: as an operator it would find the first.
    create(r#"{"$ne":"b"}"#).send().await.must(201);

    // Cells.
    for lot in ["{\"\"$gt\"\":\"\"\"\"}", "$where", "a.$b"] {
        let table = format!("gtin;lot_number;quantity;unit\n{gtin};\"{lot}\";1;LTR\n");
        let answer = owner
            .request("POST", "/v1/imports/batches")
            .header("content-type", "text/csv")
            .body(table)
            .send()
            .await;
        if answer.status != 201 {
            check_problem(&answer);
            answer.must(422);
            continue;
        }
        let wanted = lot.replace("\"\"", "\"");
        let batches = owner.get("/v1/batches").await.expect(200).json();
        let lots: Vec<&Value> = batches["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| &item["lot_number"])
            .collect();
        assert!(lots.contains(&&json!(wanted)), "{wanted}: {lots:?}");
    }
    tenant.finish().await;
}
