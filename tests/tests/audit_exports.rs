//! Exports of the audit trail from the request to the fetched file, and runs
//! that are killed on the way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keystone::auth::Role;
use keystone_tests::exports::{
    ask, ask_unseen, ask_unseen_for, contents, end_lease, fetch, fetch_done, message, proved,
    published_keys, verify_together, volumes_of, worker,
};
use keystone_tests::trail::Trail;
use keystone_tests::verdicts::{Folder, keystone_verify, pdfsig, pdftotext, pyhanko};
use keystone_tests::{Client, Stack, Tenant, bulk, samples, stack};
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};

/// Something to export: some changes by two people.
async fn something(tenant: &Tenant<'_>) {
    let admin = tenant.user(Role::Admin);
    for worker in [admin, tenant.owner()] {
        something_by(worker).await;
    }
}

/// A product, and two changes of a batch of it.
async fn something_by(worker: &Client) {
    let product = worker.post("/v1/products", &samples::product()).await.expect(201).id();
    let batch = worker.post("/v1/batches", &samples::batch(&product)).await.expect(201);
    let change = json!({ "state": "on_hold", "origin": null });
    let path = format!("/v1/batches/{}", batch.id());
    worker.patch(&path, &batch.etag(), &change).await.must(200);
}

/// The recorded SHA-256 of each volume of an export, in order.
async fn recorded(tenant: &Tenant<'_>, export: &str) -> Vec<String> {
    let mut files: Vec<(u64, String)> = tenant
        .audit_trail()
        .await
        .iter()
        .filter(|entry| entry["action"] == "audit_export.add_file")
        .filter(|entry| entry["resource"]["id"] == export)
        .map(|entry| {
            let changes = entry["delta"].as_array().unwrap();
            let file = changes.iter().find_map(|change| change["value"].get("sha256")).unwrap();
            (entry["seq"].as_u64().unwrap(), file.as_str().unwrap().to_owned())
        })
        .collect();
    files.sort_unstable();
    files.into_iter().map(|(_, sha256)| sha256).collect()
}

#[tokio::test]
async fn each_format_arrives_whole() {
    let stack = Stack::load();
    let tenant = stack.tenant("formats", &[Role::Admin]).await;
    something(&tenant).await;
    let admin = tenant.user(Role::Admin);
    for format in ["jsonl", "csv", "pdf"] {
        let id = ask(admin, format, &json!({})).await;
        let volumes = fetch(&stack, admin, &id).await;
        assert_eq!(volumes.len(), 1);
        assert_eq!(volumes[0].view["sha256"], recorded(&tenant, &id).await[0]);
        assert!(volumes[0].name.starts_with(&format!("{}-audit-", tenant.slug())));
        let export = admin.get("/v1/audit/exports").await.expect(200).json()["items"][0].clone();
        assert!(export["files"][0]["url"].is_null(), "the list hands out no links");
        let size = export["tree_size"].as_u64().unwrap();
        assert_eq!(export["entries"], size);
        match format {
            "jsonl" => {
                let numbers = proved(&tenant, &contents(&volumes)).await;
                assert_eq!(numbers, (0..size).collect::<Vec<_>>());
            }
            "csv" => check_csv(&volumes[0].bytes, size, admin),
            _ => check_pdf(&stack, &tenant, &volumes[0].bytes, size).await,
        }
    }
    tenant.finish().await;
}

fn check_csv(bytes: &[u8], size: u64, admin: &Client) {
    assert!(bytes.ends_with(b"\r\n"));
    let mut table = csv::Reader::from_reader(bytes);
    let header = table.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    let seqs: Vec<u64> = rows.iter().map(|row| row[column("seq")].parse().unwrap()).collect();
    assert_eq!(seqs, (0..size).collect::<Vec<_>>());
    let created = rows.iter().find(|row| &row[column("action")] == "product.create").unwrap();
    assert_eq!(created[column("source_ip")], admin.address().to_string());
    let changes: Value = serde_json::from_str(&created[column("changes")]).unwrap();
    assert!(changes.as_array().unwrap().iter().any(|change| change["path"] == "/gtin"));
}

