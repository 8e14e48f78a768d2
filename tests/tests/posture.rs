//! The posture: a control that breaks is shown as broken, a publication can be
//! proved, and questionnaires say what the posture says.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::io::{Cursor, Read as _};
use std::panic::{AssertUnwindSafe, resume_unwind};

use aws_sdk_s3::types::{ObjectLockConfiguration, ObjectLockEnabled};
use futures::{FutureExt, TryStreamExt};
use jiff::SignedDuration;
use keystone::audit::bundle::verify_entry_line;
use keystone::audit::merkle::Hash;
use keystone::audit::note::VerifierKey;
use keystone::audit::tlog_proof::TlogProof;
use keystone::auth::Role;
use keystone::auth::user::MailedToken;
use keystone::{calendar, clock, random};
use keystone_tests::breach::notify_and_hold;
use keystone_tests::{Client, Stack, samples};
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::{Value, json};

const POSTURE: &str = "/v1/trust/posture";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

async fn run(stack: &Stack) -> Value {
    let event = json!({ "operator": "test-operator" });
    stack.aws().invoke(&stack.function("check-posture"), &event).await
}

async fn posture(client: &Client) -> Value {
    client
        .request("GET", POSTURE)
        .header("accept", "application/json")
        .send()
        .await
        .expect(200)
        .json()
}

fn control<'p>(posture: &'p Value, id: &str) -> &'p Value {
    let controls = posture["controls"].as_array().unwrap();
    controls.iter().find(|control| control["id"] == id).unwrap()
}

fn result<'p>(posture: &'p Value, id: &str, check: &str) -> &'p Value {
    let results = control(posture, id)["results"].as_array().unwrap();
    results.iter().find(|result| result["check"] == check).unwrap()
}

/// A control's status, and how each of its checks ended.
fn standing(posture: &Value, id: &str) -> (Value, Vec<Value>) {
    let control = control(posture, id);
    let results = control["results"].as_array().unwrap().iter();
    (control["status"].clone(), results.map(|one| one["result"].clone()).collect())
}

/// Gives the archive of checkpoints this lock for what it is given.
async fn lock_archive(stack: &Stack, lock: ObjectLockConfiguration) {
    let put = stack.s3().put_object_lock_configuration().bucket(stack.value("ARCHIVE_BUCKET"));
    put.object_lock_configuration(lock).send().await.unwrap();
}

