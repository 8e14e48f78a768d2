//! Requests of people about their data: who may, by when, with which evidence.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::TryStreamExt;
use keystone::auth::Role;
use keystone::tenant::schema;
use keystone::{calendar, clock};
use keystone_tests::dairy::Dairy;
use keystone_tests::kills::Run;
use keystone_tests::subject_requests::{
    PATH, bundle, checked, ending, in_progress, leave_traces, opened, request, today,
};
use keystone_tests::trail::Trail;
use keystone_tests::verdicts::{Folder, pdftotext};
use keystone_tests::{Answer, Client, Stack, Tenant, samples};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

const NOTHING: &str = "01890000-0000-7000-8000-000000000000";

fn fields(answer: &Answer) -> BTreeSet<String> {
    answer.must(422);
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn only_administrators_handle_requests_and_only_a_super_admin_erases() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-roles", &Role::ALL).await;
    let customer = samples::customer("1 Quay Street", "+353861234567");
    let customer = tenant.owner().post("/v1/customers", &customer).await.expect(201).id();
    let admin = tenant.user(Role::Admin);
    let answer = opened(admin, "erasure", "customer", &customer).await;
    let path = format!("{PATH}/{}", answer.id());
    assert_eq!(answer.header("location"), Some(path.as_str()));
    for role in [Role::OpsUser, Role::Viewer, Role::Demo] {
        let client = tenant.user(role);
        client.post(PATH, &request("access", "customer", &customer)).await.must(403);
        client.get(PATH).await.must(403);
        client.get(&path).await.must(403);
        client.patch(&path, &answer.etag(), &checked("confirmed")).await.must(403);
        client.post(&format!("{path}/bundle"), &json!({})).await.must(403);
    }
    admin.get(PATH).await.must(200);
    let shown = admin.get(&path).await.expect(200);
    assert_eq!(shown.json()["words"]["requester"]["name"], "Siobhan Xylander");
    let request = admin.request("PATCH", &path).json(&checked("confirmed"));
    request.send().await.must(428);
    admin.patch(&path, &shown.etag(), &checked("confirmed")).await.must(200);
    admin.patch(&path, &shown.etag(), &checked("confirmed")).await.must(412);
    let erase = json!({ "ground": "unlawful" });
    admin.post(&format!("/v1/customers/{customer}/erase"), &erase).await.must(403);
    tenant.owner().post(&format!("/v1/customers/{customer}/erase"), &erase).await.must(200);
    // The same request again is the same request.
    let again = |body: Value| {
        let again = admin.request("POST", PATH).header("idempotency-key", "once").json(&body);
        async move { again.send().await }
    };
    let first = again(self::request("access", "customer", &customer)).await.expect(201).id();
    // What is kept of it goes with what was said in it.
    assert_eq!(tenant.kept_answers_of().await, [format!("request:{first}")]);
    let same = admin.request("POST", PATH).header("idempotency-key", "once");
    let same = same.json(&self::request("access", "customer", &customer)).replayed();
    assert_eq!(same.send().await.expect(201).id(), first);
    again(self::request("portability", "customer", &customer)).await.must(409);
    tenant.finish().await;
}

#[tokio::test]
async fn the_clock_runs_from_receipt_by_calendar_months() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-clock", &[]).await;
    let owner = tenant.owner();
    let post = async |received_on: &str| {
        let body = json!({
            "kind": "objection", "received_on": received_on, "channel": "phone",
            "requester": { "name": "Somebody" },
        });
        owner.post(PATH, &body).await
    };
    for (received_on, due_on) in [
        ("2026-01-31", "2026-02-28"),
        ("2024-01-31", "2024-02-29"),
        ("2025-12-31", "2026-01-31"),
        ("2026-03-05", "2026-04-05"),
        ("2026-08-31", "2026-09-30"),
    ] {
        let shown = post(received_on).await.expect(201).json();
        assert_eq!(shown["due_on"], due_on, "{received_on}");
        let left = calendar::days_between(today(), due_on.parse().unwrap());
        assert_eq!(shown["days_left"], left);
        assert!(shown["words"].is_null(), "only a read shows what people said");
    }
    // By state and by the end of the time.
    let listed = async |query: &str| {
        let found = owner.get(&format!("{PATH}?{query}")).await.expect(200).json();
        found["items"].as_array().unwrap().len()
    };
    assert_eq!(listed("due_before=2026-02-28").await, 2);
    assert_eq!(listed("due_before=2026-03-01").await, 3);
    assert_eq!(listed("state=open&due_before=2026-09-30").await, 4);
    assert_eq!(listed("state=refused").await, 0);
    owner.get(&format!("{PATH}?due_before=2026-02-30")).await.must(422);
    owner.get(&format!("{PATH}?state=lost")).await.must(422);

    // Every wrong value at once.
    let tomorrow = today().tomorrow().unwrap().to_string();
    let nobody = json!({
        "kind": "access", "received_on": tomorrow, "channel": "email",
        "subject": { "kind": "user", "id": NOTHING },
    });
    let named = fields(&owner.post(PATH, &nobody).await);
    assert_eq!(named, BTreeSet::from(["/received_on".into(), "/subject/id".into()]));
    let nobody = json!({ "kind": "access", "received_on": "2018-05-24", "channel": "email" });
    let named = fields(&owner.post(PATH, &nobody).await);
    assert_eq!(named, BTreeSet::from(["/received_on".into(), "/subject".into()]));

    // Two further months, once, for who was told within the first.
    let late = post("2026-01-31").await.expect(201);
    let extension = |reason: &str| json!({ "extension": { "reason": reason, "told_on": today() } });
    let path = |answer: &Answer| format!("{PATH}/{}", answer.id());
    owner.patch(&path(&late), &late.etag(), &extension("Complex")).await.must(409);
    let fresh = post(&today().to_string()).await.expect(201);
    let no_reason = owner.patch(&path(&fresh), &fresh.etag(), &extension("")).await;
    assert_eq!(fields(&no_reason), BTreeSet::from(["/extension/reason".into()]));
    let early = json!({ "extension": { "reason": "x", "told_on": "2026-01-01" } });
    let early = owner.patch(&path(&fresh), &fresh.etag(), &early).await;
    assert_eq!(fields(&early), BTreeSet::from(["/extension/told_on".into()]));
    let reason = "Twelve years of deliveries";
    let extended = owner.patch(&path(&fresh), &fresh.etag(), &extension(reason)).await.expect(200);
    assert_eq!(extended.json()["due_on"], json!(calendar::months_after(today(), 3)));
    owner.patch(&path(&fresh), &extended.etag(), &extension(reason)).await.must(409);
    let words = owner.get(&path(&fresh)).await.expect(200).json()["words"].clone();
    assert_eq!(words["extension_reason"], reason);
    assert!(!stack.dump().await.holds(reason.as_bytes()), "sealed from the start");
    tenant.finish().await;
}