async fn check_pdf(stack: &Stack, tenant: &Tenant<'_>, bytes: &[u8], size: u64) {
    let folder = Folder::new(&format!("{}-formats", tenant.slug()));
    let file = folder.file("report.pdf", bytes);
    let verdict = pdfsig(&file);
    assert!(verdict.contains("Signature is Valid"), "{verdict}");
    assert!(verdict.contains("Total document signed"), "{verdict}");
    assert!(pyhanko(stack, &file).contains("INTACT:TRUSTED"));
    let key = &published_keys(tenant).await[0];
    let path = file.to_str().unwrap();
    let root = stack.value("ROOT_CA");
    let (code, words) = keystone_verify(&["pdf", path, "--root", root, "--vkey", key]);
    assert_eq!(code, Some(0), "{words}");
    let text = pdftotext(&file);
    for part in ["Page 1 of", "How to verify this report", "BRCGS 3.9", "certifies nothing"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    let unfiltered = |line: &str| line.split_whitespace().eq(["Filter", "none"]);
    assert!(text.lines().any(unfiltered), "the report does not say that it has no filter: {text}");
    let taken = folder.file("bundle.jsonl", b"");
    let out = Command::new("pdfdetach")
        .args(["-savefile", "bundle.jsonl", "-o"])
        .arg(&taken)
        .arg(&file)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let attached = std::fs::read(&taken).unwrap();
    let entries =
        attached.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"entry"));
    assert_eq!(entries.count() as u64, size);
}

#[tokio::test]
async fn a_failed_sign_in_is_told_from_a_sign_in() {
    let stack = Stack::load();
    let tenant = stack.tenant("failed-sign-in", &[]).await;
    let owner = tenant.owner();
    let email = tenant.emails().remove(0);
    let guess = json!({ "tenant": tenant.slug(), "email": email, "password": "not the password" });
    tenant.stranger().post("/v1/auth/login", &guess).await.must(401);
    let filter = json!({ "action": "session.create" });

    let id = ask(owner, "pdf", &filter).await;
    let volumes = fetch(&stack, owner, &id).await;
    let folder = Folder::new(&format!("{}-pdf", tenant.slug()));
    let text = pdftotext(&folder.file("report.pdf", &volumes[0].bytes));
    let words: Vec<&str> = text.split_whitespace().collect();
    let said = |phrase: &[&str]| words.windows(phrase.len()).filter(|at| *at == phrase).count();
    let rows = |who: &str, outcome: &str| said(&[who, "session.create", outcome]);
    assert_eq!((rows("anonymous", "FAILED"), rows("user", "success")), (1, 1), "{text}");
    assert_eq!((rows("anonymous", "success"), rows("user", "FAILED")), (0, 0), "{text}");
    let counts = ["session.create", "FAILED:", "1", "session.create", "success:", "1"];
    assert_eq!(said(&counts), 1, "{text}");
    assert_eq!(said(&["Filter", "action:", "session.create"]), 1, "{text}");

    let id = ask(owner, "csv", &filter).await;
    let volumes = fetch(&stack, owner, &id).await;
    let mut table = csv::Reader::from_reader(volumes[0].bytes.as_slice());
    let header = table.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let outcomes: Vec<(String, String)> = table
        .records()
        .map(Result::unwrap)
        .map(|row| (row[column("actor_kind")].into(), row[column("outcome")].into()))
        .collect();
    let pair = |kind: &str, outcome: &str| (kind.to_owned(), outcome.to_owned());
    assert_eq!(outcomes, [pair("user", "success"), pair("anonymous", "failed")]);
    tenant.finish().await;
}

