//! Erasure of subjects: nothing that was ever stored of them opens again, not
//! even from a copy of the database that was made before.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use keystone::audit::merkle::Hash;
use keystone::auth::Role;
use keystone::tenant::schema;
use keystone_tests::dairy::Dairy;
use keystone_tests::exports::{ask, fetch};
use keystone_tests::subject_requests::{PATH, bundle, ending, in_progress, leave_traces, today};
use keystone_tests::trail::Trail;
use keystone_tests::vault::{AllKeys, every_copy};
use keystone_tests::{Client, Stack, Tenant, samples};
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};

const GROUND: &str = "no_longer_needed";

async fn erase(client: &Client, path: &str) -> Value {
    let erased = client.post(&format!("{path}/erase"), &json!({ "ground": GROUND })).await;
    erased.expect(200).json()
}

/// The documents of `collection` that name `id`, as a backup would hold them.
async fn copy(
    stack: &Stack,
    tenant: &Tenant<'_>,
    suffix: &str,
    collection: &str,
    filter: Document,
) -> Vec<Document> {
    let database = stack.database().await.database(&format!("t_{}{suffix}", tenant.slug()));
    let found = database.collection(collection).find(filter).await.unwrap();
    found.try_collect().await.unwrap()
}

async fn has_secret(stack: &Stack, subject: &str) -> bool {
    let items = stack.aws().items(stack.value("SUBJECT_KEY_TABLE")).await;
    items.contains(&format!("\"{subject}\""))
}

/// What an erasure records of the secret that the subject has now.
async fn mark_of_secret(stack: &Stack, tenant: &Tenant<'_>, subject: &str) -> String {
    let items = stack.aws().items(stack.value("SUBJECT_KEY_TABLE")).await;
    let items: Value = serde_json::from_str(&items).unwrap();
    let mut items = items["Items"].as_array().unwrap().iter();
    let item =
        items.find(|item| item["subject"]["S"] == subject && item["tenant"]["S"] == tenant.slug());
    let secret = STANDARD.decode(item.unwrap()["secret"]["B"].as_str().unwrap()).unwrap();
    Hash::of(&[b"keystone/secret-mark/v1", &secret]).to_string()
}

/// What the audit trail shows of one entry's personal values.
fn personal(entry: &Value) -> Vec<Value> {
    let delta = entry["delta"].as_array().unwrap();
    let changes = delta.iter().filter(|change| change["personal"] == true);
    let values = changes.flat_map(|change| [change["before"].clone(), change["value"].clone()]);
    values.filter(|value| !value.is_null()).collect()
}

fn all_erased(values: &[Value]) -> bool {
    !values.is_empty() && values.iter().all(|value| value["erased"] == true)
}