async fn page(client: &Client) -> String {
    let answer = client.request("GET", POSTURE).header("accept", "text/html").send().await;
    let answer = answer.expect(200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    String::from_utf8(answer.body).unwrap()
}

// The archive is not locked meanwhile, so nothing else may run beside it.
#[tokio::test]
async fn a_control_that_breaks_is_shown_until_it_is_mended() {
    let stack = Stack::load();
    let stranger = stack.client();
    let attested = json!({
        "operator": "test-operator", "control": "C17.2", "record": "drills/2026-11",
        "statement": "A restore drill took 2 h 10 min and lost nothing.", "done_on": "2026-11-02",
    });
    let attest = stack.function("attest-control");
    stack.aws().invoke(&attest, &attested).await;
    // Once more is the same.
    let again = stack.aws().invoke(&attest, &attested).await;
    assert_eq!(again["created"], false);

    run(&stack).await;
    let whole = posture(&stranger).await;
    let rotation = result(&whole, "C3.1", "key-rotation");
    assert_eq!(rotation["result"], "pass", "{rotation}");
    assert_eq!(result(&whole, "C11.1", "object-lock")["result"], "pass");
    // Nothing is known here of a cluster on Atlas, and nothing is wrong.
    assert_eq!(control(&whole, "C3.1")["status"], "unverified", "{}", control(&whole, "C3.1"));
    for id in ["C4.2", "C9", "C10", "C13", "C17.2"] {
        assert_eq!(control(&whole, id)["status"], "live", "{}", control(&whole, id));
    }
    // What cannot be seen here is not said to be so.
    for id in ["C1.1", "C4.1", "C17.1"] {
        let shown = control(&whole, id);
        assert_eq!((&shown["declared"], &shown["status"]), (&json!("live"), &json!("unverified")));
    }
    for check in ["tenant-isolation", "append-only", "anonymous-refused"] {
        let shown = whole["controls"].as_array().unwrap().iter();
        let mut results = shown.flat_map(|control| control["results"].as_array().unwrap());
        let found = results.find(|result| result["check"] == check).unwrap();
        assert_eq!(found["result"], "pass", "{found}");
    }
    // The honest list, and what is late.
    assert_eq!(control(&whole, "C19.4")["status"], "not_certified");
    let mfa = control(&whole, "C8");
    assert_eq!((&mfa["status"], &mfa["late"]), (&json!("in_progress"), &json!(true)));

    // Broken for real, and mended whatever comes of it.
    let lock = stack.s3().get_object_lock_configuration().bucket(stack.value("ARCHIVE_BUCKET"));
    let lock = lock.send().await.unwrap().object_lock_configuration.unwrap();
    let unlocked =
        ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).build();
    let published = AssertUnwindSafe(async {
        stack.aws().set_key_rotation(stack.value("DATA_KEY"), false).await;
        stack.aws().set_recovery(stack.value("THROTTLE_TABLE"), false).await;
        lock_archive(&stack, unlocked).await;
        run(&stack).await
    });
    let published = published.catch_unwind().await;
    lock_archive(&stack, lock).await;
    stack.aws().set_key_rotation(stack.value("DATA_KEY"), true).await;
    stack.aws().set_recovery(stack.value("THROTTLE_TABLE"), true).await;
    let published = published.unwrap_or_else(|panic| resume_unwind(panic));
    assert!(published["degraded"].as_u64().unwrap() >= 3, "{published}");
    let broken = posture(&stranger).await;
    assert_eq!(broken["sha256"], published["sha256"]);
    for (id, check) in
        [("C3.1", "key-rotation"), ("C11.1", "object-lock"), ("C17.2", "table-backups")]
    {
        assert_eq!(control(&broken, id)["status"], "degraded");
        let failed = result(&broken, id, check);
        assert_eq!(failed["result"], "fail");
        assert!(failed["checked_at"].as_str() > rotation["checked_at"].as_str());
    }
    let shown = page(&stranger).await;
    assert!(shown.contains("Degraded"));
    for (id, check, evidence) in [
        ("C3.1", "key-rotation", "KMS does not rotate the key of tables, buckets and secrets."),
        ("C11.1", "object-lock", "The archive of checkpoints is not locked."),
    ] {
        let at = result(&broken, id, check)["checked_at"].as_str().unwrap();
        assert!(shown.contains(evidence) && shown.contains(at), "{check}");
    }
    for foreign in ["<script", "<style", "<link", "src=", "http://", "https://"] {
        assert!(!shown.contains(foreign), "{foreign}");
    }

    // Mended.
    run(&stack).await;
    let mended = posture(&stranger).await;
    assert_eq!(result(&mended, "C3.1", "key-rotation")["result"], "pass");
    assert_eq!(result(&mended, "C11.1", "object-lock")["result"], "pass");
    assert_eq!(control(&mended, "C17.2")["status"], "live");
    // The others are as they were before, which need not be live: the encryption of
    // the cluster is not seen here, and the self-check of the trails may not have run
    // or have met one that another test tampered with.
    for id in ["C3.1", "C11.1", "C17.2"] {
        assert_eq!(standing(&mended, id), standing(&whole, id), "{id}");
    }
    let csv = stranger.request("GET", POSTURE).header("accept", "text/csv").send().await;
    csv.must(406);
    the_log_proves_what_was_claimed(&stack, &broken).await;
}