#[tokio::test]
async fn an_export_has_exactly_what_the_query_finds() {
    let stack = Stack::load();
    let tenant = stack.tenant("filters", &[Role::Admin]).await;
    something(&tenant).await;
    let admin = tenant.user(Role::Admin);
    let claims = admin.claims();
    let trail = tenant.audit_trail().await;
    let middle: jiff::Timestamp = trail[trail.len() / 2]["at"].as_str().unwrap().parse().unwrap();
    let middle = middle.to_string();
    let filters = [
        json!({ "actor": claims["sub"] }),
        json!({ "action": "batch.update" }),
        json!({ "resource_type": "product" }),
        json!({ "resource_type": "batch", "resource_id": trail.iter()
            .find(|entry| entry["action"] == "batch.create").unwrap()["resource"]["id"] }),
        json!({ "from": middle }),
        json!({ "to": middle }),
        json!({ "ip": admin.address().to_string() }),
        json!({ "action": "nothing.like_it" }),
    ];
    for filter in filters {
        let id = ask(admin, "jsonl", &filter).await;
        let volumes = fetch(&stack, admin, &id).await;
        let exported = proved(&tenant, &contents(&volumes)).await;
        let list = admin.get("/v1/audit/exports").await.expect(200).json();
        let export = &list["items"][0];
        assert_eq!((&export["id"], &export["filter"]), (&json!(id), &filter));
        let size = export["tree_size"].as_u64().unwrap();
        let query: Vec<String> = filter
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap().replace('+', "%2B")))
            .collect();
        let path = format!("/v1/audit?limit=100&{}", query.join("&"));
        let found = admin.get(&path).await.expect(200).json();
        let mut found: Vec<u64> = found["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["seq"].as_u64().unwrap())
            .filter(|seq| *seq < size)
            .collect();
        found.sort_unstable();
        assert_eq!(exported, found, "{filter}");
        assert_eq!(exported.is_empty(), filter["action"] == "nothing.like_it", "{filter}");
    }
    tenant.finish().await;
}

#[tokio::test]
async fn a_filtered_export_in_volumes_has_all_that_fits() {
    let stack = Stack::load();
    let tenant = stack.tenant("filtered-volumes", &[]).await;
    for _ in 0..2 {
        something_by(tenant.owner()).await;
    }
    let trail = tenant.audit_trail().await;
    let mut wanted: Vec<u64> = trail
        .iter()
        .filter(|entry| entry["resource"]["type"] == "batch")
        .map(|entry| entry["seq"].as_u64().unwrap())
        .collect();
    wanted.sort_unstable();
    assert_eq!(wanted.len(), 4);
    // With the last that fits in a full volume there is no empty one after it.
    for (most, volumes) in [(3, 2), (2, 2), (1, 4)] {
        let filter = json!({ "resource_type": "batch" });
        let id = ask_unseen_for(&stack, &tenant, "jsonl", &filter).await;
        let ended = worker(&stack, most).await.invoke(&message(tenant.slug(), &id)).await;
        assert_eq!(ended, json!(["done"]));
        let fetched = fetch_done(&stack, tenant.owner(), &id).await;
        assert_eq!(fetched.len(), volumes, "at most {most} in a volume");
        assert_eq!(proved(&tenant, &contents(&fetched)).await, wanted);
    }
    tenant.finish().await;
}

#[tokio::test]
async fn a_link_is_for_minutes_and_an_export_for_its_tenant() {
    let stack = Stack::load();
    let tenant = stack.tenant("links", &[Role::Admin, Role::OpsUser, Role::Viewer]).await;
    let other = stack.tenant("links-other", &[]).await;
    let admin = tenant.user(Role::Admin);
    let id = ask(admin, "csv", &json!({})).await;
    let volumes = fetch(&stack, admin, &id).await;
    let path = format!("/v1/audit/exports/{id}");
    other.owner().get(&path).await.must(404);
    for role in [Role::OpsUser, Role::Viewer] {
        tenant.user(role).get(&path).await.must(403);
        tenant.user(role).get("/v1/audit/exports").await.must(403);
        let wanted = json!({ "format": "csv" });
        tenant.user(role).post("/v1/audit/exports", &wanted).await.must(403);
    }
    let url = volumes[0].view["url"].as_str().unwrap();
    assert!(url.contains("X-Amz-Expires=300&"), "{url}");
    // Neither a longer life nor another's file can be had from a link.
    for changed in [
        url.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"),
        url.replace(tenant.slug(), other.slug()),
        url.split('?').next().unwrap().to_owned(),
    ] {
        assert_eq!(stack.aws().fetch(&changed).await.0, 403, "{changed}");
    }
    // The bucket refuses links whose time is over, whoever signed them.
    let object = url.split('?').next().unwrap();
    for (age, status) in [(Duration::from_secs(290), 200), (Duration::from_secs(310), 403)] {
        let old = stack.aws().presigned(object, age, Duration::from_mins(5));
        assert_eq!(stack.aws().fetch(&old).await.0, status, "{age:?}");
    }
    other.finish().await;
    tenant.finish().await;
}