#[tokio::test]
async fn an_erased_contact_is_gone_from_every_copy() {
    let stack = Stack::load();
    let tenant = stack.tenant("erasure", &[Role::Admin]).await;
    let owner = tenant.owner();
    let (line1, phone) = ("7 Erasure Lane", "+353861112223");
    let created = owner
        .request("POST", "/v1/customers")
        .header("idempotency-key", "erase-me")
        .json(&samples::customer(line1, phone))
        .send()
        .await
        .expect(201);
    let id = created.id();
    let path = format!("/v1/customers/{id}");
    let other = samples::customer("8 Other Street", "+353864445556");
    let other = owner.post("/v1/customers", &other).await.expect(201).id();
    assert_eq!(owner.get(&path).await.expect(200).json()["phone"], phone);
    let subject = format!("customer:{id}");
    assert!(has_secret(&stack, &subject).await);
    let backup = copy(&stack, &tenant, "", "customers", doc! { "_id": &id }).await;

    // A role that may not, and a ground that is none.
    tenant
        .user(Role::Admin)
        .post(&format!("{path}/erase"), &json!({ "ground": GROUND }))
        .await
        .must(403);
    owner.post(&format!("{path}/erase"), &json!({ "ground": "because" })).await.must(422);

    let erased = erase(owner, &path).await;
    assert_eq!(erased["subject"], subject);
    assert!(!has_secret(&stack, &subject).await);
    let shown = owner.get(&path).await.expect(200).json();
    assert_eq!((&shown["phone"], &shown["delivery_address"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["name"], "Corner Shop");
    let by_phone = owner.get("/v1/customers?phone=%2B353861112223").await.expect(200).json();
    assert_eq!(by_phone["items"], json!([]));

    // Restored from the backup it does not open, nor is it found.
    let customers = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let customers = customers.collection::<Document>("customers");
    let restored = backup[0].clone();
    assert!(restored.get_document("phone").is_ok());
    customers.replace_one(doc! { "_id": &id }, &restored).await.unwrap();
    let shown = owner.get(&path).await.expect(200);
    assert_eq!(shown.json()["phone"], Value::Null);
    tenant.vouch_for(&shown.request_id());
    let by_phone = owner.get("/v1/customers?phone=%2B353861112223").await.expect(200).json();
    assert_eq!(by_phone["items"], json!([]));

    // The answer that was kept for a repeated request is gone with it.
    let again = owner
        .request("POST", "/v1/customers")
        .header("idempotency-key", "erase-me")
        .json(&samples::customer(line1, phone))
        .replayed()
        .send()
        .await;
    again.must(404);

    // Nobody else lost anything, and the trail is whole.
    let kept = owner.get(&format!("/v1/customers/{other}")).await.expect(200).json();
    assert_eq!(kept["phone"], "+353864445556");
    let query = "/v1/audit?action=customer.erase";
    let entries = owner.get(query).await.expect(200).json();
    assert_eq!(entries["items"][0]["resource"]["id"], json!(id));
    let query = "/v1/audit?action=subject_key.destroy";
    let entries = owner.get(query).await.expect(200).json();
    assert_eq!(entries["items"][0]["resource"]["id"], json!(subject));
    Trail::read(&stack, tenant.slug()).await.verify();

    // A new contact of the same customer has a key of their own.
    let etag = owner.get(&format!("/v1/customers/{other}")).await.expect(200).etag();
    let other = format!("/v1/customers/{other}");
    erase(owner, &other).await;
    owner.patch(&other, &etag, &json!({ "phone": "+353867778889" })).await.must(412);
    let etag = owner.get(&other).await.expect(200).etag();
    owner.patch(&other, &etag, &json!({ "phone": "+353867778889" })).await.must(200);
    assert_eq!(owner.get(&other).await.expect(200).json()["phone"], "+353867778889");
    tenant.finish().await;
}

#[tokio::test]
async fn personal_values_of_the_audit_trail_are_erased_with_their_subject() {
    let stack = Stack::load();
    let tenant = stack.tenant("erasure", &[Role::Admin]).await;
    let owner = tenant.owner();
    let supplier = samples::supplier(&samples::iban());
    let supplier = owner.post("/v1/suppliers", &supplier).await.expect(201).id();
    let leaver = tenant.newcomer("leaver", Role::OpsUser).await;
    leaver.post("/v1/products", &samples::product()).await.must(201);
    let users = owner.get("/v1/users?role=ops_user").await.expect(200).json();
    let user = users["items"][0]["id"].as_str().unwrap().to_owned();

    let entry = async |query: &str| -> Value {
        let found = owner.get(&format!("/v1/audit?{query}")).await.expect(200).json();
        found["items"][0].clone()
    };
    let created = format!("action=supplier.create&resource_id={supplier}");
    let invited = format!("action=user.invite&resource_id={user}");
    let acted = format!("action=product.create&actor={user}");
    // Of contacts the trail holds tags, and no values.
    let tagged = entry(&created).await;
    assert!(personal(&tagged).is_empty(), "{tagged}");
    let email = tagged["delta"].as_array().unwrap().iter().find(|one| one["path"] == "/email");
    assert!(email.unwrap()["value"]["sealed"].is_string(), "{tagged}");
    let backup = copy(&stack, &tenant, "", "suppliers", doc! { "_id": &supplier }).await;
    let leavers_address = entry(&acted).await["source_ip"].as_str().unwrap().to_owned();
    let by_address = format!("ip={leavers_address}");
    assert_eq!(entry(&by_address).await["actor"]["id"], json!(user));

    erase(owner, &format!("/v1/suppliers/{supplier}")).await;
    let path = format!("/v1/users/{user}");
    owner.post(&format!("{path}/erase"), &json!({ "ground": GROUND })).await.must(409);
    owner.post(&format!("{path}/offboard"), &json!({ "reason": "left" })).await.must(200);
    erase(owner, &path).await;

    let shown = owner.get(&path).await.expect(200).json();
    assert_eq!(shown["name"], "Erased");
    let address = shown["email"].as_str().unwrap();
    assert!(address.ends_with("@erased.invalid"), "{shown}");
    // Nobody opens the record again by its address.
    let again = json!({ "email": address, "name": "Again", "role": "viewer" });
    let refused = owner.post("/v1/users", &again).await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "/email");
    assert!(all_erased(&personal(&entry(&invited).await)));
    assert_eq!(entry(&acted).await["source_ip"]["erased"], true);
    assert_eq!(entry(&acted).await["actor"]["id"], json!(user));
    assert_eq!(entry(&by_address).await, Value::Null);

    // What the entries committed to is as it was.
    Trail::read(&stack, tenant.slug()).await.verify();
    let stored = copy(&stack, &tenant, "_audit", "entries", doc! {}).await;
    for part in ["office@hollow-farm.example", &tenant.address_of("leaver")] {
        assert!(!stored.iter().any(|entry| entry.to_string().contains(part)), "{part}");
    }
    assert!(
        stored.iter().all(|entry| matches!(entry.get("ip"), Some(Bson::Null | Bson::Binary(_))))
    );

    // A new contact of the same supplier has a key of their own; what the one
    // before sealed is erased, not broken.
    let path = format!("/v1/suppliers/{supplier}");
    let etag = owner.get(&path).await.expect(200).etag();
    let next = json!({ "email": "new@hollow-farm.example" });
    owner.patch(&path, &etag, &next).await.must(200);
    assert_eq!(owner.get(&path).await.expect(200).json()["email"], "new@hollow-farm.example");
    let suppliers = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let suppliers = suppliers.collection::<Document>("suppliers");
    suppliers.replace_one(doc! { "_id": &supplier }, &backup[0]).await.unwrap();
    let shown = owner.get(&path).await.expect(200);
    assert_eq!(shown.json()["email"], Value::Null);
    tenant.vouch_for(&shown.request_id());
    tenant.finish().await;
}

#[tokio::test]
async fn an_erased_contact_of_the_tenant_is_nowhere() {
    let stack = Stack::load();
    let tenant = stack.tenant("erasure-contact", &[]).await;
    let (leaver, email) = (tenant.owner(), tenant.email_of(Role::SuperAdmin));
    let id = leaver.claims()["sub"].as_str().unwrap().to_owned();
    let path = format!("/v1/users/{id}");
    let heir = tenant.newcomer("heir", Role::SuperAdmin).await;
    let heirs_id = heir.claims()["sub"].clone();

    // A mistyped password, a forgotten one, and an account that is none.
    let elsewhere = tenant.stranger();
    let attempt = async |email: &str| {
        let wrong = json!({ "tenant": tenant.slug(), "email": email, "password": "Mistyped 1" });
        let login = elsewhere.request("POST", "/v1/auth/login").header("user-agent", "Leaver/1.0");
        login.json(&wrong).send().await.must(401);
    };
    attempt(&email).await;
    let forgotten = json!({ "tenant": tenant.slug(), "email": email });
    elsewhere.post("/v1/auth/password-reset", &forgotten).await.must(204);
    let trail = json!(tenant.audit_trail().await).to_string();
    let address = format!("\"{}\"", elsewhere.address());
    for shown in ["Orla Byrne", &email, "Leaver/1.0", &address] {
        assert!(trail.contains(shown), "{shown} is not recorded at all");
    }

    // A contact under another spelling, and an outsider's under an address that
    // is then invited.
    let change = async |contacts: Value| {
        let etag = heir.get("/v1/tenant").await.expect(200).etag();
        heir.patch("/v1/tenant", &etag, &json!({ "contacts": contacts })).await
    };
    let again = json!({ "name": "O. Byrne", "email": email.to_uppercase() });
    let guest = json!({ "name": "Niamh Daly", "email": tenant.address_of("niamh") });
    change(json!({ "security": again, "billing": guest })).await.must(200);
    let invited = json!({ "email": guest["email"], "name": "Niamh Daly", "role": "viewer" });
    let guests = heir.post("/v1/users", &invited).await.expect(201).id();
    let linked = tenant.document("settings", "tenant_id", tenant.slug()).await;
    let linked = linked.get_document("contacts").unwrap();
    let user_of = |name| linked.get_document(name).unwrap().get_str("user").unwrap();
    assert_eq!((user_of("primary"), user_of("security")), (id.as_str(), id.as_str()));
    assert_eq!(user_of("billing"), guests);

    let leave = json!({ "reason": "Retired", "successor": heirs_id });
    let left = heir.post(&format!("{path}/offboard"), &leave).await.expect(200).json();
    assert_eq!(left["contacts_passed_on"], 2);
    let back = change(json!({ "security": again })).await.expect(422).json();
    assert_eq!(back["errors"][0]["field"], "/contacts/security/email");
    // Who never accepted stays a contact until another is named.
    let guests = format!("/v1/users/{guests}");
    heir.post(&format!("{guests}/offboard"), &leave).await.must(200);
    let refused = heir.post(&format!("{guests}/erase"), &json!({ "ground": GROUND })).await;
    let refused = refused.expect(409).json()["detail"].as_str().unwrap().to_owned();
    assert!(refused.contains("name another contact first"), "{refused}");
    change(json!({ "billing": null })).await.must(200);
    erase(&heir, &guests).await;
    erase(&heir, &path).await;

    let addresses = [elsewhere.address(), leaver.address()].map(|at| format!("\"{at}\""));
    let tenant = tenant.with_owner(heir);
    assert!(!has_secret(&stack, &format!("user:{id}")).await);
    let trail = json!(tenant.audit_trail().await).to_string().to_lowercase();
    let settings = tenant.owner().get("/v1/tenant").await.expect(200).json().to_string();
    let settings = settings.to_lowercase();
    let traces = ["orla byrne", "o. byrne", "leaver/1.0", &email, &addresses[0], &addresses[1]];
    for trace in traces {
        assert!(!trail.contains(trace), "{trace} is in the trail");
        assert!(!settings.contains(trace), "{trace} is in the settings");
    }
    // No letter was sealed so that it would still open.
    let outbox = copy(&stack, &tenant, "", "outbox", doc! {}).await;
    let sealed_for = |letter: &Document| {
        letter.get_document("message").unwrap().get_str("sub").unwrap().to_owned()
    };
    let leavers = outbox.iter().filter(|letter| sealed_for(letter) == format!("user:{id}"));
    assert!(leavers.count() >= 3, "invitation, link and notice");
    // But for the one to a contact who was nobody here yet.
    assert_eq!(outbox.iter().filter(|letter| sealed_for(letter) == "tenant").count(), 1);
    Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}

/// What nobody may read any more once Ada, her customers' and suppliers' contacts
/// and whoever asked about their data are erased.
const UNA: [&str; 5] = [
    "Una Fenwick",
    "una@blue-gate.example",
    "The lorry on the lane",
    "Letters in attics",
    "sela@hollow-farm.example",
];

/// Records a request of Una's before it is known who she is.
async fn early_request(owner: &Client) -> String {
    let early = json!({
        "kind": "objection", "received_on": today(), "channel": "phone",
        "requester": { "name": UNA[0], "contact": UNA[1] }, "description": UNA[2],
    });
    let early = owner.post(PATH, &early).await.expect(201);
    let path = format!("{PATH}/{}", early.id());
    let more_time = json!({ "extension": { "reason": UNA[3], "told_on": today() } });
    owner.patch(&path, &early.etag(), &more_time).await.must(200);
    path
}

/// Says whom a request is about, as was thought first and as it turned out.
async fn link(owner: &Client, path: &str, customers: [&String; 2]) {
    for customer in customers {
        let about = json!({ "subject": { "kind": "customer", "id": customer } });
        let etag = owner.get(path).await.expect(200).etag();
        owner.patch(path, &etag, &about).await.must(200);
    }
}

#[tokio::test]
async fn nothing_opens_that_was_sealed_for_who_was_erased() {
    let stack = Stack::load();
    let tenant = stack.tenant("dsr-sealed", &[]).await;
    let owner = tenant.owner();
    let dairy = Dairy::new(owner, "+353861234567").await;
    let ada = tenant.newcomer("ada", Role::Admin).await;
    let user = ada.claims()["sub"].as_str().unwrap().to_owned();
    let customer = &dairy.customers[0];
    let supplier = owner.get("/v1/suppliers?limit=1").await.expect(200).json();
    let supplier = supplier["items"][0]["id"].as_str().unwrap().to_owned();
    let sellers = format!("/v1/suppliers/{supplier}");
    let etag = owner.get(&sellers).await.expect(200).etag();
    owner.patch(&sellers, &etag, &json!({ "email": UNA[4] })).await.must(200);
    leave_traces(&stack, &tenant, &ada, &dairy).await;
    let password = tenant.credentials(Role::SuperAdmin)["password"].clone();
    let moved = json!({ "email": tenant.address_of("moved"), "password": password });
    ada.post("/v1/auth/email", &moved).await.must(204);
    let (ada, _) = tenant.set_up_app(&ada, &tenant.address_of("ada")).await;
    let repeatable = ada.request("POST", "/v1/customers").header("idempotency-key", "of-ada");
    let repeatable = repeatable.json(&samples::customer("77 Weir Walk", "+353861119999"));
    let repeated = repeatable.send().await.expect(201).id();

    // From before it is known whom a request is about, and before a rotation.
    let early = early_request(owner).await;
    let mut copies = every_copy(&stack, &tenant).await;
    let job = stack.value("MAINTAIN_KEYS_FUNCTION");
    let rotation = json!({ "tenant": tenant.slug(), "rotate": true });
    assert_eq!(stack.aws().invoke(job, &rotation).await["unfinished"], false);
    let keys = owner.get("/v1/keys").await.expect(200).json();
    assert_eq!(keys["items"][1]["state"], "retired", "{keys}");
    link(owner, &early, [&dairy.customers[1], customer]).await;
    copies.extend(every_copy(&stack, &tenant).await);

    let mut requests = vec![early];
    for (kind, id) in [("user", &user), ("customer", customer), ("supplier", &supplier)] {
        let (path, etag) = in_progress(owner, "access", kind, id).await;
        let reason = json!({ "extension": { "reason": "Many deliveries", "told_on": today() } });
        owner.patch(&path, &etag, &reason).await.must(200);
        let (_, files) = bundle(&stack, owner, &path).await;
        let theirs = String::from_utf8_lossy(&files["data.json"]).contains(UNA[2]);
        assert_eq!(theirs, kind == "customer", "what was said early is in the bundle of {kind}");
        let etag = owner.get(&path).await.expect(200).etag();
        owner.patch(&path, &etag, &ending("fulfilled", None)).await.must(200);
        requests.push(path);
    }
    copies.extend(every_copy(&stack, &tenant).await);

    // Everything opens before, so that what does not afterwards was erased.
    let all_keys = AllKeys::of(&stack, &tenant).await;
    for found in &copies {
        let opened = all_keys.open(found);
        assert!(opened.is_some(), "{}.{}", found.collection, found.field);
    }

    let ground = json!({ "ground": "no_longer_needed" });
    for customer in [customer, &repeated] {
        owner.post(&format!("/v1/customers/{customer}/erase"), &ground).await.must(200);
    }
    owner.post(&format!("/v1/suppliers/{supplier}/erase"), &ground).await.must(200);
    let leaves = json!({ "reason": "left", "successor": owner.claims()["sub"] });
    owner.post(&format!("/v1/users/{user}/offboard"), &leaves).await.must(200);
    owner.post(&format!("/v1/users/{user}/erase"), &ground).await.must(200);

    // Of whom, where: an operator with the database as it was, as it is, and
    // every key that there still is.
    let mut erased = BTreeSet::from([
        format!("customer:{customer}"),
        format!("customer:{repeated}"),
        format!("supplier:{supplier}"),
        format!("user:{user}"),
    ]);
    let request_of = |path: &String| format!("request:{}", path.rsplit_once('/').unwrap().1);
    erased.extend(requests.iter().map(request_of));
    copies.extend(every_copy(&stack, &tenant).await);
    let left = AllKeys::of(&stack, &tenant).await;
    let addresses = [tenant.address_of("ada"), tenant.address_of("moved")];
    let mut traces = vec!["Ada Xylander", "77 Weir Walk", "+353861119999", "Customer's words"];
    traces.extend(addresses.iter().map(String::as_str));
    traces.extend(UNA);
    let (mut gone, mut kept) = (BTreeSet::new(), 0);
    for found in &copies {
        let place = format!("{}.{}", found.collection, found.field);
        let opened = left.open(found);
        let subject = found.subject.map(|subject| subject.to_string());
        if let Some(subject) = &subject {
            assert_eq!(opened.is_some(), !erased.contains(subject), "{place} of {subject}");
        }
        // Whoever it says that it is of, nothing of them is in what opens.
        if let Some(plain) = opened {
            let plain = String::from_utf8_lossy(&plain);
            for trace in &traces {
                assert!(!plain.contains(trace), "{trace} in {place} of {subject:?}");
            }
            kept += 1;
        } else {
            gone.insert(place);
        }
    }
    println!("{} places erased, {kept} values of others still open", gone.len());
    let sealed = schema::COLLECTIONS.iter().flat_map(|collection| {
        collection.sealed.iter().map(|field| format!("{}.{field}", collection.name))
    });
    let mut everywhere: BTreeSet<String> = sealed.collect();
    everywhere.insert("entries.personal".into());
    // Whom to answer about a questionnaire is nobody whom a tenant erases.
    everywhere.remove("questionnaires.contact");
    // Whose an address is that an export was asked for is not known.
    everywhere.remove("audit_exports.ip");
    // That of an export is of nobody.
    everywhere.remove("audit_exports.seal");
    assert_eq!(gone, everywhere);
    assert!(kept > 20, "{kept}");
    Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}

#[tokio::test]
async fn an_export_from_before_an_erasure_is_handed_out_no_longer() {
    let stack = Stack::load();
    let tenant = stack.tenant("erasure-export", &[]).await;
    let owner = tenant.owner();
    let customer = samples::customer("10 Paper Trail", "+353865550010");
    let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
    let before = ask(owner, "jsonl", &json!({})).await;
    fetch(&stack, owner, &before).await;
    erase(owner, &format!("/v1/customers/{customer}")).await;

    let shown = owner.get(&format!("/v1/audit/exports/{before}")).await.expect(200).json();
    assert_eq!(shown["state"], "withdrawn");
    assert_eq!(
        (&shown["files"][0]["url"], &shown["available_until"]),
        (&Value::Null, &Value::Null)
    );
    assert!(shown["note"].as_str().unwrap().contains("Ask for a new one"), "{shown}");
    let after = ask(owner, "jsonl", &json!({})).await;
    fetch(&stack, owner, &after).await;
    tenant.finish().await;
}

/// Where the bundles of the request at `path` lie.
fn folder(tenant: &Tenant<'_>, path: &str) -> String {
    format!("subject-bundles/{}/{}/", tenant.slug(), path.rsplit_once('/').unwrap().1)
}

/// How many files there are in it.
async fn bundles(stack: &Stack, tenant: &Tenant<'_>, path: &str) -> usize {
    let list = stack.s3().list_objects_v2().bucket(stack.value("EXPORT_BUCKET"));
    list.prefix(folder(tenant, path)).send().await.unwrap().contents().len()
}

#[tokio::test]
async fn a_bundle_from_before_an_erasure_is_gone() {
    let stack = Stack::load();
    let tenant = stack.tenant("erasure-bundle", &[]).await;
    let owner = tenant.owner();
    let mut made = Vec::new();
    for (street, phone) in [("11 Parcel Row", "+353865550011"), ("12 Parcel Row", "+353865550012")]
    {
        let customer = samples::customer(street, phone);
        let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
        let (path, _) = in_progress(owner, "access", "customer", &customer).await;
        bundle(&stack, owner, &path).await;
        let (view, _) = bundle(&stack, owner, &path).await;
        made.push((customer, path, view["url"].as_str().unwrap().to_owned()));
    }
    let ((customer, path, url), (_, others, others_url)) = (&made[0], &made[1]);
    assert_eq!(bundles(&stack, &tenant, path).await, 2);
    // Asked for again with its key it is the same one, and no file is left over.
    let again = format!("{path}/bundle");
    let ask = || owner.request("POST", &again).header("idempotency-key", "once").json(&json!({}));
    let first = ask().send().await.expect(201);
    assert_eq!(ask().replayed().send().await.expect(201).body, first.body);
    assert_eq!(bundles(&stack, &tenant, path).await, 3);
    erase(owner, &format!("/v1/customers/{customer}")).await;
    assert_eq!(bundles(&stack, &tenant, path).await, 0);
    assert_eq!(stack.aws().fetch(url).await.0, 404, "the link is good for five minutes");
    assert_eq!(bundles(&stack, &tenant, others).await, 2);
    assert_eq!(stack.aws().fetch(others_url).await.0, 200);

    // As if the process had died before they were deleted: the job deletes them.
    let file = format!("{}left.zip", folder(&tenant, path));
    let put = stack.s3().put_object().bucket(stack.value("EXPORT_BUCKET")).key(file);
    put.body(b"left".to_vec().into()).send().await.unwrap();
    let of_request = format!("request:{}", path.rsplit_once('/').unwrap().1);
    tenant.set_in_document("erasures", "subject", &of_request, "state", "pending").await;
    let event = json!({ "tenant": tenant.slug() });
    let job = stack.value("MAINTAIN_KEYS_FUNCTION");
    assert_eq!(stack.aws().invoke(job, &event).await["erased"], 1);
    assert_eq!(bundles(&stack, &tenant, path).await, 0);
    tenant.finish().await;
}

#[tokio::test]
async fn a_bundle_that_an_erasure_overtakes_is_not_handed_out() {
    let stack = Stack::load();
    let tenant = stack.tenant("erasure-overtakes", &[]).await;
    let owner = tenant.owner();
    let customer = samples::customer("13 Parcel Row", "+353865550013");
    let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
    let (path, _) = in_progress(owner, "access", "customer", &customer).await;
    bundle(&stack, owner, &path).await;
    let request = format!("request:{}", path.rsplit_once('/').unwrap().1);
    let mut subjects = Vec::new();
    for subject in [format!("customer:{customer}"), request] {
        let mark = mark_of_secret(&stack, &tenant, &subject).await;
        subjects.push((subject, mark));
    }
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let erasures = database.collection::<Document>("erasures");
    for (state, said) in [("done", "was erased meanwhile"), ("pending", "is being erased")] {
        // The data is read and the file stored while nothing can be recorded; what
        // can be next is an erasure.
        let mut held = tenant.hold_writes().await;
        let overtaking = async {
            while bundles(&stack, &tenant, &path).await < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for (subject, mark) in &subjects {
                let now = keystone::clock::now();
                let at = mongodb::bson::DateTime::from_millis(now.as_millisecond());
                let erasure = doc! {
                    "_id": keystone::random::id(now).unwrap().to_string(),
                    "tenant_id": tenant.slug(), "version": 1_i64,
                    "created_at": at, "updated_at": at, "subject": subject, "ground": GROUND,
                    "state": state, "secret_mark": mark,
                };
                erasures.insert_one(erasure).session(&mut held).await.unwrap();
            }
            held.commit_transaction().await.unwrap();
        };
        let (url, all) = (format!("{path}/bundle"), json!({}));
        let (refused, ()) = futures::join!(owner.post(&url, &all), overtaking);
        let refused = refused.expect(409).json();
        assert!(refused["detail"].as_str().unwrap().contains(said), "{refused}");
        assert_eq!(bundles(&stack, &tenant, &path).await, 1, "the earlier one");
    }
    let shown = owner.get(&path).await.expect(200).json();
    assert_eq!(shown["bundles"], 1, "{shown}");

    // While the erasure is pending none is made, and its end takes the first one.
    let refused = owner.post(&format!("{path}/bundle"), &json!({})).await.expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("is being erased"), "{refused}");
    let event = json!({ "tenant": tenant.slug() });
    let job = stack.value("MAINTAIN_KEYS_FUNCTION");
    assert_eq!(stack.aws().invoke(job, &event).await["erased"], 2);
    assert_eq!(bundles(&stack, &tenant, &path).await, 0);
    tenant.finish().await;
}