/// What the system itself knows to be wrong shows: a deadline that was missed, a
/// questionnaire that is late, a value that is not where it was sealed, and a
/// password that costs less than is claimed.
#[tokio::test]
async fn what_is_late_or_wrong_in_the_data_degrades_its_control() {
    let stack = Stack::load();
    let stranger = stack.client();
    let tenant = stack.tenant("doubtful", &[]).await;
    let owner = tenant.owner();
    let customers = futures::future::join_all(["+353861234567", "+353869998877"].map(|phone| {
        let customer = keystone_tests::samples::customer("1 Quay Street", phone);
        async move { owner.post("/v1/customers", &customer).await.expect(201).id() }
    }))
    .await;
    let asked = owner.post("/v1/questionnaires", &json!({ "kind": "lite" })).await.expect(201).id();
    let report = json!({ "title": "a", "description": "b", "steps": "c" });
    let finder = stack.client().at(keystone_tests::stack::address());
    let report = finder.post("/v1/security/reports", &report).await.expect(201).json();
    let token = report["token"].as_str().unwrap();
    let hash = keystone::auth::user::MailedToken::from_text(token).hash();

    let database = stack.database().await;
    let own = database.database(&format!("t_{}", tenant.slug()));
    let all = own.collection::<Document>("customers");
    let phone = all.find_one(doc! { "_id": &customers[1] }).await.unwrap().unwrap();
    let moved = doc! { "$set": { "phone": phone.get("phone").unwrap() } };
    all.update_one(doc! { "_id": &customers[0] }, moved).await.unwrap();
    tenant.set_in_document("questionnaires", "_id", &asked, "due_on", "2026-01-02").await;
    let cheap = "$2b$10$abcdefghijklmnopqrstuuu0123456789012345678901234567890";
    let email = tenant.email_of(Role::SuperAdmin);
    tenant.set_in_document("users", "email", &email, "password.hash", cheap).await;
    let reports = database.database("t_keystone").collection::<Document>("vulnerability_reports");
    let over = doc! { "$set": { "acknowledge_by": "2026-01-02T00:00:00Z" } };
    reports.update_one(doc! { "token_hash": hash }, over).await.unwrap();
    stack.aws().invoke(&stack.function("watch-disclosures"), &json!({})).await;

    run(&stack).await;
    let shown = posture(&stranger).await;
    for (id, check) in [
        ("C5", "sealed-fields"),
        ("C7", "password-hashes"),
        ("C16", "disclosure-deadlines"),
        ("C20", "questionnaires-on-time"),
    ] {
        let failed = result(&shown, id, check);
        assert_eq!(failed["result"], "fail", "{failed}");
        assert_eq!(control(&shown, id)["status"], "degraded");
    }
    // Who asked for the run is recorded, and not published.
    let trail = database.database("t_keystone_audit").collection::<Document>("entries");
    let actors = async |action: &str| {
        let found = trail.find(doc! { "entry.action": action }).await.unwrap();
        let found: Vec<Document> = found.try_collect().await.unwrap();
        let actor = |entry: &Document| {
            let actor = entry.get_document("entry").unwrap().get_document("actor").unwrap();
            actor.get_str("id").unwrap().to_owned()
        };
        found.iter().map(actor).collect::<BTreeSet<_>>()
    };
    assert!(actors("posture.ask").await.contains("test-operator"));
    assert!(!actors("posture.publish").await.contains("test-operator"));
    tenant.close().await;
}

/// A watcher that does not run records no miss. What is overdue shows all the same.
#[tokio::test]
async fn what_is_overdue_degrades_its_control_though_nobody_recorded_it() {
    let stack = Stack::load();
    let stranger = stack.client();
    let tenant = stack.unattended_tenant("overdue").await;
    let mut detail = samples::breach(&[tenant.slug()]);
    detail["confirmed_at"] = json!(clock::now() - SignedDuration::from_hours(73));
    notify_and_hold(&stack, tenant.slug(), &detail).await;
    let report = json!({ "title": "a", "description": "b", "steps": "c" });
    let finder = stack.client().at(keystone_tests::stack::address());
    let report = finder.post("/v1/security/reports", &report).await.expect(201).json();
    let hash = MailedToken::from_text(report["token"].as_str().unwrap()).hash();
    let provider = stack.database().await.database("t_keystone");
    let reports = provider.collection::<Document>("vulnerability_reports");
    let over = doc! { "$set": { "acknowledge_by": "2026-01-02T00:00:00Z" } };
    let of_token = doc! { "token_hash": hash };
    let changed = reports.update_one(of_token.clone(), over).await.unwrap();
    assert_eq!(changed.modified_count, 1);

    run(&stack).await;
    let shown = posture(&stranger).await;
    for (id, check) in [("C18.1", "breach-deadlines"), ("C16", "disclosure-deadlines")] {
        let failed = result(&shown, id, check);
        assert_eq!(failed["result"], "fail", "{failed}");
        // Not only by what other tests let a watcher record.
        assert_eq!(failed["facts"]["overdue"], true, "{failed}");
        assert_eq!(control(&shown, id)["status"], "degraded");
    }
    // Nobody answers it, and the next posture is not to suffer from it.
    reports.delete_one(of_token).await.unwrap();
    tenant.close().await;
}