#[tokio::test]
async fn wrong_requests_name_their_fields() {
    let stack = Stack::load();
    let tenant = stack.tenant("wrong-exports", &[]).await;
    let owner = tenant.owner();
    let fields = async |path: &str, body: &Value| -> Vec<String> {
        let answer = owner.post(path, body).await.expect(422).json();
        let errors = answer["errors"].as_array().unwrap().iter();
        errors.map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    };
    let exports = "/v1/audit/exports";
    assert_eq!(fields(exports, &json!({})).await, ["/format"]);
    let wrong = json!({ "format": "xlsx", "filter": { "ip": "nowhere", "from": "yesterday" } });
    let mut found = fields(exports, &wrong).await;
    found.sort_unstable();
    assert_eq!(found, ["/filter/from", "/filter/ip", "/format"]);
    let period = json!({ "from": "2026-01-02T00:00:00Z", "to": "2026-01-02T00:00:00Z" });
    let wrong = json!({ "format": "csv", "filter": period });
    assert_eq!(fields(exports, &wrong).await, ["/filter/to"]);
    let unknown = json!({ "format": "csv", "colour": "red" });
    assert_eq!(fields(exports, &unknown).await.len(), 1);

    let reviews = "/v1/audit/reviews";
    let mut found = fields(reviews, &json!({ "statement": "", "findings": [""] })).await;
    found.sort_unstable();
    assert_eq!(found, ["/findings/0", "/from", "/statement", "/to"]);
    let review = |from: &str, to: &str| json!({ "from": from, "to": to, "statement": "Reviewed." });
    let backwards = review("2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z");
    assert_eq!(fields(reviews, &backwards).await, ["/to"]);
    let future = review("2026-01-01T00:00:00Z", "2126-01-01T00:00:00Z");
    assert_eq!(fields(reviews, &future).await, ["/to"]);
    tenant.finish().await;
}

#[tokio::test]
async fn asking_twice_with_a_key_makes_one_export() {
    let stack = Stack::load();
    let tenant = stack.tenant("twice", &[]).await;
    let owner = tenant.owner();
    let wanted = json!({ "format": "csv" });
    let send = || owner.request("POST", "/v1/audit/exports").header("idempotency-key", "once");
    let first = send().json(&wanted).send().await.expect(202);
    let again = send().json(&wanted).replayed().send().await.expect(202);
    assert_eq!(first.body, again.body);
    send().json(&json!({ "format": "pdf" })).send().await.must(409);
    fetch(&stack, owner, &first.id()).await;
    let list = owner.get("/v1/audit/exports").await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    tenant.finish().await;
}

#[tokio::test]
async fn what_five_runs_did_not_bring_further_is_given_up() {
    let stack = Stack::load();
    let tenant = stack.tenant("given-up", &[]).await;
    let id = ask_unseen(&stack, &tenant, "csv").await;
    let runs = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let now = DateTime::from_millis(keystone::clock::now().as_millisecond());
    let five = doc! {
        "_id": &id, "tenant_id": tenant.slug(), "version": 5_i64, "created_at": now,
        "updated_at": now, "free_at": now, "attempts": 5, "work": { "percent": 40 },
    };
    runs.collection::<Document>("audit_export_runs").insert_one(five).await.unwrap();
    let event = message(tenant.slug(), &id);
    assert_eq!(worker(&stack, 500).await.invoke(&event).await, json!(["given_up"]));
    let path = format!("/v1/audit/exports/{id}");
    let export = tenant.owner().get(&path).await.expect(200).json();
    assert_eq!((&export["state"], &export["percent"]), (&json!("failed"), &json!(40)));
    assert_eq!(worker(&stack, 500).await.invoke(&event).await, json!(["nothing"]));
    tenant.finish().await;
}