#[tokio::test]
async fn nothing_is_handed_over_before_it_is_known_who_asks() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-identity", &[]).await;
    let owner = tenant.owner();
    let customer = samples::customer("2 Quay Street", "+353861112222");
    let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
    let somebody = json!({
        "kind": "access", "received_on": today(), "channel": "email",
        "requester": { "name": "Siobhan Xylander", "contact": "siobhan@xylander.example" },
    });
    let answer = owner.post(PATH, &somebody).await.expect(201);
    let (path, due_on) = (format!("{PATH}/{}", answer.id()), answer.json()["due_on"].clone());
    let bundle = format!("{path}/bundle");
    assert_eq!(
        fields(&owner.patch(&path, &answer.etag(), &json!({})).await),
        [""].map(Into::into).into()
    );
    let mut etag = answer.etag();
    let step = async |etag: &mut String, body: &Value, status: u16| {
        let answer = owner.patch(&path, etag, body).await.expect(status);
        if status == 200 {
            *etag = answer.etag();
        }
        answer.json()
    };
    owner.post(&bundle, &json!({})).await.must(409);
    let link = json!({ "subject": { "kind": "customer", "id": customer } });
    let linked = step(&mut etag, &link, 200).await;
    assert_eq!(linked["subject"], link["subject"]);
    // What they said stays under the secret of the request, which goes when
    // they are erased, and is theirs in a bundle.
    let document = tenant.document("data_subject_requests", "_id", &answer.id()).await;
    let sealed_for = document.get_document("requester").unwrap().get_str("sub").unwrap();
    assert_eq!(sealed_for, format!("request:{}", answer.id()));

    // Doubts stop neither the clock nor anything else that is theirs.
    let mut doubtful = checked("doubtful");
    doubtful["state"] = "identity_check".into();
    let shown = step(&mut etag, &doubtful, 200).await;
    assert_eq!((&shown["due_on"], &shown["state"]), (&due_on, &json!("identity_check")));
    step(&mut etag, &json!({ "state": "in_progress" }), 409).await;
    step(&mut etag, &ending("fulfilled", None), 409).await;
    owner.post(&bundle, &json!({})).await.must(409);
    step(&mut etag, &checked("confirmed"), 200).await;
    owner.post(&bundle, &json!({})).await.must(409);
    step(&mut etag, &json!({ "state": "in_progress" }), 200).await;
    step(&mut etag, &json!({ "state": "open" }), 409).await;
    step(&mut etag, &ending("fulfilled", None), 409).await;
    let answer = owner.patch(&path, &etag, &json!({ "state": "refused" })).await;
    assert_eq!(fields(&answer), BTreeSet::from(["/ending".into()]));
    let answer = owner.patch(&path, &etag, &ending("refused", None)).await;
    assert_eq!(fields(&answer), BTreeSet::from(["/ending/refused".into()]));
    let made = owner.post(&bundle, &json!({})).await.expect(201).json();
    assert_eq!(made["request_id"], shown["id"]);
    let told = json!({ "from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z" });
    assert_eq!(fields(&owner.post(&bundle, &told).await), BTreeSet::from(["/to".into()]));
    etag = owner.get(&path).await.expect(200).etag();
    // Who it is about is settled once something was handed over.
    let other = samples::customer("3 Quay Street", "+353861113333");
    let other = owner.post("/v1/customers", &other).await.expect(201).id();
    let link = json!({ "subject": { "kind": "customer", "id": other } });
    step(&mut etag, &link, 409).await;
    let done = step(&mut etag, &ending("fulfilled", None), 200).await;
    assert_eq!((&done["state"], &done["bundles"]), (&json!("fulfilled"), &json!(1)));
    assert!(done["days_left"].is_null(), "{done}");
    step(&mut etag, &checked("doubtful"), 409).await;
    owner.post(&bundle, &json!({})).await.must(409);
    let refused = opened(owner, "access", "customer", &customer).await;
    let path = format!("{PATH}/{}", refused.id());
    let body = ending("refused", Some("identity_not_established"));
    let refused = owner.patch(&path, &refused.etag(), &body).await.expect(200).json();
    assert_eq!(refused["ending"]["refused"], "identity_not_established");
    tenant.finish().await;
}