/// A sub-processor that came into use past the gate, and of which nobody was told.
#[tokio::test]
async fn a_sub_processor_that_nobody_was_told_of_degrades_its_control() {
    let stack = Stack::load();
    let tenant = stack.unattended_tenant("untold").await;
    let id = random::id(clock::now()).unwrap().to_string();
    let now = DateTime::from_millis(clock::now().as_millisecond());
    let activated_at = clock::now().to_string();
    let change = doc! {
        "_id": &id, "tenant_id": "keystone", "version": 1_i64, "created_at": now,
        "updated_at": now, "state": "active", "effective_on": "2026-01-02",
        "description": {
            "name": "Past the gate GmbH", "purpose": "p", "data": "d", "location": "Frankfurt",
            "countries": ["DE"], "safeguards": "s", "contact": "c",
        },
        "activated_at": activated_at, "withdrawn_at": Bson::Null, "reason": Bson::Null,
    };
    let provider = stack.database().await.database("t_keystone");
    let changes = provider.collection::<Document>("sub_processor_changes");
    changes.insert_one(change).await.unwrap();
    run(&stack).await;
    let shown = posture(&stack.client()).await;
    // The public list is to name it no longer, whatever was found.
    changes.delete_one(doc! { "_id": &id }).await.unwrap();
    let failed = result(&shown, "C15.2", "sub-processor-notices");
    assert_eq!(failed["result"], "fail", "{failed}");
    assert_eq!(control(&shown, "C15.2")["status"], "degraded");
    assert!(!shown.to_string().contains(tenant.slug()), "{failed}");
    tenant.close().await;
}

/// Whoever answers questionnaires hears of each that waits before its date, and
/// once it has passed.
#[tokio::test]
async fn a_questionnaire_that_waits_is_called_to_mind_before_its_date_and_after() {
    let stack = Stack::load();
    let tenant = stack.tenant("waits", &[]).await;
    let owner = tenant.owner();
    let asked = owner.post("/v1/questionnaires", &json!({ "kind": "lite" })).await.expect(201).id();
    let ours = stack.security_contact().await;
    let recorded = async |action: &str| {
        let found = owner.get(&format!("/v1/audit?action={action}")).await.expect(200).json();
        found["items"].as_array().unwrap().len()
    };
    let today = calendar::day_of(clock::now()).to_string();
    for (due_on, said, recorded_then) in
        [(today.as_str(), "is due on", (1, 0)), ("2026-01-02", "was due on", (1, 1))]
    {
        tenant.set_in_document("questionnaires", "_id", &asked, "due_on", due_on).await;
        for _ in 0..2 {
            run(&stack).await;
        }
        let now = (recorded("questionnaire.remind").await, recorded("questionnaire.miss").await);
        assert_eq!(now, recorded_then, "{said}");
        let said = format!("the questionnaire {asked} {said}");
        assert!(stack.mails_after_drain(&ours, &said).await, "{said}");
        let letters = stack.mails_to(&ours).await;
        assert_eq!(letters.iter().filter(|letter| letter.contains(&said)).count(), 1, "{said}");
    }
    tenant.finish().await;
}

