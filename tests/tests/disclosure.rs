//! What the provider owes to those outside: answers to reports of
//! vulnerabilities, and notice of its sub-processors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::{FutureExt, TryStreamExt};
use jiff::{SignedDuration, ToSpan};
use keystone::auth::Role;
use keystone::{calendar, clock, random};
use keystone_tests::{Client, Stack, Tenant, bounce, stack};
use mongodb::Collection;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};

fn report() -> Value {
    json!({
        "title": "Tokens in a log",
        "description": "A reset token can be read in the log of a proxy.",
        "steps": "Ask for a reset through the proxy, read its log.",
        "email": format!("finder-{}@example.org", hex::encode(stack::random::<6>())),
        "credit": format!("Nóra Ní Bhriain of {}", hex::encode(stack::random::<6>())),
    })
}

fn stranger(stack: &Stack) -> Client {
    stack.client().at(stack::address())
}

async fn provider(stack: &Stack, collection: &str) -> Collection<Document> {
    stack.database().await.database("t_keystone").collection(collection)
}

/// The stored report that `token` reads.
async fn stored(stack: &Stack, token: &str) -> Document {
    let hash = keystone::auth::user::MailedToken::from_text(token).hash();
    let reports = provider(stack, "vulnerability_reports").await;
    reports.find_one(doc! { "token_hash": hash }).await.unwrap().unwrap()
}

async fn operate(stack: &Stack, action: Value) -> Value {
    let event = json!({ "operator": "Una", "action": action });
    stack.aws().invoke_to_the_end(&stack.function("triage-vulnerability"), &event).await
}

async fn triage(stack: &Stack, report: &Document, step: Value) -> Value {
    let report = report.get_str("_id").unwrap();
    operate(stack, json!({ "triage": { "report": report, "step": step } })).await
}

/// What the provider's trail has about a report, oldest first.
async fn entries(stack: &Stack, report: &str) -> Vec<Document> {
    let trail = stack.database().await.database("t_keystone_audit");
    let trail = trail.collection::<Document>("entries");
    let of_report = doc! { "entry.resource.id": report };
    let found = trail.find(of_report).sort(doc! { "_id": 1 }).await.unwrap();
    let found: Vec<Document> = found.try_collect().await.unwrap();
    found.iter().map(|entry| entry.get_document("entry").unwrap().clone()).collect()
}

/// What was done to a report, by the trail.
async fn verbs(stack: &Stack, report: &str) -> Vec<String> {
    let entries = entries(stack, report).await;
    let actions = entries.iter().map(|entry| entry.get_str("action").unwrap());
    actions.map(|action| action.strip_prefix("vulnerability_report.").unwrap().to_owned()).collect()
}

async fn watch(stack: &Stack) -> Value {
    stack.aws().invoke(&stack.function("watch-disclosures"), &json!({})).await
}