/// Every stored document that holds `id`, by collection and by its own id.
async fn naming(stack: &Stack, tenant: &Tenant<'_>, id: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for collection in schema::COLLECTIONS {
        let suffix = if collection.append_only { "_audit" } else { "" };
        let database = stack.database().await.database(&format!("t_{}{suffix}", tenant.slug()));
        let all = database.collection::<Document>(collection.name).find(doc! {}).await.unwrap();
        let all: Vec<Document> = all.try_collect().await.unwrap();
        for document in all.iter().filter(|document| document.to_string().contains(id)) {
            let own = document.get_str("_id").unwrap().to_owned();
            found.insert((collection.name.to_owned(), own));
        }
    }
    found
}

/// The numbers of the audit entries that are about the person, or hold
/// personal values of theirs.
async fn entries_naming(stack: &Stack, tenant: &Tenant<'_>, subject: &str) -> BTreeSet<i64> {
    let id = subject.split_once(':').unwrap().1;
    let database = stack.database().await.database(&format!("t_{}_audit", tenant.slug()));
    let found = doc! { "$or": [
        { "entry.actor.id": id }, { "entry.resource.id": { "$in": [id, subject] } },
        { "personal.sub": subject },
    ] };
    let found = database.collection::<Document>("entries").find(found).await.unwrap();
    let found: Vec<Document> = found.try_collect().await.unwrap();
    found.iter().map(|entry| entry.get_i64("_id").unwrap()).collect()
}

/// The collections that can name a person of this kind, by what the schema
/// says.
fn collections_with(kind: &str) -> BTreeSet<String> {
    let named = |collection: &&&schema::Collection| {
        let people = collection.people.unwrap();
        people.references.iter().any(|reference| reference.kind == kind)
    };
    schema::COLLECTIONS.iter().filter(named).map(|one| one.name.to_owned()).collect()
}

/// Checks that a bundle has all that the database holds of the person, from
/// every collection that could hold something, and not what is in `others`.
async fn complete(
    stack: &Stack,
    tenant: &Tenant<'_>,
    subject: &str,
    files: &BTreeMap<String, Vec<u8>>,
    others: &[&str],
) -> Value {
    let (kind, id) = subject.split_once(':').unwrap();
    let data: Value = serde_json::from_slice(&files["data.json"]).unwrap();
    let shown: BTreeSet<(String, String)> = data["data"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(name, documents)| {
            let documents = documents.as_array().unwrap().iter();
            documents.map(|one| (name.clone(), one["id"].as_str().unwrap().to_owned()))
        })
        .collect();
    let from: BTreeSet<String> = shown.iter().map(|(name, _)| name.clone()).collect();
    let possible = collections_with(kind);
    let planted: BTreeSet<&String> = possible.difference(&from).collect();
    assert!(planted.is_empty(), "nothing of {subject} was found in, or put into, {planted:?}");
    // What an event says stands in the ledger, and who recorded it in the trail.
    let mut stored = naming(stack, tenant, id).await;
    stored.retain(|(name, _)| name != "events");
    let forgotten: Vec<_> = stored.difference(&shown).collect();
    assert!(forgotten.is_empty(), "{subject} is named in {forgotten:?}");

    let activity = data["activity"].as_array().unwrap();
    let seqs: BTreeSet<i64> = activity.iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
    let mut expected = entries_naming(stack, tenant, subject).await;
    // The bundle was recorded after it was made.
    expected.retain(|seq| seq <= seqs.last().unwrap());
    assert_eq!(seqs, expected);

    let folder = Folder::new(&format!("{}-{kind}-bundle", tenant.slug()));
    let paper = pdftotext(&folder.file("summary.pdf", &files["summary.pdf"]));
    let paper: String = paper.split_whitespace().collect();
    for (name, text) in [
        ("data.json", String::from_utf8_lossy(&files["data.json"]).into_owned()),
        ("data.csv", String::from_utf8_lossy(&files["data.csv"]).into_owned()),
        ("activity.csv", String::from_utf8_lossy(&files["activity.csv"]).into_owned()),
        ("summary.pdf", paper),
    ] {
        for other in others {
            assert!(!text.contains(other), "{other} of somebody else is in {name}");
        }
    }
    data
}

/// An erasure of the person from long ago, as evidence of it is kept.
async fn plant_erasure(stack: &Stack, tenant: &Tenant<'_>, subject: &str) {
    let at = mongodb::bson::DateTime::from_millis(clock::now().as_millisecond());
    let id = keystone::random::id(clock::now()).unwrap().to_string();
    let erasure = doc! {
        "_id": id, "tenant_id": tenant.slug(), "version": 2_i64,
        "created_at": at, "updated_at": at,
        "subject": subject, "ground": "objection", "state": "done", "secret_mark": "0a0b0c0d0e0f",
    };
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    database.collection("erasures").insert_one(erasure).await.unwrap();
}

/// What the user did about a notice in the console, a change of sub-processors
/// and an operator's access: operators send the first two, and not to one
/// tenant of a test.
async fn plant_notices(stack: &Stack, tenant: &Tenant<'_>, user: &str) {
    let at = mongodb::bson::DateTime::from_millis(clock::now().as_millisecond());
    let base = || {
        let id = keystone::random::id(clock::now()).unwrap().to_string();
        doc! {
            "_id": id, "tenant_id": tenant.slug(), "version": 2_i64,
            "created_at": at, "updated_at": at,
        }
    };
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let mut notice = base();
    notice.insert("title", "Maintenance");
    notice.insert("acknowledgements", vec![doc! { "by": user, "at": clock::now().to_string() }]);
    database.collection("notices").insert_one(notice).await.unwrap();
    let mut told = base();
    told.insert(
        "objection",
        doc! { "by": user, "reason": "Ada objects", "outcome": mongodb::bson::Bson::Null },
    );
    database.collection("sub_processor_notices").insert_one(told).await.unwrap();
    let mut access = base();
    access.extend(doc! {
        "operator": "Una Daly", "reason": "Ticket 7: lot L-7 is missing",
        "until": clock::now().to_string(), "epoch": 0_i64,
        "ended": { "by": user, "at": clock::now().to_string() },
    });
    database.collection("operator_accesses").insert_one(access).await.unwrap();
}