/// Entries of a volume of an export whose runs are killed.
const VOLUME: u32 = 40;

/// An auditor sees that nothing is left out of volumes, and what is of some.
async fn are_together_the_whole(
    stack: &Stack,
    tenant: &Tenant<'_>,
    format: &str,
    files: &[PathBuf],
    size: u64,
) {
    let (code, words) = verify_together(stack, tenant, format, files).await;
    let whole = format!("{size} of {size} entries, all of the audit trail of {}", tenant.slug());
    assert!(code == Some(0) && words.contains(&whole), "{words}");
    assert!(words.contains("Nothing is left out"), "{words}");
    assert!(words.contains(&format!("the numbers 0 to {}.", size - 1)), "{words}");
    // Without the second, and in another order.
    let mut some = files.to_vec();
    some.remove(1);
    some.reverse();
    let (code, words) = verify_together(stack, tenant, format, &some).await;
    assert!(code == Some(0) && words.contains("a part of the audit trail"), "{words}");
    let left = format!("{VOLUME} entries are left out: {VOLUME} to {}.", 2 * VOLUME - 1);
    assert!(words.contains(&left), "{words}");
}

#[tokio::test]
async fn a_killed_run_is_continued_where_it_ended() {
    const ENTRIES: u64 = 1_500;
    let stack = Stack::load();
    let tenant = stack.tenant("killed", &[]).await;
    bulk::grow(&stack, tenant.slug(), ENTRIES).await;
    for format in ["jsonl", "pdf"] {
        let id = ask_unseen(&stack, &tenant, format).await;
        let event = message(tenant.slug(), &id);
        let mut seen = Vec::new();
        for _ in 0..4 {
            let before = volumes_of(&stack, &tenant, &id).await;
            let mut run = worker(&stack, VOLUME).await;
            run.begin(&event).await;
            let some = async {
                while volumes_of(&stack, &tenant, &id).await == before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), some).await.expect("a volume is made");
            // Somewhere in the making of the next ones.
            let share = f64::from(u16::from_be_bytes(stack::random())) / f64::from(u16::MAX);
            run.kill_after(Duration::from_millis(100).mul_f64(share)).await;
            end_lease(&stack, &tenant, 0).await;
            seen.push(volumes_of(&stack, &tenant, &id).await);
        }
        let ended = worker(&stack, VOLUME).await.invoke(&event).await;
        assert_eq!(ended, json!(["done"]), "{seen:?}");
        println!("{format}: volumes after each kill: {seen:?}");
        let volumes = fetch_done(&stack, tenant.owner(), &id).await;
        let last = seen.last().copied().unwrap();
        assert!(last < volumes.len(), "a run was done before its kill: {seen:?}");
        let sha256: Vec<Value> = volumes.iter().map(|file| file.view["sha256"].clone()).collect();
        assert_eq!(json!(sha256), json!(recorded(&tenant, &id).await));
        let export = tenant.owner().get("/v1/audit/exports").await.expect(200).json();
        let size = export["items"][0]["tree_size"].as_u64().unwrap();
        assert!(size > ENTRIES);
        let folder = Folder::new(tenant.slug());
        let files: Vec<PathBuf> =
            volumes.iter().map(|volume| folder.file(&volume.name, &volume.bytes)).collect();
        if format == "jsonl" {
            let numbers = proved(&tenant, &contents(&volumes)).await;
            assert_eq!(numbers, (0..size).collect::<Vec<_>>());
        } else {
            for file in &files {
                let verdict = pdfsig(file);
                assert!(verdict.contains("Signature is Valid"), "{verdict}");
                assert!(verdict.contains("Total document signed"), "{verdict}");
            }
        }
        are_together_the_whole(&stack, &tenant, format, &files, size).await;
    }
    Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}