#[tokio::test]
async fn a_report_is_answered_and_its_finder_thanked() {
    let stack = Stack::load();
    let new = report();
    let received = stranger(&stack).post("/v1/security/reports", &new).await.expect(201).json();
    let token = received["token"].as_str().unwrap().to_owned();
    let path = format!("/v1/security/reports/{token}");
    let status = async || stranger(&stack).get(&path).await.expect(200).json();
    let first = status().await;
    assert_eq!(first, received["report"]);
    assert_eq!((&first["state"], &first["missed"]), (&json!("received"), &json!(false)));
    assert!(first["acknowledge_by"].as_str() < first["plan_by"].as_str(), "{first}");

    // Details of a hole and who found it are sealed, the token only hashed.
    let kept = stored(&stack, &token).await;
    let dump = stack.dump().await;
    let name = new["credit"].as_str().unwrap();
    for part in ["Tokens in a log", "can be read in the log of a proxy", name] {
        assert!(!dump.holds(part.as_bytes()), "{part}");
    }
    assert!(
        !dump.holds(new["email"].as_str().unwrap().as_bytes()) && !dump.holds(token.as_bytes())
    );

    let refused = triage(&stack, &kept, json!({ "credit": {} })).await.to_string();
    assert!(refused.contains("Only who reported what is resolved"), "{refused}");
    triage(&stack, &kept, json!({ "acknowledge": {} })).await;
    let again = triage(&stack, &kept, json!({ "acknowledge": {} })).await.to_string();
    assert!(again.contains("acknowledged before"), "{again}");
    let past = json!({ "plan": { "text": "Soon", "until": "2020-01-01" } });
    let past = triage(&stack, &kept, past).await.to_string();
    assert!(past.contains("Must not be in the past"), "{past}");
    let until = calendar::day_of(clock::now()).saturating_add(9.days());
    let plan = json!({ "plan": { "text": "The token moves into the body.", "until": until } });
    triage(&stack, &kept, plan.clone()).await;
    let again = triage(&stack, &kept, plan).await.to_string();
    assert!(again.contains("The report has this plan"), "{again}");
    let planned = status().await;
    assert_eq!((&planned["state"], &planned["planned_for"]), (&json!("planned"), &json!(until)));
    assert!(planned["acknowledged_at"].is_string());
    triage(&stack, &kept, json!({ "resolve": { "text": "Released in 4.2." } })).await;
    let ended = triage(&stack, &kept, json!({ "reject": { "text": "No." } })).await.to_string();
    assert!(ended.contains("The report has ended"), "{ended}");
    let credits = async || stranger(&stack).get("/security/credits").await.expect(200).json();
    assert!(!credits().await.to_string().contains(name), "nobody is named before");
    triage(&stack, &kept, json!({ "credit": {} })).await;
    assert!(credits().await.to_string().contains(name));
    let again = triage(&stack, &kept, json!({ "credit": {} })).await.to_string();
    assert!(again.contains("named on the page of credits"), "{again}");
    let page = stranger(&stack).request("GET", "/security/credits").header("accept", "text/html");
    let page = page.send().await.expect(200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(String::from_utf8(page.body).unwrap().contains(name));

    let address = new["email"].as_str().unwrap();
    for told in ["look into it", "The token moves into the body.", "Released in 4.2.", "Thank you"]
    {
        assert!(stack.mails_after_drain(address, told).await, "{told}");
    }
}

#[tokio::test]
async fn an_operator_is_told_of_a_report_and_reads_it() {
    let stack = Stack::load();
    let new = report();
    let received = stranger(&stack).post("/v1/security/reports", &new).await.expect(201).json();
    let kept = stored(&stack, received["token"].as_str().unwrap()).await;
    let id = kept.get_str("_id").unwrap();

    // The letter says that it is there and until when it waits, and nothing of
    // what was reported.
    let to = stack.security_contact().await;
    assert!(stack.mails_after_drain(&to, id).await, "{to} hears of {id}");
    let letters = stack.mails_to(&to).await;
    let letter = letters.iter().find(|letter| letter.contains(id)).unwrap();
    assert!(letter.contains("It must be acknowledged by "), "{letter}");
    let said = ["title", "description", "steps", "email", "credit"];
    for member in said {
        assert!(!letter.contains(new[member].as_str().unwrap()), "{member}: {letter}");
    }

    // So does the list.
    let listed = operate(&stack, json!({ "list": { "state": "received" } })).await;
    let ours = listed["reports"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
    for member in ["state", "received_at", "acknowledge_by", "plan_by", "missed"] {
        assert_eq!(ours[member], received["report"][member], "{ours}");
    }
    for member in said {
        assert!(!listed.to_string().contains(new[member].as_str().unwrap()), "{member}");
    }
    let resolved = operate(&stack, json!({ "list": { "state": "resolved" } })).await;
    assert!(!resolved.to_string().contains(id), "{resolved}");
    let older = operate(&stack, json!({ "list": { "after": id } })).await;
    let older = older["reports"].as_array().unwrap();
    assert!(older.iter().all(|one| one["id"].as_str() < Some(id)), "{older:?}");
    assert_eq!(verbs(&stack, id).await, ["receive"], "a list shows nothing to be recorded");

    let read = operate(&stack, json!({ "read": { "report": id } })).await;
    assert_eq!((&read["id"], &read["state"]), (&json!(id), &json!("received")));
    for member in said {
        assert_eq!(read[member], new[member], "{member}");
    }
    let trail = entries(&stack, id).await;
    let entry = trail.last().unwrap();
    assert_eq!(entry.get_str("action").unwrap(), "vulnerability_report.read");
    assert_eq!(entry.get_document("actor").unwrap().get_str("id").unwrap(), "Una");
    for member in said {
        assert!(!entry.to_string().contains(new[member].as_str().unwrap()), "{member}: {entry}");
    }
}

#[tokio::test]
async fn who_reported_is_erased_and_what_they_reported_stays() {
    let stack = Stack::load();
    let new = report();
    let received = stranger(&stack).post("/v1/security/reports", &new).await.expect(201).json();
    let kept = stored(&stack, received["token"].as_str().unwrap()).await;
    let id = kept.get_str("_id").unwrap();
    triage(&stack, &kept, json!({ "resolve": { "text": "Released in 4.3." } })).await;
    triage(&stack, &kept, json!({ "credit": {} })).await;
    let name = new["credit"].as_str().unwrap();
    let credits =
        async || stranger(&stack).get("/security/credits").await.expect(200).json().to_string();
    assert!(credits().await.contains(name));
    assert!(!stack.dump().await.holds(name.as_bytes()), "who is thanked is sealed as well");

    let erase = json!({ "erase": { "report": id, "ground": "objection" } });
    let erased = operate(&stack, erase.clone()).await;
    assert_eq!(erased["subject"], format!("request:{id}"), "{erased}");
    assert!(!credits().await.contains(name), "the thanks are withdrawn");
    let read = operate(&stack, json!({ "read": { "report": id } })).await;
    assert_eq!((&read["title"], &read["state"]), (&new["title"], &json!("resolved")));
    for member in ["email", "credit", "credited_as"] {
        assert_eq!(read[member], Value::Null, "{member}");
    }
    let again = operate(&stack, erase).await.to_string();
    assert!(again.contains("Nothing is kept of who reported it"), "{again}");
    let credited = triage(&stack, &kept, json!({ "credit": {} })).await.to_string();
    assert!(credited.contains("did not permit to be named"), "{credited}");
    assert_eq!(verbs(&stack, id).await, ["receive", "resolve", "credit", "erase", "read"]);
    let erasures = provider(&stack, "erasures").await;
    let evidence = erasures.find_one(doc! { "subject": format!("request:{id}") }).await;
    assert_eq!(evidence.unwrap().unwrap().get_str("state").unwrap(), "done");

    // Of whoever said nothing of themselves nothing is kept.
    let bare = json!({ "title": "a", "description": "b", "steps": "c" });
    let received = stranger(&stack).post("/v1/security/reports", &bare).await.expect(201).json();
    let kept = stored(&stack, received["token"].as_str().unwrap()).await;
    let id = kept.get_str("_id").unwrap();
    let none = json!({ "erase": { "report": id, "ground": "objection" } });
    let none = operate(&stack, none).await.to_string();
    assert!(none.contains("Nothing is kept of who reported it"), "{none}");
}

#[tokio::test]
async fn what_an_operator_got_wrong_is_named() {
    let stack = Stack::load();
    let nowhere = random::id(clock::now()).unwrap();
    let empty_step = json!({ "report": nowhere, "step": { "resolve": { "text": "" } } });
    for (action, field) in [
        (json!({ "read": { "report": "x" } }), "/action/read/report"),
        (json!({ "read": {} }), "/action/read/report"),
        (json!({ "list": { "state": "lost" } }), "/action/list/state"),
        (json!({ "list": { "after": "x" } }), "/action/list/after"),
        (json!({ "erase": { "report": nowhere, "ground": "whim" } }), "/action/erase/ground"),
        (json!({ "triage": empty_step }), "/action/triage/step/resolve/text"),
        (json!({ "publish": {} }), "/action/publish"),
    ] {
        let refused = operate(&stack, action).await["errorMessage"].to_string();
        assert!(refused.contains(field), "{field}: {refused}");
    }
    let nobody = json!({ "operator": "", "action": { "list": {} } });
    let triage = stack.function("triage-vulnerability");
    let refused = stack.aws().invoke_to_the_end(&triage, &nobody).await["errorMessage"].to_string();
    assert!(refused.contains("/operator"), "{refused}");
    for action in [
        json!({ "read": { "report": nowhere } }),
        json!({ "erase": { "report": nowhere, "ground": "objection" } }),
        json!({ "triage": { "report": nowhere, "step": { "acknowledge": {} } } }),
    ] {
        let refused = operate(&stack, action).await["errorMessage"].to_string();
        assert!(refused.contains("urn:keystone:problem:not-found"), "{refused}");
    }
}

#[tokio::test]
async fn a_report_that_is_none_is_refused_and_nobody_floods_us() {
    let stack = Stack::load();
    let client = stranger(&stack);
    let mut wrong = report();
    wrong["title"] = json!("");
    wrong["email"] = json!("nobody");
    wrong["bounty"] = json!(1000);
    let answer = client.post("/v1/security/reports", &wrong).await.expect(422).json();
    let fields: Vec<&str> =
        answer["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    for field in ["/title", "/email", "/bounty"] {
        assert!(fields.contains(&field), "{fields:?}");
    }
    client.get("/v1/security/reports/nobody-has-this").await.must(404);
    // Whoever names nobody is asked for nothing.
    let bare = json!({ "title": "a", "description": "b", "steps": "c" });
    for _ in 0..10 {
        client.post("/v1/security/reports", &bare).await.must(201);
    }
    let locked = client.post("/v1/security/reports", &bare).await.expect(429);
    assert!(locked.header("retry-after").is_some());
    // It is no failed sign-in: the address may still sign in.
    let login = json!({ "tenant": "nobody", "email": "a@b.example", "password": "whatever it is" });
    client.post("/v1/auth/login", &login).await.must(401);
}

#[tokio::test]
async fn a_missed_deadline_is_recorded_once() {
    let stack = Stack::load();
    let received = stranger(&stack).post("/v1/security/reports", &report()).await.expect(201);
    let token = received.json()["token"].as_str().unwrap().to_owned();
    let id = stored(&stack, &token).await.get_str("_id").unwrap().to_owned();
    let reports = provider(&stack, "vulnerability_reports").await;
    let at = |hours| (clock::now() + SignedDuration::from_hours(hours)).to_string();
    let soon = doc! { "$set": { "acknowledge_by": at(20), "plan_by": at(200) } };
    reports.update_one(doc! { "_id": &id }, soon).await.unwrap();
    for _ in 0..2 {
        watch(&stack).await;
        assert_eq!(verbs(&stack, &id).await, ["receive", "remind"]);
    }
    let over = doc! { "$set": { "acknowledge_by": at(-1), "plan_by": at(-1) } };
    reports.update_one(doc! { "_id": &id }, over).await.unwrap();
    let began = clock::now();
    for _ in 0..2 {
        watch(&stack).await;
        assert_eq!(verbs(&stack, &id).await, ["receive", "remind", "miss", "miss"]);
    }
    let logs = stack.logs(began - SignedDuration::from_secs(1)).await;
    assert!(logs.contains("\"vulnerability_deadlines_missed\":1"), "each is counted by itself");
    let path = format!("/v1/security/reports/{token}");
    assert_eq!(stranger(&stack).get(&path).await.expect(200).json()["missed"], true);
}

#[tokio::test]
async fn a_late_step_is_a_miss_though_nobody_watched() {
    let stack = Stack::load();
    let received = stranger(&stack).post("/v1/security/reports", &report()).await.expect(201);
    let token = received.json()["token"].as_str().unwrap().to_owned();
    let kept = stored(&stack, &token).await;
    let over = (clock::now() - SignedDuration::from_mins(1)).to_string();
    let reports = provider(&stack, "vulnerability_reports").await;
    let over = doc! { "$set": { "acknowledge_by": over } };
    reports.update_one(doc! { "_id": kept.get_str("_id").unwrap() }, over).await.unwrap();
    triage(&stack, &kept, json!({ "acknowledge": {} })).await;
    let path = format!("/v1/security/reports/{token}");
    assert_eq!(stranger(&stack).get(&path).await.expect(200).json()["missed"], true);
}

#[tokio::test]
async fn security_txt_says_where_to_report() {
    let stack = Stack::load();
    let answer = stranger(&stack).get("/.well-known/security.txt").await.expect(200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.starts_with("Contact: mailto:security@keystone.example\r\n"), "{text}");
    let expires = text.lines().find_map(|line| line.strip_prefix("Expires: ")).unwrap();
    let expires: jiff::Timestamp = expires.trim().parse().unwrap();
    let days = expires.duration_since(clock::now()).as_hours() / 24;
    assert!((28..=30).contains(&days), "{days}");
}

fn change(effective_in: i32) -> Value {
    let day = calendar::days_after(calendar::day_of(clock::now()), effective_in);
    json!({
        "operator": "Una",
        "change": random::id(clock::now()).unwrap(),
        "sub_processor": {
            "name": format!("Ledger {} GmbH", hex::encode(stack::random::<4>())),
            "purpose": "Archiving of invoices",
            "data": "Billing contacts",
            "location": "Frankfurt",
            "countries": ["DE"],
            "safeguards": "EU processing",
            "contact": "dpo@ledger.example",
        },
        "effective_on": day,
    })
}

async fn announce(stack: &Stack, change: &Value) -> Value {
    stack.aws().invoke_to_the_end(&stack.function("announce-sub-processor"), change).await
}

async fn contact_email(stack: &Stack, tenant: &Tenant<'_>, email: &str) -> String {
    let settings = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let settings = settings.collection::<Document>("settings");
    let change = doc! { "$set": { "contacts.primary.email": email } };
    let before = settings.find_one_and_update(doc! {}, change).await.unwrap().unwrap();
    let contacts = before.get_document("contacts").unwrap();
    contacts.get_document("primary").unwrap().get_str("email").unwrap().to_owned()
}

/// Makes the tenant's message about the change one that was given up.
async fn given_up(stack: &Stack, tenant: &Tenant<'_>, change: &str) {
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let notices = database.collection::<Document>("sub_processor_notices");
    let told = notices.find_one(doc! { "_id": change }).await.unwrap().unwrap();
    let outbox = database.collection::<Document>("outbox");
    let failed = doc! { "$set": { "state": "failed" } };
    let changed = outbox.update_one(doc! { "_id": told.get_str("mail").unwrap() }, failed).await;
    assert_eq!(changed.unwrap().modified_count, 1);
}

/// Lets the tenant's message about the change come back.
async fn comes_back(stack: &Stack, tenant: &Tenant<'_>, change: &str) {
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let notices = database.collection::<Document>("sub_processor_notices");
    let told = notices.find_one(doc! { "_id": change }).await.unwrap().unwrap();
    let of = (tenant.slug(), told.get_str("mail").unwrap());
    let event = bounce::event("a-set", of, "gone@keystone.example", ("Permanent", "NoEmail"));
    assert_eq!(bounce::record(stack, &event).await, 1);
}

/// Makes every notice of the change one that was sent so many days ago.
async fn sent_days_ago(stack: &Stack, change: &str, days: i64) {
    let client = stack.database().await;
    let at = clock::now() - SignedDuration::from_hours(24 * days);
    let at = DateTime::from_millis(at.as_millisecond());
    for name in client.list_database_names().await.unwrap() {
        let database = client.database(&name);
        let notices = database.collection::<Document>("sub_processor_notices");
        let Some(told) = notices.find_one(doc! { "_id": change }).await.unwrap() else { continue };
        let mail = told.get_str("mail").unwrap();
        let sent = doc! { "$set": { "state": "sent", "updated_at": at } };
        let outbox = database.collection::<Document>("outbox");
        outbox.update_one(doc! { "_id": mail }, sent).await.unwrap();
    }
}

// Every tenant of the stack is told, so nothing else may run beside it.
#[expect(clippy::too_many_lines, reason = "one change, from its announcement to its end")]
#[tokio::test]
async fn customers_hear_of_a_sub_processor_thirty_days_before() {
    let stack = Stack::load();
    let tenant = stack.tenant("told", &[Role::Admin, Role::Viewer]).await;
    let refused = announce(&stack, &change(29)).await.to_string();
    assert!(refused.contains("Must be at least 30 days ahead"), "{refused}");

    let new = change(30);
    let id = new["change"].as_str().unwrap();
    let name = new["sub_processor"]["name"].as_str().unwrap();
    let email = contact_email(&stack, &tenant, "").await;
    let blocked = announce(&stack, &new).await.to_string();
    let why = format!("The tenant {} has no primary contact.", tenant.slug());
    assert!(blocked.contains(&why), "{blocked}");
    let listed = async || stranger(&stack).get("/legal/sub-processors").await.expect(200).json();
    assert!(!listed().await.to_string().contains(name), "nothing is half-announced");
    contact_email(&stack, &tenant, &email).await;

    // Twice, as after a run that was interrupted: each is told once.
    let told = announce(&stack, &new).await["told"].as_u64().unwrap();
    assert!(told >= 1);
    let again = announce(&stack, &new).await;
    assert_eq!((&again["told"], again["before"].as_u64()), (&json!(0), Some(told)));
    assert!(stack.mails_after_drain(&email, name).await);
    assert_eq!(stack.mails_to(&email).await.iter().filter(|mail| mail.contains(name)).count(), 1);
    // The evidence of delivery, for us and for the tenant.
    let delivered = announce(&stack, &new).await["deliveries"].clone();
    let of = |delivery: &&Value| delivery["tenant"] == tenant.slug();
    let ours = delivered.as_array().unwrap().iter().find(of).unwrap();
    assert_eq!(ours["mail"]["state"], "sent");
    let told = tenant.owner().get("/v1/sub-processor-changes").await.expect(200).json();
    assert_eq!(told["items"][0]["delivered_at"], ours["mail"]["since"]);
    // A message that was given up is written again, and by 30 days later.
    given_up(&stack, &tenant, id).await;
    assert_eq!(announce(&stack, &new).await["told"], 1);
    assert_eq!(announce(&stack, &new).await["told"], 0);
    // And one that came back.
    comes_back(&stack, &tenant, id).await;
    let told = tenant.owner().get("/v1/sub-processor-changes").await.expect(200).json();
    assert_eq!(told["items"][0]["delivered_at"], Value::Null);
    assert_eq!(announce(&stack, &new).await["told"], 1);
    assert_eq!(announce(&stack, &new).await["told"], 0);
    let other = json!({ "id": id, "name": "Other" });
    let mut renamed = new.clone();
    renamed["sub_processor"]["name"] = other["name"].clone();
    let conflict = announce(&stack, &renamed).await.to_string();
    assert!(conflict.contains("that of another change"), "{conflict}");

    let state = async || {
        let items = listed().await["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!(state().await, "announced");
    let page =
        stranger(&stack).request("GET", "/legal/sub-processors").header("accept", "text/html");
    let page = String::from_utf8(page.send().await.expect(200).body).unwrap();
    assert!(page.contains(name) && page.contains("MongoDB Limited"), "{page}");

    let path = format!("/v1/sub-processor-changes/{id}/objection");
    let reason = json!({ "reason": "Our contract names Ireland only." });
    tenant.user(Role::Admin).post(&path, &reason).await.must(403);
    let viewed = tenant.user(Role::Viewer).get("/v1/sub-processor-changes").await.expect(200);
    assert_eq!(viewed.json()["items"][0]["id"], id);
    // Its day may have come: while it waits, for whatever reason, one may object.
    let notices = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let notices = notices.collection::<Document>("sub_processor_notices");
    let come = doc! { "$set": { "effective_on": "2026-01-01" } };
    notices.update_one(doc! { "_id": id }, come).await.unwrap();
    let objected = tenant.owner().post(&path, &reason).await.expect(200).json();
    assert_eq!(objected["objection"]["outcome"], Value::Null);
    tenant.owner().post(&path, &reason).await.must(409);

    // Its day comes, all notices were delivered 30 days ago: the objection holds
    // it up, then what was delivered a day too late, then nothing.
    let changes = provider(&stack, "sub_processor_changes").await;
    let today = calendar::day_of(clock::now()).to_string();
    let come = doc! { "$set": { "effective_on": today } };
    changes.update_one(doc! { "_id": id }, come).await.unwrap();
    sent_days_ago(&stack, id, 31).await;
    let waiting = watch(&stack).await["waiting"].to_string();
    assert!(waiting.contains(id) && waiting.contains("objection"), "{waiting}");
    assert_eq!(state().await, "announced");
    let outcome = json!({
        "operator": "Una", "tenant": tenant.slug(), "change": id, "outcome": "Only Ireland is used.",
    });
    let settle = stack.function("settle-objection");
    stack.aws().invoke(&settle, &outcome).await;
    let again = stack.aws().invoke_to_the_end(&settle, &outcome).await.to_string();
    assert!(again.contains("The objection is settled"), "{again}");
    sent_days_ago(&stack, id, 29).await;
    let waiting = watch(&stack).await["waiting"].to_string();
    assert!(waiting.contains(id) && waiting.contains("until"), "{waiting}");
    sent_days_ago(&stack, id, 30).await;
    comes_back(&stack, &tenant, id).await;
    let waiting = watch(&stack).await["waiting"].to_string();
    assert!(waiting.contains(id) && waiting.contains("undelivered"), "{waiting}");
    assert_eq!(state().await, "announced");
    sent_days_ago(&stack, id, 30).await;
    watch(&stack).await;
    assert_eq!(state().await, "active");
    // The posture looks at the letters, and not at how it came into use.
    let of_notices = async || seen(&stack, "C15.2", "sub-processor-notices").await;
    let told = of_notices().await;
    assert_eq!(told["result"], "pass", "{told}");
    comes_back(&stack, &tenant, id).await;
    let lost = of_notices().await;
    assert_eq!(lost["result"], "fail", "{lost}");
    assert!(!lost.to_string().contains(tenant.slug()), "{lost}");
    // What is used already is not announced again, but its use can end.
    let as_announced = doc! { "$set": { "effective_on": new["effective_on"].as_str() } };
    changes.update_one(doc! { "_id": id }, as_announced).await.unwrap();
    let refused = announce(&stack, &new).await.to_string();
    assert!(refused.contains("took effect or was withdrawn"), "{refused}");
    let end = json!({ "operator": "Una", "change": id, "reason": "The contract ended." });
    stack.aws().invoke(&stack.function("withdraw-sub-processor"), &end).await;
    assert!(!listed().await.to_string().contains(name));
    let again =
        stack.aws().invoke_to_the_end(&stack.function("withdraw-sub-processor"), &end).await;
    assert!(again.to_string().contains("withdrawn before"), "{again}");
    let late = stack.tenant("later", &[]).await;
    late.owner().post(&path, &reason).await.must(404);
    late.finish().await;
    tenant.finish().await;
}

// Every tenant of the stack is told, so nothing else may run beside it.
#[tokio::test]
async fn customers_hear_of_a_sub_processor_and_we_of_their_objections() {
    let stack = Stack::load();
    let tenant = stack.tenant("objects", &[]).await;
    let new = change(30);
    let id = new["change"].as_str().unwrap();
    let name = new["sub_processor"]["name"].as_str().unwrap();
    announce(&stack, &new).await;
    let (ours, theirs) = (stack.security_contact().await, tenant.email_of(Role::SuperAdmin));
    let letters = async |address: &str, text: &str| {
        let mails = stack.mails_to(address).await;
        mails.iter().filter(|mail| mail.contains(name) && mail.contains(text)).count()
    };
    let about_change = async || {
        let entries = entries(&stack, id).await;
        let actions = entries.iter().map(|entry| entry.get_str("action").unwrap().to_owned());
        actions.collect::<Vec<_>>()
    };

    // Whoever answers for it hears of it at once, and so does who got the notice.
    let path = format!("/v1/sub-processor-changes/{id}/objection");
    let reason = json!({ "reason": "Our contract names Ireland only." });
    tenant.owner().post(&path, &reason).await.must(200);
    tenant.owner().post(&path, &reason).await.must(409);
    let objects = format!("{} Ltd ({}) objects to our use of {name}", tenant.slug(), tenant.slug());
    assert!(stack.mails_after_drain(&ours, &objects).await);
    assert!(stack.mails_after_drain(&theirs, "a super_admin objected for").await);
    assert_eq!(letters(&ours, "Our contract names Ireland only.").await, 1);
    assert_eq!(letters(&theirs, "none of your data goes there").await, 1);

    // A week before its day we are reminded once, and on it told once what it
    // waits for.
    let changes = provider(&stack, "sub_processor_changes").await;
    let open = format!("Open are those of: {}.", tenant.slug());
    let mut wanted = vec!["sub_processor_change.announce".to_owned()];
    for (days, said, action) in [
        (8, "is announced for", None),
        (7, "is announced for", Some("sub_processor_change.remind")),
        (0, "was announced for", Some("sub_processor_change.hold_up")),
    ] {
        let day = calendar::days_after(calendar::day_of(clock::now()), days);
        let near = doc! { "$set": { "effective_on": day.to_string() } };
        changes.update_one(doc! { "_id": id }, near).await.unwrap();
        for _ in 0..2 {
            let waiting = watch(&stack).await["waiting"].to_string();
            assert!(waiting.contains(id), "{waiting}");
        }
        wanted.extend(action.map(str::to_owned));
        assert_eq!(about_change().await, wanted, "{days}");
        if action.is_some() {
            let said = format!("{name} {said}");
            assert!(stack.mails_after_drain(&ours, &said).await, "{said}");
            assert_eq!(letters(&ours, &said).await, 1, "{said}");
        }
    }
    assert_eq!(letters(&ours, &open).await, 2);

    // It can be settled though the tenant was suspended since.
    tenant.set_state("suspended").await;
    let outcome = json!({
        "operator": "Una", "tenant": tenant.slug(), "change": id, "outcome": "Only Ireland is used.",
    });
    stack.aws().invoke(&stack.function("settle-objection"), &outcome).await;
    let end = json!({ "operator": "Una", "change": id, "reason": "The test ended." });
    stack.aws().invoke(&stack.function("withdraw-sub-processor"), &end).await;
    tenant.set_state("active").await;
    tenant.finish().await;
}

// Every tenant of the stack is told, so nothing else may run beside it.
#[tokio::test]
async fn customers_hear_of_a_sub_processor_though_they_are_suspended() {
    let stack = Stack::load();
    let away = stack.unattended_tenant("told-away").await;
    let gone = stack.unattended_tenant("told-never").await;
    let gone_slug = gone.slug().to_owned();
    gone.close().await;
    away.set_state("suspended").await;
    let new = change(30);
    let id = new["change"].as_str().unwrap();
    let name = new["sub_processor"]["name"].as_str().unwrap();
    let email = contact_email(&stack, &away, "").await;
    let blocked = announce(&stack, &new).await.to_string();
    let why = format!("The tenant {} has no primary contact.", away.slug());
    assert!(blocked.contains(&why), "{blocked}");
    contact_email(&stack, &away, &email).await;

    announce(&stack, &new).await;
    assert!(stack.mails_after_drain(&email, name).await, "it leaves while other mail waits");
    let letters = stack.mails_to(&email).await;
    let letter = letters.iter().find(|letter| letter.contains(name)).unwrap();
    // The published address, since nobody can sign in.
    let published = stranger(&stack).get("/.well-known/security.txt").await.expect(200).body;
    let published = String::from_utf8(published).unwrap();
    let (_, published) = published.split_once("Contact: mailto:").unwrap();
    let write_to = format!("Write to {} to do so", published.lines().next().unwrap());
    assert!(letter.contains(&write_to), "{write_to}: {letter}");
    let delivered = announce(&stack, &new).await["deliveries"].clone();
    let of = |slug: &str| {
        let mut delivered = delivered.as_array().unwrap().iter();
        delivered.find(|delivery| delivery["tenant"] == slug).cloned()
    };
    assert_eq!(of(away.slug()).unwrap()["mail"]["state"], "sent");
    assert_eq!(of(&gone_slug), None, "nothing of it is left to be processed");

    // It objects in writing, which an operator records and both sides hear of.
    objects_in_writing(&stack, &away, (id, name), &email).await;

    // It holds the change up as any other does.
    let changes = provider(&stack, "sub_processor_changes").await;
    let come = doc! { "$set": { "effective_on": calendar::day_of(clock::now()).to_string() } };
    changes.update_one(doc! { "_id": id }, come).await.unwrap();
    sent_days_ago(&stack, id, 30).await;
    let waiting = watch(&stack).await["waiting"].to_string();
    assert!(waiting.contains(&format!("\"objection\":\"{}\"", away.slug())), "{waiting}");
    let outcome = json!({
        "operator": "Una", "tenant": away.slug(), "change": id, "outcome": "Only Ireland is used.",
    });
    stack.aws().invoke(&stack.function("settle-objection"), &outcome).await;
    given_up(&stack, &away, id).await;
    let waiting = watch(&stack).await["waiting"].to_string();
    assert!(waiting.contains(&format!("\"undelivered\":\"{}\"", away.slug())), "{waiting}");
    sent_days_ago(&stack, id, 30).await;
    let waiting = watch(&stack).await["waiting"].to_string();
    assert!(!waiting.contains(id), "{waiting}");
    let end = json!({ "operator": "Una", "change": id, "reason": "The test ended." });
    stack.aws().invoke(&stack.function("withdraw-sub-processor"), &end).await;
    away.close().await;
}

/// Records that `tenant`, of whom nobody can sign in, objects to this change.
async fn objects_in_writing(
    stack: &Stack,
    tenant: &Tenant<'_>,
    (change, name): (&str, &str),
    email: &str,
) {
    let slug = tenant.slug();
    let record = async |what: Value| {
        let mut event = json!({ "operator": "Una", "tenant": slug, "change": change });
        event.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        stack.aws().invoke_to_the_end(&stack.function("settle-objection"), &event).await
    };
    let why = "Our contract names Ireland only.";
    for neither in [json!({}), json!({ "reason": why, "outcome": "Only Ireland is used." })] {
        let refused = record(neither).await.to_string();
        assert!(refused.contains("Give either a reason or an outcome."), "{refused}");
    }
    let none = record(json!({ "outcome": "Only Ireland is used." })).await.to_string();
    assert!(none.contains("urn:keystone:problem:not-found"), "{none}");
    assert_eq!(record(json!({ "reason": why })).await, json!({}));
    let again = record(json!({ "reason": why })).await.to_string();
    assert!(again.contains("The tenant objected before"), "{again}");

    let told = tenant.document("sub_processor_notices", "_id", change).await;
    let objection = told.get_document("objection").unwrap();
    assert_eq!(objection.get_document("by").unwrap(), &doc! { "recorded_by": "Una" });
    assert_eq!(objection.get_str("reason").unwrap(), why);
    let ours = stack.security_contact().await;
    let objects = format!("{slug} Ltd ({slug}) objects to our use of {name}");
    assert!(stack.mails_after_drain(&ours, &objects).await);
    let recorded = format!("{slug} Ltd objected in writing to our use of {name}");
    assert!(stack.mails_after_drain(email, &recorded).await, "it leaves while other mail waits");
}

/// What the tenant sees of the sub-processor `name`.
async fn use_of(client: &Client, name: &str) -> Value {
    let listed = client.get("/v1/sub-processors").await.expect(200).json();
    let items = listed["items"].as_array().unwrap();
    items.iter().find(|item| item["name"] == name).unwrap().clone()
}

async fn set_consent(owner: &Client, consent: Value) {
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let change = json!({ "cross_border_consent": consent });
    owner.patch("/v1/tenant", &etag, &change).await.must(200);
}

/// What the posture says of this check of a control, asked anew.
async fn seen(stack: &Stack, control: &str, check: &str) -> Value {
    let event = json!({ "operator": "test-operator" });
    stack.aws().invoke(&stack.function("check-posture"), &event).await;
    let posture = stranger(stack).request("GET", "/v1/trust/posture");
    let posture = posture.header("accept", "application/json").send().await.expect(200).json();
    let controls = posture["controls"].as_array().unwrap();
    let control = controls.iter().find(|one| one["id"] == control).unwrap();
    let results = control["results"].as_array().unwrap();
    results.iter().find(|result| result["check"] == check).unwrap().clone()
}

// Every tenant of the stack is told, so nothing else may run beside it.
#[tokio::test]
async fn data_leaves_the_eu_only_with_written_consent() {
    let stack = Stack::load();
    let (tenant, other) = futures::join!(
        stack.tenant("consents", &[Role::Viewer, Role::Demo]),
        stack.tenant("stays", &[])
    );
    tenant.user(Role::Demo).get("/v1/sub-processors").await.must(403);
    let first = use_of(tenant.user(Role::Viewer), "MongoDB Limited").await;
    assert_eq!((&first["allowed"], &first["outside_eu"]), (&json!(true), &json!(false)));

    let mut new = change(30);
    for (countries, field) in
        [(json!([]), "/sub_processor/countries"), (json!(["ZZ"]), "/sub_processor/countries/0")]
    {
        new["sub_processor"]["countries"] = countries;
        let refused = announce(&stack, &new).await["errorMessage"].to_string();
        assert!(refused.contains(field), "{refused}");
    }
    new["sub_processor"]["countries"] = json!(["IE", "US"]);
    let checked = AssertUnwindSafe(consent_decides(&stack, (&tenant, &other), &new));
    let checked = checked.catch_unwind().await;
    let end = json!({ "operator": "Una", "change": new["change"], "reason": "The test ended." });
    stack.aws().invoke_to_the_end(&stack.function("withdraw-sub-processor"), &end).await;
    checked.unwrap_or_else(|panic| resume_unwind(panic));

    let mended = seen(&stack, "C1.2", "sub-processors-abroad").await;
    assert_eq!(mended["result"], "pass", "{mended}");
    other.finish().await;
    tenant.finish().await;
}

/// Announces the sub-processor outside the EU and lets it take effect: `tenant`
/// consents, `other` does not.
async fn consent_decides(stack: &Stack, (tenant, other): (&Tenant<'_>, &Tenant<'_>), new: &Value) {
    let (id, owner) = (new["change"].as_str().unwrap(), tenant.owner());
    let name = new["sub_processor"]["name"].as_str().unwrap();
    assert!(announce(stack, new).await["told"].as_u64().unwrap() >= 2);
    let told = "only with your written consent";
    assert!(stack.mails_after_drain(&tenant.email_of(Role::SuperAdmin), told).await);
    let listed = stranger(stack).get("/legal/sub-processors").await.expect(200).json();
    let item = listed["items"].as_array().unwrap().iter().find(|item| item["name"] == name);
    assert_eq!(item.unwrap()["outside_eu"], true);

    let barred = async |client: &Client| {
        let shown = use_of(client, name).await;
        assert_eq!(shown["allowed"], shown["barred_by"] == json!([]), "{shown}");
        shown["barred_by"].clone()
    };
    assert_eq!(barred(owner).await, json!(["not_in_effect", "consent_missing"]));
    let path = format!("/v1/sub-processor-changes/{id}/objection");
    owner.post(&path, &json!({ "reason": "Why there?" })).await.must(200);
    let all = json!(["not_in_effect", "objection_open", "consent_missing"]);
    assert_eq!(barred(owner).await, all);
    let consent = json!({ "signatory": "Orla Byrne", "document": "Contract 7, annex 2" });
    set_consent(owner, consent.clone()).await;
    assert_eq!(barred(owner).await, json!(["not_in_effect", "objection_open"]));
    let outcome = json!({
        "operator": "Una", "tenant": tenant.slug(), "change": id, "outcome": "Explained.",
    });
    stack.aws().invoke(&stack.function("settle-objection"), &outcome).await;
    assert_eq!(barred(owner).await, json!(["not_in_effect"]));

    let changes = provider(stack, "sub_processor_changes").await;
    let come = doc! { "$set": { "effective_on": calendar::day_of(clock::now()).to_string() } };
    changes.update_one(doc! { "_id": id }, come).await.unwrap();
    sent_days_ago(stack, id, 30).await;
    watch(stack).await;
    assert_eq!(barred(owner).await, json!([]));
    assert_eq!(barred(other.owner()).await, json!(["consent_missing"]));
    let page =
        stranger(stack).request("GET", "/legal/sub-processors").header("accept", "text/html");
    let page = String::from_utf8(page.send().await.expect(200).body).unwrap();
    assert!(page.contains("only with the customer"), "{page}");
    // Whom it is used for nobody can see, so that is not claimed.
    let seen = seen(stack, "C1.2", "sub-processors-abroad").await;
    assert_eq!(seen["result"], "unknown", "{seen}");
    assert!(seen["evidence"].as_str().unwrap().contains("was not seen"), "{seen}");

    // Withdrawn is withdrawn, at once.
    set_consent(owner, Value::Null).await;
    assert_eq!(barred(owner).await, json!(["consent_missing"]));
    set_consent(owner, consent).await;
    assert_eq!(barred(owner).await, json!([]));
}