#[tokio::test]
async fn a_user_gets_all_that_is_held_of_them_and_nothing_of_anybody_else() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-user", &[]).await;
    let owner = tenant.owner();
    let dairy = Dairy::new(owner, "+353861234567").await;
    let ada = tenant.newcomer("ada", Role::Admin).await;
    let id = ada.claims()["sub"].as_str().unwrap().to_owned();
    let subject = format!("user:{id}");
    leave_traces(&stack, &tenant, &ada, &dairy).await;
    plant_erasure(&stack, &tenant, &subject).await;
    plant_notices(&stack, &tenant, &id).await;
    let (path, _) = in_progress(owner, "access", "user", &id).await;
    let (view, files) = bundle(&stack, owner, &path).await;
    let owners = owner.claims()["sub"].as_str().unwrap().to_owned();
    let owners_email = tenant.email_of(Role::SuperAdmin);
    let others = [
        owners.as_str(),
        &owners_email,
        "Orla",
        "Quay",
        "+353861234567",
        "Hollow",
        "Clerk",
        "Customer's words",
        &dairy.customers[0],
        &dairy.customers[3],
        "$2",
        "0a0b0c0d0e0f",
    ];
    let data = complete(&stack, &tenant, &subject, &files, &others).await;
    let text = data.to_string();
    let address = ada.address().to_string();
    for own in [
        tenant.address_of("ada").as_str(),
        "Ada Xylander",
        "Ada saw the lorry",
        "Ada rehearses",
        "Ada is content",
        "Ada read all of it",
        "Ada objects",
        "Siobhan Xylander",
        &address,
    ] {
        assert!(text.contains(own), "{own} is missing");
    }
    assert!(!data["sessions"].as_array().unwrap().is_empty());
    assert!(text.contains("#token=(withheld)"), "of links that were mailed only the place is told");
    assert!(!data["data"]["users"][0].as_object().unwrap().contains_key("password"));
    let acted = data["activity"].as_array().unwrap().iter();
    let acted =
        acted.filter(|entry| entry["by"] == "the person" && entry["action"] == "recall.start");
    assert_eq!(acted.map(|entry| &entry["source_ip"]).collect::<Vec<_>>(), [&json!(address)]);
    let csv = String::from_utf8_lossy(&files["data.csv"]).into_owned();
    assert!(csv.starts_with("place,id,field,value\r\n") && csv.contains("Ada Xylander"));

    // Recorded before it was handed out, with what is in it.
    let query = "/v1/audit?action=data_subject_request.hand_over";
    let entry = owner.get(query).await.expect(200).json()["items"][0].clone();
    assert_eq!(entry["resource"]["id"], view["request_id"]);
    let delta = entry["delta"].to_string();
    assert!(delta.contains(view["sha256"].as_str().unwrap()), "{delta}");
    tenant.finish().await;
}

#[tokio::test]
async fn contacts_of_customers_and_suppliers_get_theirs() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-contacts", &[Role::Admin]).await;
    let (owner, admin) = (tenant.owner(), tenant.user(Role::Admin));
    let dairy = Dairy::new(owner, "+353861234567").await;
    let (customer, other) = (&dairy.customers[0], &dairy.customers[1]);
    let path = format!("/v1/customers/{customer}");
    let etag = owner.get(&path).await.expect(200).etag();
    let own = json!({ "phone": "+353869998877" });
    owner.patch(&path, &etag, &own).await.must(200);
    let supplier = owner.get("/v1/suppliers?limit=1").await.expect(200).json();
    let supplier = supplier["items"][0]["id"].as_str().unwrap().to_owned();
    let recall = json!({
        "kind": "recall", "hazard": "physical", "reason": "Glass",
        "lots": [dairy.packs[0], dairy.packs[1]], "upstream": true,
    });
    let recall = owner.post("/v1/recalls", &recall).await.expect(201).id();
    for (recipient, contact) in [(customer, "Siobhan Xylander"), (other, "Otto Other")] {
        let told = json!({
            "recipient": recipient, "kind": "notified", "channel": "phone",
            "contact": contact, "note": format!("{contact} was told"),
        });
        owner.post(&format!("/v1/recalls/{recall}/notices"), &told).await.must(201);
    }
    let subject = format!("customer:{customer}");
    plant_erasure(&stack, &tenant, &subject).await;
    let (path, _) = in_progress(admin, "portability", "customer", customer).await;
    let (_, files) = bundle(&stack, admin, &path).await;
    let owners = owner.claims()["sub"].as_str().unwrap().to_owned();
    let others = [owners.as_str(), other, "+353861234567", "Otto Other", &supplier, "Hollow"];
    let data = complete(&stack, &tenant, &subject, &files, &others).await;
    assert_eq!(data["data"]["customers"][0]["phone"], "+353869998877");
    assert_eq!(data["data"]["customers"][0]["delivery_address"]["line1"], "0 Quay Street");
    assert_eq!(data["data"]["recall_notices"][0]["note"], "Siobhan Xylander was told");
    let finding = &data["data"]["recall_findings"][0];
    assert_eq!(finding["recipients"].as_array().unwrap().len(), 1);
    assert!(finding["lots"].is_null(), "{finding}");
    assert_eq!(data["data"]["data_subject_requests"][0]["requester"]["name"], "Siobhan Xylander");
    assert_eq!(data["sessions"], json!([]));

    let subject = format!("supplier:{supplier}");
    plant_erasure(&stack, &tenant, &subject).await;
    let (path, _) = in_progress(admin, "access", "supplier", &supplier).await;
    let (_, files) = bundle(&stack, admin, &path).await;
    let others = [owners.as_str(), customer, "+353861234567", "+353869998877", "Quay"];
    let data = complete(&stack, &tenant, &subject, &files, &others).await;
    assert_eq!(data["data"]["suppliers"][0]["email"], "office@hollow-farm.example");
    let banking = &data["data"]["suppliers"][0]["banking"];
    assert_eq!(banking["account_holder"], "Hollow Farm Ltd");
    assert_eq!(data["data"]["lot_movements"].as_array().unwrap().len(), 1);
    tenant.finish().await;
}