/// What is issued a day late, before a run saw it wait, is late all the same.
#[tokio::test]
async fn a_questionnaire_that_is_issued_late_is_recorded_and_not_forgotten() {
    let stack = Stack::load();
    let tenant = stack.tenant("late", &[]).await;
    let owner = tenant.owner();
    let handle = stack.function("handle-questionnaire");
    let questions = json!([{ "id": "9", "text": "Is data encrypted?" }]);
    let new = json!({ "kind": "bespoke", "questions": questions });
    let recorded = async |action: &str| {
        let found = owner.get(&format!("/v1/audit?action={action}")).await.expect(200).json();
        found["items"].as_array().unwrap().len()
    };
    for (due_on, misses) in [(None, 0), (Some("2026-01-02"), 1)] {
        let asked = owner.post("/v1/questionnaires", &new).await.expect(201).id();
        if let Some(due_on) = due_on {
            tenant.set_in_document("questionnaires", "_id", &asked, "due_on", due_on).await;
        }
        let issue = |controls: Value| {
            let which = json!({ "tenant": tenant.slug(), "id": asked });
            let issue = json!({ "questionnaire": which, "controls": controls });
            json!({ "operator": "test-operator", "action": { "issue": issue } })
        };
        let refused = stack.aws().invoke_to_the_end(&handle, &issue(json!({}))).await.to_string();
        assert!(refused.contains("Must name the controls"), "{refused}");
        let named = issue(json!({ "9": ["C4.2"] }));
        stack.aws().invoke(&handle, &named).await;
        let again = stack.aws().invoke_to_the_end(&handle, &named).await.to_string();
        assert!(again.contains("given already"), "{again}");
        assert_eq!(recorded("questionnaire.miss").await, misses, "{due_on:?}");
    }
    assert_eq!(recorded("questionnaire.issue").await, 2);

    run(&stack).await;
    assert_eq!(recorded("questionnaire.miss").await, 1);
    let shown = posture(&stack.client()).await;
    let failed = result(&shown, "C20", "questionnaires-on-time");
    assert_eq!(failed["result"], "fail", "{failed}");
    assert_eq!(control(&shown, "C20")["status"], "degraded");
    tenant.finish().await;
}

/// What was published while something was broken can be fetched and proved
/// afterwards.
async fn the_log_proves_what_was_claimed(stack: &Stack, broken: &Value) {
    let stranger = stack.client();
    // Other tests may have broken trails of their own tenants.
    stack.aws().invoke_to_the_end(&stack.function("publish-checkpoints"), &json!({})).await;
    let log = stranger.get("/v1/trust/posture/log").await.expect(200).json();
    let items = log["items"].as_array().unwrap();
    assert!(items.len() >= 3);
    let item = items.iter().find(|item| item["sha256"] == broken["sha256"]).unwrap();
    let seq = item["seq"].as_u64().unwrap();

    let proved = stranger.get(&format!("/v1/trust/posture/log?seq={seq}")).await.expect(200).json();
    let document = proved["document"].as_str().unwrap();
    assert_eq!(Hash::of(&[document.as_bytes()]).to_string(), broken["sha256"].as_str().unwrap());
    let document: Value = serde_json::from_str(document).unwrap();
    assert_eq!(control(&document, "C3.1")["status"], "degraded");

    let keys = stranger.get("/v1/trust/audit-keys?tenant=keystone").await.expect(200).json();
    let keys = keys["keys"].as_array().unwrap().iter();
    let keys: Vec<VerifierKey> = keys.map(|key| key.as_str().unwrap().parse().unwrap()).collect();
    let proof: TlogProof = proved["text"].as_str().unwrap().parse().unwrap();
    let line = String::from_utf8(proof.extra.clone().unwrap()).unwrap();
    let entry = verify_entry_line(&line).unwrap();
    assert_eq!((entry.seq, proof.index), (seq, seq));
    proof.verify(&entry.leaf, &keys).unwrap();
    assert!(entry.canonical.contains(broken["sha256"].as_str().unwrap()));
    assert!(entry.canonical.contains("posture.publish"));

    // Nothing else of the provider's trail is shown.
    let published: Vec<u64> = items.iter().filter_map(|item| item["seq"].as_u64()).collect();
    let other = (0..seq).find(|other| !published.contains(other)).unwrap();
    let other = stranger.get(&format!("/v1/trust/posture/log?seq={other}")).await;
    other.must(404);
    stranger.get("/v1/trust/posture/log?seq=-1").await.must(422);
}