#[tokio::test]
async fn an_erasure_that_was_interrupted_is_finished_by_the_job() {
    let stack = Stack::load();
    let tenant = stack.tenant("erasure", &[]).await;
    let owner = tenant.owner();
    let customer = samples::customer("9 Half Way", "+353865550001");
    let id = owner.post("/v1/customers", &customer).await.expect(201).id();
    let subject = format!("customer:{id}");
    erase(owner, &format!("/v1/customers/{id}")).await;

    // As if the process had died after its transaction: the erasure is
    // pending, of the secret that its mark names.
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let erasures = database.collection::<Document>("erasures");
    let pend = async |mark: Option<String>| {
        let mut pending = doc! { "state": "pending" };
        pending.extend(mark.map(|mark| ("secret_mark".to_owned(), mark.into())));
        let of_subject = doc! { "subject": &subject };
        erasures.update_one(of_subject, doc! { "$set": pending }).await.unwrap();
    };
    pend(None).await;
    let path = format!("/v1/customers/{id}");
    let etag = owner.get(&path).await.expect(200).etag();
    // What was sealed now would be lost with the secret, so it is refused.
    let phone = json!({ "phone": "+353865550002" });
    let refused = owner.patch(&path, &etag, &phone).await.expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("being erased"), "{refused}");
    owner.patch(&path, &etag, &json!({ "name": "Corner Shop, Half Way" })).await.must(200);
    assert!(has_secret(&stack, &subject).await, "sealing the refused value made one");

    // The secret that the subject has by now is none that is to be destroyed.
    let event = json!({ "tenant": tenant.slug() });
    let job = stack.value("MAINTAIN_KEYS_FUNCTION");
    assert_eq!(stack.aws().invoke(job, &event).await["erased"], 1);
    assert!(has_secret(&stack, &subject).await, "a later secret was destroyed");
    assert_eq!(stack.aws().invoke(job, &event).await["erased"], 0);
    let etag = owner.get(&path).await.expect(200).etag();
    owner.patch(&path, &etag, &phone).await.must(200);
    assert_eq!(owner.get(&path).await.expect(200).json()["phone"], "+353865550002");

    // One that names a secret that there never was is not said to be done.
    pend(Some("00".repeat(32))).await;
    let failed = stack.aws().invoke_to_the_end(job, &event).await.to_string();
    assert!(failed.contains("internal"), "{failed}");
    assert!(has_secret(&stack, &subject).await);
    let left = erasures.count_documents(doc! { "state": "pending" }).await.unwrap();
    assert_eq!(left, 1, "it is said to be done");

    // One of the secret that there is destroys it.
    pend(Some(mark_of_secret(&stack, &tenant, &subject).await)).await;
    assert_eq!(stack.aws().invoke(job, &event).await["erased"], 1);
    assert!(!has_secret(&stack, &subject).await);
    let shown = owner.get(&path).await.expect(200);
    assert_eq!(shown.json()["phone"], Value::Null);
    tenant.vouch_for(&shown.request_id());
    tenant.finish().await;
}