#[tokio::test]
async fn an_erasure_is_the_evidence_of_its_request() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-erasure", &[Role::Admin]).await;
    let (owner, admin) = (tenant.owner(), tenant.user(Role::Admin));
    let name = format!("Ottoline {}", samples::gtin());
    let customer = samples::customer("4 Quay Street", "+353861114444");
    let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
    let mut body = request("erasure", "customer", &customer);
    body["requester"]["name"] = name.clone().into();
    let answer = admin.post(PATH, &body).await.expect(201);
    let path = format!("{PATH}/{}", answer.id());
    assert!(!stack.dump().await.holds(name.as_bytes()), "sealed from the start");
    let mut step = checked("confirmed");
    step["state"] = "in_progress".into();
    let etag = admin.patch(&path, &answer.etag(), &step).await.expect(200).etag();
    let refused = admin.patch(&path, &etag, &ending("fulfilled", None)).await.expect(409).json();
    assert!(refused["detail"].as_str().unwrap().starts_with("Erase the person first"), "{refused}");
    let shown = admin.get(&path).await.expect(200).json();
    assert_eq!(shown["words"]["requester"]["name"], name.as_str());

    let erase = format!("/v1/customers/{customer}/erase");
    admin.post(&erase, &json!({ "ground": "objection" })).await.must(403);
    let erased = owner.post(&erase, &json!({ "ground": "objection" })).await.expect(200).json();
    let done = admin.patch(&path, &etag, &ending("fulfilled", None)).await.expect(200).json();
    assert_eq!(done["ending"]["erasure_id"], erased["id"]);
    assert_eq!(done["subject"]["id"], json!(customer));
    let shown = admin.get(&path).await.expect(200).json();
    assert_eq!(
        (&shown["words"]["requester"], &shown["words"]["description"]),
        (&Value::Null, &Value::Null),
        "what they said is erased with them"
    );
    Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}

#[tokio::test]
async fn what_strangers_said_is_kept_as_long_as_who_left() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-strangers", &[]).await;
    let owner = tenant.owner();
    let customer = samples::customer("6 Quay Street", "+353861116666");
    let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
    let stranger = json!({
        "kind": "access", "received_on": today(), "channel": "email",
        "requester": { "name": "Siobhan Xylander", "contact": "siobhan@xylander.example" },
        "description": "Everything you know of me, please",
    });
    // One of a stranger's and one of a customer's contact, answered three years
    // ago; one of a stranger's answered now, and one that never was.
    let old = owner.post(PATH, &stranger).await.expect(201);
    let customers = opened(owner, "access", "customer", &customer).await;
    let recent = owner.post(PATH, &stranger).await.expect(201);
    let running = owner.post(PATH, &stranger).await.expect(201).id();
    let refusal = ending("refused", Some("identity_not_established"));
    for answer in [&old, &customers, &recent] {
        let path = format!("{PATH}/{}", answer.id());
        owner.patch(&path, &answer.etag(), &refusal).await.must(200);
    }
    let then = clock::now() - jiff::SignedDuration::from_hours(24 * (3 * 365 + 1));
    let changed = mongodb::bson::DateTime::from_millis(then.as_millisecond());
    for id in [&old.id(), &customers.id(), &running] {
        tenant.set_in_document("data_subject_requests", "_id", id, "updated_at", changed).await;
    }
    for id in [&old.id(), &customers.id()] {
        let at = then.to_string();
        tenant.set_in_document("data_subject_requests", "_id", id, "ending.at", at).await;
    }

    let job = stack.function("watch-data-subject-requests");
    let run = async || {
        let event = json!({ "tenant": tenant.slug() });
        stack.aws().invoke(&job, &event).await["lapsed"].clone()
    };
    assert_eq!(run().await, 0, "nobody asked for it");
    for (years, lapsed) in [(4, 0), (3, 1), (3, 0)] {
        let etag = owner.get("/v1/tenant").await.expect(200).etag();
        let change = json!({ "former_user_years": years });
        owner.patch("/v1/tenant", &etag, &change).await.must(200);
        assert_eq!(run().await, lapsed, "{years} years");
    }
    let said = async |id: &str| {
        owner.get(&format!("{PATH}/{id}")).await.expect(200).json()["words"].clone()
    };
    let words = said(&old.id()).await;
    for word in ["requester", "description", "answer"] {
        assert_eq!(words[word], Value::Null, "{words}");
    }
    let secrets = stack.aws().items(stack.value("SUBJECT_KEY_TABLE")).await;
    assert!(!secrets.contains(&format!("\"request:{}\"", old.id())));
    for id in [&customers.id(), &recent.id(), &running] {
        assert_eq!(said(id).await["requester"]["name"], "Siobhan Xylander");
    }
    // That there was one, and how it ended, is evidence and stays.
    let shown = owner.get(&format!("{PATH}/{}", old.id())).await.expect(200).json();
    assert_eq!(shown["ending"]["refused"], "identity_not_established");
    let query = "/v1/audit?action=data_subject_request.erase";
    let entries = owner.get(query).await.expect(200).json();
    assert_eq!(entries["items"][0]["resource"]["id"], json!(old.id()));
    assert_eq!(entries["items"].as_array().unwrap().len(), 1);
    Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}