#[tokio::test]
async fn what_people_vouch_for_is_checked() {
    let stack = Stack::load();
    let attest = stack.function("attest-control");
    for (field, value) in [
        ("control", json!("C3.1")),
        ("control", json!("C99")),
        ("done_on", json!("2999-01-01")),
        ("statement", json!("")),
    ] {
        let mut event = json!({
            "operator": "test-operator", "control": "C14.2", "statement": "Seen.",
            "record": "r", "done_on": "2026-11-01",
        });
        event[field] = value;
        let refused = stack.aws().invoke_to_the_end(&attest, &event).await;
        let message = refused["errorMessage"].as_str().unwrap();
        assert!(message.contains(&format!("/{field}")), "{message}");
    }
}

#[tokio::test]
async fn the_posture_is_given_as_oscal() {
    let stranger = Stack::load().client();
    let results = stranger.get("/v1/trust/oscal").await.expect(200).json();
    let results = &results["assessment-results"];
    assert_eq!(results["metadata"]["oscal-version"], "1.1.3");
    assert!(results["results"][0]["reviewed-controls"]["control-selections"].is_array());
    let path = "/v1/trust/oscal?model=component-definition";
    let definition = stranger.get(path).await.expect(200).json();
    let component = &definition["component-definition"]["components"][0];
    let implemented = &component["control-implementations"][0]["implemented-requirements"];
    assert!(implemented.as_array().unwrap().len() > 30);
    stranger.get("/v1/trust/oscal?model=profile").await.must(422);
}