#[tokio::test]
async fn who_left_is_erased_when_the_tenant_keeps_them_no_longer() {
    let stack = Stack::load();
    let tenant = stack.tenant("erasure", &[Role::Viewer, Role::OpsUser, Role::Admin]).await;
    let owner = tenant.owner();
    let id_of = |users: &Value, role: &str| {
        let mut users = users["items"].as_array().unwrap().iter();
        users.find(|user| user["role"] == role).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let users = owner.get("/v1/users").await.expect(200).json();
    let (long_gone, just_gone) = (id_of(&users, "viewer"), id_of(&users, "ops_user"));
    // A guest who never accepted is a contact, and so no former user to erase.
    let guest = json!({ "name": "Niamh Daly", "email": tenant.address_of("niamh") });
    let invited = json!({ "email": guest["email"], "name": "Niamh Daly", "role": "viewer" });
    let guests = owner.post("/v1/users", &invited).await.expect(201).id();
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let change = json!({ "contacts": { "billing": guest } });
    owner.patch("/v1/tenant", &etag, &change).await.must(200);
    for id in [&long_gone, &just_gone, &guests] {
        let left = json!({ "reason": "left" });
        owner.post(&format!("/v1/users/{id}/offboard"), &left).await.must(200);
    }
    // Two left three years ago, and an admin who works here has not been
    // changed for as long.
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let three_years = jiff::SignedDuration::from_hours(24 * (3 * 365 + 1));
    let then = keystone::clock::now() - three_years;
    let then = doc! { "updated_at": mongodb::bson::DateTime::from_millis(then.as_millisecond()) };
    for id in [&long_gone, &guests, &id_of(&users, "admin")] {
        let document = database.collection::<Document>("users");
        document.update_one(doc! { "_id": id }, doc! { "$set": &then }).await.unwrap();
    }

    let event = json!({ "tenant": tenant.slug() });
    let job = stack.value("MAINTAIN_KEYS_FUNCTION");
    assert_eq!(stack.aws().invoke(job, &event).await["lapsed"], 0, "nobody asked for it");
    let settings = owner.get("/v1/tenant").await.expect(200);
    assert_eq!(settings.json()["former_user_years"], Value::Null);
    let mut etag = settings.etag();
    for wrong in [json!(0), json!(11), json!("3"), json!(1.5)] {
        let change = json!({ "former_user_years": wrong });
        let problem = owner.patch("/v1/tenant", &etag, &change).await.expect(422).json();
        assert_eq!(problem["errors"][0]["field"], "/former_user_years");
    }
    for (years, lapsed) in [(4, 0), (3, 1), (3, 0)] {
        let change = json!({ "former_user_years": years });
        etag = owner.patch("/v1/tenant", &etag, &change).await.expect(200).etag();
        assert_eq!(stack.aws().invoke(job, &event).await["lapsed"], lapsed, "{years} years");
    }
    let change = json!({ "contacts": { "billing": null } });
    etag = owner.patch("/v1/tenant", &etag, &change).await.expect(200).etag();
    assert_eq!(stack.aws().invoke(job, &event).await["lapsed"], 1, "no contact any more");

    let users = owner.get("/v1/users").await.expect(200).json();
    let named = |id: &str| {
        let mut users = users["items"].as_array().unwrap().iter();
        users.find(|user| user["id"] == id).unwrap()["name"].clone()
    };
    assert_eq!(named(&long_gone), "Erased");
    assert_ne!(named(&just_gone), "Erased");
    assert!(!has_secret(&stack, &format!("user:{long_gone}")).await);
    let erased = owner.get("/v1/audit?action=user.erase").await.expect(200).json();
    let erased = erased["items"].as_array().unwrap();
    let whom: Vec<&Value> = erased.iter().map(|entry| &entry["resource"]["id"]).collect();
    assert_eq!(whom, [&json!(guests), &json!(long_gone)]);
    for entry in erased {
        assert_eq!(entry["actor"]["kind"], "job");
        tenant.vouch_for(entry["request_id"].as_str().unwrap());
    }
    let change = json!({ "former_user_years": null });
    owner.patch("/v1/tenant", &etag, &change).await.must(200);
    tenant.finish().await;
}