#[tokio::test]
async fn what_is_restricted_is_stored_and_not_used() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-restriction", &[]).await;
    let owner = tenant.owner();
    let customer = samples::customer("5 Quay Street", "+353861115555");
    let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
    let record = format!("/v1/customers/{customer}");
    let opened = opened(owner, "restriction", "customer", &customer).await;
    let path = format!("{PATH}/{}", opened.id());
    let restrict = json!({ "restriction": { "restricted": true, "ground": "accuracy_contested" } });
    owner.patch(&path, &opened.etag(), &restrict).await.must(409);
    let mut step = checked("confirmed");
    step["state"] = "in_progress".into();
    let etag = owner.patch(&path, &opened.etag(), &step).await.expect(200).etag();
    owner.patch(&path, &etag, &ending("fulfilled", None)).await.must(409);
    let wrong = json!({ "restriction": { "restricted": true } });
    let wrong = owner.patch(&path, &etag, &wrong).await;
    assert_eq!(fields(&wrong), BTreeSet::from(["/restriction/ground".into()]));
    let stale = owner.get(&record).await.expect(200).etag();
    let etag = owner.patch(&path, &etag, &restrict).await.expect(200).etag();

    // It shows on the record; nobody sees what is sealed, or changes anything.
    let shown = owner.get(&record).await.expect(200);
    let body = shown.json();
    assert_eq!(body["restriction"]["ground"], "accuracy_contested");
    assert_eq!(body["restriction"]["request_id"], json!(opened.id()));
    assert_eq!((&body["masked"], &body["phone"]), (&json!(true), &json!("***********55")));
    let search = "/v1/customers?phone=%2B353861115555";
    let none: [Value; 0] = [];
    assert_eq!(owner.get(search).await.expect(200).json()["items"], json!(none));
    let rename = json!({ "name": "Another Shop" });
    owner.patch(&record, &stale, &rename).await.must(412);
    let refused = owner.patch(&record, &shown.etag(), &rename).await.expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("restricted"), "{refused}");
    let erase = json!({ "ground": "objection" });
    owner.post(&format!("{record}/erase"), &erase).await.must(409);
    owner.patch(&path, &etag, &restrict).await.must(409);
    let second = self::opened(owner, "objection", "customer", &customer).await;
    let mut both = checked("confirmed");
    both["restriction"] = restrict["restriction"].clone();
    let other = format!("{PATH}/{}", second.id());
    owner.patch(&other, &second.etag(), &both).await.must(409);

    // The person is told before it is lifted, which goes on after the answer.
    let done = owner.patch(&path, &etag, &ending("fulfilled", None)).await.expect(200);
    let lift = json!({ "restriction": { "restricted": false } });
    let wrong = owner.patch(&path, &done.etag(), &lift).await;
    assert_eq!(fields(&wrong), BTreeSet::from(["/restriction/told_on".into()]));
    let lift = json!({ "restriction": { "restricted": false, "told_on": today() } });
    let lifted = owner.patch(&path, &done.etag(), &lift).await.expect(200);
    assert!(lifted.json()["restricted"]["lifted_at"].is_string());
    owner.patch(&path, &lifted.etag(), &lift).await.must(409);
    let shown = owner.get(&record).await.expect(200);
    assert_eq!(shown.json()["phone"], "+353861115555");
    assert!(shown.json()["restriction"].is_null());
    owner.patch(&record, &shown.etag(), &rename).await.must(200);
    tenant.finish().await;
}

#[tokio::test]
async fn a_restricted_user_works_on_and_can_be_offboarded() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-restricted-user", &[]).await;
    let owner = tenant.owner();
    let ada = tenant.newcomer("ada", Role::Viewer).await;
    let id = ada.claims()["sub"].as_str().unwrap().to_owned();
    let (path, etag) = in_progress(owner, "rectification", "user", &id).await;
    let restrict = json!({ "restriction": { "restricted": true, "ground": "legal_claims" } });
    let etag = owner.patch(&path, &etag, &restrict).await.expect(200).etag();
    let record = format!("/v1/users/{id}");
    let shown = owner.get(&record).await.expect(200);
    assert_eq!(shown.json()["restriction"]["ground"], "legal_claims");
    owner.patch(&record, &shown.etag(), &json!({ "name": "Adah" })).await.must(409);
    // What they may do is changed, if nothing else is.
    let both = json!({ "name": "Adah", "role": "ops_user" });
    owner.patch(&record, &shown.etag(), &both).await.must(409);
    let role = json!({ "role": "ops_user" });
    let changed = owner.patch(&record, &shown.etag(), &role).await.expect(200).json();
    assert_eq!((&changed["role"], &changed["name"]), (&json!("ops_user"), &json!("ada")));
    // What they do with their own record they agree to.
    let change = json!({
        "current_password": tenant.credentials_of(&tenant.address_of("ada"))["password"],
        "new_password": "Combine harvester under nine moons",
    });
    ada.post("/v1/auth/password", &change).await.must(200);
    // Somebody else may have their session or their app: both can be ended.
    owner.delete(&format!("{record}/sessions")).await.must(204);
    let without = owner.delete(&format!("{record}/totp")).await;
    assert!(!without.json().to_string().contains("restricted"), "there is none to remove");
    owner.post(&format!("{record}/offboard"), &json!({ "reason": "Left" })).await.must(200);
    let again = json!({ "email": tenant.address_of("ada"), "name": "Ada", "role": "viewer" });
    owner.post("/v1/users", &again).await.must(409);
    owner.post(&format!("{record}/erase"), &json!({ "ground": "unlawful" })).await.must(409);
    let lift = json!({ "restriction": { "restricted": false, "told_on": today() } });
    owner.patch(&path, &etag, &lift).await.must(200);
    owner.post(&format!("{record}/erase"), &json!({ "ground": "unlawful" })).await.must(200);
    tenant.finish().await;
}