/// A part of a workbook, which is a ZIP archive.
fn part(book: &[u8], name: &str) -> String {
    let mut zip = zip::ZipArchive::new(Cursor::new(book)).unwrap();
    let mut text = String::new();
    zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[expect(clippy::too_many_lines, reason = "one questionnaire, from its asking to its answers")]
#[tokio::test]
async fn questionnaires_say_what_the_posture_says() {
    let stack = Stack::load();
    let tenant = stack.tenant("buyer", &[Role::Admin, Role::OpsUser]).await;
    let admin = tenant.user(Role::Admin);
    let operate = async |action: Value| {
        let event = json!({ "operator": "test-operator", "action": action });
        stack.aws().invoke(&stack.function("handle-questionnaire"), &event).await
    };
    tenant
        .user(Role::OpsUser)
        .post("/v1/questionnaires", &json!({ "kind": "lite" }))
        .await
        .must(403);
    let none = admin.post("/v1/questionnaires", &json!({ "kind": "bespoke" })).await.expect(422);
    assert_eq!(none.json()["errors"][0]["field"], "/questions");

    let asked = admin.post("/v1/questionnaires", &json!({ "kind": "full" })).await.expect(201);
    let path = asked.header("location").unwrap().to_owned();
    let draft = asked.json();
    assert_eq!(draft["state"], "received");
    assert!(draft["due_on"].as_str() > draft["received_on"].as_str());
    let answers = draft["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 261, "all of CAIQ v4");
    let of = |id: &str| answers.iter().find(|answer| answer["question"] == id).unwrap();
    // The honest list says so.
    assert_eq!(of("A&A-02.1")["answer"], "no");
    assert!(of("CEK-12.1")["explanation"].as_str().unwrap().contains("C3.1"));

    // Nothing is issued before a person has answered what no control shows.
    assert_eq!(of("HRS-01.1")["answer"], "open");
    let waiting: Vec<&Value> = answers.iter().filter(|answer| answer["answer"] == "open").collect();
    assert_eq!(draft["open"], waiting.len());
    assert!(waiting.iter().all(|answer| answer["owner"].is_string()));
    let which = json!({ "tenant": tenant.slug(), "id": draft["id"] });
    let issue = json!({
        "operator": "test-operator", "action": { "issue": { "questionnaire": which } },
    });
    let handle = stack.function("handle-questionnaire");
    let refused = stack.aws().invoke_to_the_end(&handle, &issue).await.to_string();
    assert!(refused.contains("HRS-01.1 waits for an answer of a person: founder."), "{refused}");
    let statements: Vec<Value> = waiting
        .iter()
        .map(|answer| {
            json!({
                "question": answer["question"], "answer": "no",
                "statement": "=HYPERLINK(\"https://example.test\") is not so.",
            })
        })
        .collect();
    let answer = json!({ "answer": { "questionnaire": which, "statements": statements } });
    operate(answer.clone()).await;
    let said = admin.get(&path).await.expect(200).etag();
    operate(answer).await;
    let whole = admin.get(&path).await.expect(200);
    assert_eq!(whole.etag(), said, "the same again changes nothing");
    let whole = whole.json();
    assert_eq!((&whole["state"], &whole["open"]), (&json!("received"), &json!(0)));
    operate(json!({ "issue": { "questionnaire": which } })).await;
    let issued = admin.get(&path).await.expect(200).json();
    assert_eq!(issued["state"], "issued");
    assert!(issued["issued_at"].is_string());
    let csv = admin.request("GET", &path).header("accept", "text/csv").send().await.expect(200);
    let csv = String::from_utf8(csv.body).unwrap();
    assert!(csv.starts_with("question,topic,answer,explanation,controls,owner,remark\r\n"));
    assert!(csv.contains("IAM-14.1") && csv.contains("UEM-14.1"), "to the last line");
    assert!(csv.contains("'=HYPERLINK") && csv.contains("[said by test-operator for founder at "));
    let book = admin.request("GET", &path).header("accept", XLSX).send().await.expect(200);
    assert_eq!(book.header("content-type"), Some(XLSX));
    // A formula has an element of its own. Text stands in a list of all texts, and the
    // cell has the type of such a text and its place in the list.
    let texts = part(&book.body, "xl/sharedStrings.xml");
    let at = texts.split("<si>").skip(1).position(|text| text.contains(">=HYPERLINK(")).unwrap();
    let sheet = part(&book.body, "xl/worksheets/sheet1.xml");
    assert!(sheet.contains(&format!("t=\"s\"><v>{at}</v>")), "the text is in a cell");
    assert!(!sheet.contains("<f>") && !sheet.contains("<f "), "no cell is a formula");

    // An answer that is no longer what the posture says is named.
    let id = draft["id"].as_str().unwrap();
    let at = answers.iter().position(|answer| answer["question"] == "A&A-02.1").unwrap();
    let answer = format!("answers.{at}.answer");
    tenant.set_in_document("questionnaires", "_id", id, &answer, "yes").await;
    let read = admin.get(&path).await.expect(200).json();
    assert_eq!(read["outdated"], json!(["A&A-02.1"]));
    let listed = operate(json!({ "list": {} })).await;
    let listed = listed["questionnaires"].as_array().unwrap();
    let ours = listed.iter().find(|one| one["id"] == draft["id"]).unwrap();
    assert_eq!(ours["outdated"], json!(["A&A-02.1"]));

    // Somebody who is no customer, with questions of their own.
    let id = random::id(clock::now()).unwrap();
    let mut take = json!({ "take": {
        "id": id, "organisation": "Big Retail plc", "contact": "buying@retail.example",
        "questionnaire": {
            "kind": "bespoke", "questions": [{ "id": "9", "text": "Is data encrypted?" }],
        },
    } });
    let taken = operate(take.clone()).await;
    assert_eq!(taken["id"], json!(id));
    assert_eq!(operate(take.clone()).await, taken, "the same again finds it");
    take["take"]["contact"] = json!("selling@retail.example");
    let event = json!({ "operator": "test-operator", "action": take });
    let refused = stack.aws().invoke_to_the_end(&handle, &event).await.to_string();
    assert!(refused.contains("that of another questionnaire"), "{refused}");
    let which = json!({ "id": taken["id"] });
    let controls = json!({ "9": ["C4.2"] });
    operate(json!({ "issue": { "questionnaire": which, "controls": controls } })).await;
    let read = operate(json!({ "read": which })).await;
    assert_eq!(read["contact"], "buying@retail.example", "the answers have to go somewhere");
    let answer = &read["questionnaire"]["answers"][0];
    assert!(answer["explanation"].as_str().unwrap().contains("C4.2"), "{read}");
    assert!(read["csv"].as_str().unwrap().contains("Is data encrypted?"));
    assert!(!stack.dump().await.holds(b"buying@retail.example"));
    tenant.finish().await;
}