#[tokio::test]
async fn two_deliveries_do_the_work_once() {
    let stack = Stack::load();
    let tenant = stack.tenant("delivered-twice", &[]).await;
    bulk::grow(&stack, tenant.slug(), 2_000).await;
    let id = ask_unseen(&stack, &tenant, "csv").await;
    let event = message(tenant.slug(), &id);
    let (mut one, mut two) = (worker(&stack, 500).await, worker(&stack, 500).await);
    let (first, second) = tokio::join!(one.invoke(&event), two.invoke(&event));
    let mut ended = [first[0].clone(), second[0].clone()].map(|ended| ended.to_string());
    ended.sort_unstable();
    assert_eq!(ended, ["\"done\"", "\"elsewhere\""]);
    assert_eq!(one.invoke(&event).await, json!(["nothing"]));
    assert_eq!(recorded(&tenant, &id).await.len(), 5);
    tenant.finish().await;
}

#[tokio::test]
async fn what_no_run_is_at_is_asked_for_again() {
    let stack = Stack::load();
    let tenant = stack.tenant("swept", &[]).await;
    let id = ask_unseen(&stack, &tenant, "csv").await;
    let event = message(tenant.slug(), &id);
    let mut run = worker(&stack, 5).await;
    run.begin(&event).await;
    run.kill_after(Duration::from_millis(300)).await;
    end_lease(&stack, &tenant, 10).await;
    let sweep = stack.function("sweep-audit-exports");
    // The schedule's own sweep may be a moment faster; without one nothing
    // would be made, since the only message was lost.
    stack.aws().invoke(&sweep, &json!({})).await;
    fetch(&stack, tenant.owner(), &id).await;
    tenant.finish().await;
}

#[tokio::test]
async fn a_review_says_who_looked_at_what_and_when_the_next_is_due() {
    let stack = Stack::load();
    let tenant = stack.tenant("reviewed", &[Role::Admin, Role::OpsUser]).await;
    let admin = tenant.user(Role::Admin);
    let due = async || -> Value { admin.get("/v1/audit/reviews").await.expect(200).json() };
    let before = due().await;
    assert_eq!((&before["items"], &before["overdue"]), (&json!([]), &json!(false)));
    let review = json!({
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-02-01T00:00:00Z",
        "statement": "All changes of lots on hold were looked at.",
        "findings": ["Two lots were released without a reason."],
    });
    tenant.user(Role::OpsUser).post("/v1/audit/reviews", &review).await.must(403);
    let attested = admin.post("/v1/audit/reviews", &review).await.expect(201);
    let after = due().await;
    let item = &after["items"][0];
    assert_eq!(*item, attested.json());
    assert_eq!(item["reviewed_by"], admin.claims()["sub"]);
    for member in ["from", "to", "statement", "findings"] {
        assert_eq!(item[member], review[member]);
    }
    let at = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    // A period before the tenant's first day leaves all of the trail to review.
    assert_eq!(after["next_due_at"], before["next_due_at"]);
    let begun = before["reviewed_to"].clone();
    let now = jiff::Timestamp::from_millisecond(at(&item["attested_at"]).as_millisecond()).unwrap();
    let mut of_today = review.clone();
    of_today["from"] = (now - jiff::SignedDuration::from_millis(1)).to_string().into();
    of_today["to"] = now.to_string().into();
    admin.post("/v1/audit/reviews", &of_today).await.must(201);
    assert_eq!(due().await["reviewed_to"], begun, "a moment is no review");
    of_today["from"] = begun;
    admin.post("/v1/audit/reviews", &of_today).await.must(201);
    let reviewed = due().await;
    assert_eq!(at(&reviewed["reviewed_to"]), now);
    let cadence = at(&reviewed["next_due_at"]).duration_since(now);
    assert_eq!(cadence, jiff::SignedDuration::from_hours(24 * 30));
    let query = "/v1/audit?action=audit_review.attest";
    let entries = admin.get(query).await.expect(200).json();
    assert_eq!(entries["items"][2]["seq"], item["tree_size"], "it attests all that stood before");
    tenant.finish().await;
}