#[tokio::test]
async fn nobody_restricts_themselves_or_who_is_above_them() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-rank", &[Role::Admin, Role::Viewer]).await;
    let (owner, admin) = (tenant.owner(), tenant.user(Role::Admin));
    let id = |client: &Client| client.claims()["sub"].as_str().unwrap().to_owned();
    let restrict = json!({ "restriction": { "restricted": true, "ground": "unlawful" } });
    let lift = json!({ "restriction": { "restricted": false, "told_on": today() } });
    // An admin cannot keep a super_admin from taking their role away.
    for who in [admin, owner] {
        let (path, etag) = in_progress(admin, "restriction", "user", &id(who)).await;
        admin.patch(&path, &etag, &restrict).await.must(403);
    }
    let (path, etag) = in_progress(owner, "restriction", "user", &id(owner)).await;
    owner.patch(&path, &etag, &restrict).await.must(403);
    let (path, etag) =
        in_progress(admin, "restriction", "user", &id(tenant.user(Role::Viewer))).await;
    let etag = admin.patch(&path, &etag, &restrict).await.expect(200).etag();
    admin.patch(&path, &etag, &lift).await.must(200);
    // Nor lift what a super_admin restricted; and restricted they lose the role.
    let (path, etag) = in_progress(owner, "restriction", "user", &id(admin)).await;
    let etag = owner.patch(&path, &etag, &restrict).await.expect(200).etag();
    admin.patch(&path, &etag, &lift).await.must(403);
    let record = format!("/v1/users/{}", id(admin));
    let version = owner.get(&record).await.expect(200).etag();
    owner.patch(&record, &version, &json!({ "role": "viewer" })).await.must(200);
    admin.get(PATH).await.must(403);
    tenant.finish().await;
}

/// Makes the time of a request end so many days from now.
async fn due_in(tenant: &Tenant<'_>, id: &str, days: i32) {
    let due_on = calendar::days_after(today(), days).to_string();
    tenant.set_in_document("data_subject_requests", "_id", id, "due_on", &due_on).await;
}

/// How often the trail tells of each request that the watch did `action`.
async fn done_of(tenant: &Tenant<'_>, action: &str) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for entry in tenant.audit_trail().await {
        if entry["action"] == action {
            assert_eq!(entry["actor"]["kind"], "job");
            *times.entry(entry["resource"]["id"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
    }
    times
}

#[tokio::test]
async fn deadlines_are_watched_and_a_miss_is_recorded() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-watch", &[]).await;
    let owner = tenant.owner();
    let job = stack.function("watch-data-subject-requests");
    let run = async || stack.aws().invoke(&job, &json!({ "tenant": tenant.slug() })).await;
    let somebody = json!({
        "kind": "access", "received_on": today(), "channel": "phone",
        "requester": { "name": "Siobhan Xylander" },
    });
    let answer = owner.post(PATH, &somebody).await.expect(201);
    let id = answer.id();
    let doubts = checked("doubtful");
    owner.patch(&format!("{PATH}/{id}"), &answer.etag(), &doubts).await.must(200);
    let watch = async || {
        let found = owner.get(PATH).await.expect(200).json();
        found["items"][0]["watch"].clone()
    };
    let set = |watch: &Value| {
        ["first_reminder_at", "second_reminder_at", "missed_at"].map(|at| watch[at].is_string())
    };
    let outcome = |reminded: u64, missed: u64| json!({ "reminded": reminded, "missed": missed, "lapsed": 0, "unfinished": false });
    for (days, (reminded, missed), marks) in [
        (8, (0, 0), [false, false, false]),
        (7, (1, 0), [true, false, false]),
        (3, (0, 0), [true, false, false]),
        (2, (1, 0), [true, true, false]),
        (0, (0, 0), [true, true, false]),
        (-1, (0, 1), [true, true, true]),
        (-9, (0, 0), [true, true, true]),
    ] {
        due_in(&tenant, &id, days).await;
        assert_eq!(run().await, outcome(reminded, missed), "{days} days before the end");
        assert_eq!(run().await, outcome(0, 0), "once");
        assert_eq!(set(&watch().await), marks, "{days} days before the end");
    }
    assert_eq!(done_of(&tenant, "data_subject_request.remind").await[&id], 2);
    assert_eq!(done_of(&tenant, "data_subject_request.miss").await[&id], 1);
    // Who is doubted is doubted on record; the contact was told each time.
    let query = "/v1/audit?action=data_subject_request.miss";
    let entry = owner.get(query).await.expect(200).json()["items"][0].clone();
    assert!(entry["delta"].to_string().contains("doubtful"), "{entry}");
    let contact = tenant.email_of(Role::SuperAdmin);
    assert!(stack.mails_after_drain(&contact, "and it is not answered").await);
    let letters = stack.mails_to(&contact).await;
    let letters: Vec<&String> = letters.iter().filter(|mail| mail.contains(&id)).collect();
    assert_eq!(letters.len(), 3);
    assert!(letters[0].contains("7 days are left") && letters[1].contains("2 days are left"));
    assert!(!letters.iter().any(|mail| mail.contains("Siobhan")), "they name nobody");

    // What is answered has no deadline any more.
    let answered = owner.post(PATH, &somebody).await.expect(201);
    let body = ending("refused", Some("manifestly_unfounded"));
    owner.patch(&format!("{PATH}/{}", answered.id()), &answered.etag(), &body).await.must(200);
    due_in(&tenant, &answered.id(), -1).await;
    assert_eq!(run().await, outcome(0, 0));

    // An answer after the day is a miss, though no run saw it.
    let late = owner.post(PATH, &somebody).await.expect(201);
    due_in(&tenant, &late.id(), -1).await;
    let shown =
        owner.patch(&format!("{PATH}/{}", late.id()), &late.etag(), &body).await.expect(200);
    assert!(shown.json()["watch"]["missed_at"].is_string(), "{}", shown.json());
    tenant.finish().await;
}

#[tokio::test]
async fn the_time_of_a_suspended_tenant_runs_on() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-away", &[]).await;
    let owner = tenant.owner();
    let somebody = json!({
        "kind": "access", "received_on": today(), "channel": "phone",
        "requester": { "name": "Siobhan Xylander" },
    });
    let mut ids = Vec::new();
    for days in [7, -1] {
        let id = owner.post(PATH, &somebody).await.expect(201).id();
        due_in(&tenant, &id, days).await;
        ids.push(id);
    }
    // A stranger's, answered three years ago, is kept no longer.
    let old = owner.post(PATH, &somebody).await.expect(201);
    let path = format!("{PATH}/{}", old.id());
    let refusal = ending("refused", Some("identity_not_established"));
    owner.patch(&path, &old.etag(), &refusal).await.must(200);
    let then = clock::now() - jiff::SignedDuration::from_hours(24 * (3 * 365 + 1));
    let changed = mongodb::bson::DateTime::from_millis(then.as_millisecond());
    let requests = "data_subject_requests";
    tenant.set_in_document(requests, "_id", &old.id(), "updated_at", changed).await;
    tenant.set_in_document(requests, "_id", &old.id(), "ending.at", then.to_string()).await;
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let years = json!({ "former_user_years": 3 });
    owner.patch("/v1/tenant", &etag, &years).await.must(200);

    tenant.set_state("suspended").await;
    let event = json!({ "tenant": tenant.slug() });
    let job = stack.function("watch-data-subject-requests");
    for each in [1, 0] {
        let done = stack.aws().invoke(&job, &event).await;
        for what in ["reminded", "missed", "lapsed"] {
            assert_eq!(done[what], each, "{what}: {done}");
        }
    }
    // The letters leave while other mail waits, and say that nobody can sign in.
    let contact = tenant.email_of(Role::SuperAdmin);
    for (id, said) in ids.iter().zip(["7 days are left", "and it is not answered"]) {
        assert!(stack.mails_after_drain(&contact, id).await, "{id}");
        let letters = stack.mails_to(&contact).await;
        let letters: Vec<&String> = letters.iter().filter(|mail| mail.contains(id)).collect();
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert!(letters[0].contains(said) && letters[0].contains("is suspended"), "{letters:?}");
    }
    tenant.set_state("active").await;
    let missed = owner.get(&format!("{PATH}/{}", ids[1])).await.expect(200).json();
    assert!(missed["watch"]["missed_at"].is_string(), "{missed}");
    assert_eq!(done_of(&tenant, "data_subject_request.miss").await[&ids[1]], 1);
    assert_eq!(done_of(&tenant, "data_subject_request.remind").await[&ids[0]], 1);
    tenant.finish().await;
}

#[tokio::test]
async fn a_watch_that_is_killed_and_run_again_ends_in_the_same_state() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-kill", &[]).await;
    let owner = tenant.owner();
    let somebody = json!({
        "kind": "access", "received_on": today(), "channel": "phone",
        "requester": { "name": "Siobhan Xylander" },
    });
    let mut ids = BTreeSet::new();
    for days in [7, 6, 5, 2, 1, 0, -1, -2, -3, -4] {
        let id = owner.post(PATH, &somebody).await.expect(201).id();
        due_in(&tenant, &id, days).await;
        ids.insert(id);
    }
    let letters = async || {
        let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
        database.collection::<Document>("outbox").count_documents(doc! {}).await.unwrap()
    };
    let before = letters().await;
    let (name, event) = ("watch-data-subject-requests", json!({ "tenant": tenant.slug() }));
    let run = Run { stack: &stack, name, event: event.clone() };
    // One kill at least comes amid the ten.
    let written = async || letters().await - before;
    let after = run.killed(Duration::from_millis(400), 10, written).await;
    println!("letters after each kill: {after:?}");
    let job = stack.function(name);
    stack.aws().invoke(&job, &event).await;
    let last = stack.aws().invoke(&job, &event).await;
    assert_eq!(last, json!({ "reminded": 0, "missed": 0, "lapsed": 0, "unfinished": false }));
    let mut done = done_of(&tenant, "data_subject_request.remind").await;
    done.extend(done_of(&tenant, "data_subject_request.miss").await);
    assert_eq!(done, ids.into_iter().map(|id| (id, 1)).collect(), "each once");
    assert_eq!(letters().await - before, 10, "a letter for each and no other");
    Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}
