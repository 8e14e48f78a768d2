//! Data keys: rotation under load, interrupted re-sealing, and what moves a
//! ciphertext to where it does not belong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream};
use keystone::auth::Role;
use keystone::tenant::schema;
use keystone_tests::event::Event;
use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::trail::Trail;
use keystone_tests::vault::every_index;
use keystone_tests::{Client, Stack, Tenant, samples};
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};

/// Every sealed field of a tenant's data, with its collection.
fn sealed_fields() -> impl Iterator<Item = (&'static str, &'static str)> {
    let collections = schema::COLLECTIONS.into_iter();
    collections
        .flat_map(|collection| collection.sealed.iter().map(|field| (collection.name, *field)))
}

async fn rotate(stack: &Stack, tenant: &Tenant<'_>) -> Value {
    let event = json!({ "tenant": tenant.slug(), "rotate": true });
    stack.aws().invoke(stack.value("MAINTAIN_KEYS_FUNCTION"), &event).await
}

async fn maintain(stack: &Stack, tenant: &Tenant<'_>) -> Value {
    let event = json!({ "tenant": tenant.slug() });
    stack.aws().invoke(stack.value("MAINTAIN_KEYS_FUNCTION"), &event).await
}

/// How many sealed values of the tenant are on each data key, as the database
/// itself says.
async fn on_keys(stack: &Stack, tenant: &Tenant<'_>) -> Vec<(String, usize)> {
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let mut counts = std::collections::BTreeMap::new();
    for (collection, field) in sealed_fields() {
        let found: Vec<Document> = database
            .collection(collection)
            .find(doc! { field: { "$type": "object" } })
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        for document in found {
            let key = document.get_document(field).unwrap().get_str("kid").unwrap().to_owned();
            *counts.entry(key).or_insert(0) += 1;
        }
    }
    counts.into_iter().collect()
}

/// Customers with contact data of which the last digits tell their number.
async fn customers(client: &Client, count: usize) -> Vec<String> {
    stream::iter(0..count)
        .map(|n| async move {
            let new = samples::customer(&format!("{n} Quay Street"), &format!("+35386{n:07}"));
            client.post("/v1/customers", &new).await.expect(201).id()
        })
        .buffered(6)
        .collect()
        .await
}

#[tokio::test]
async fn a_new_key_takes_over_while_everybody_works() {
    let stack = Stack::load();
    let tenant = stack.tenant("rotation", &[Role::Admin]).await;
    let admin = tenant.user(Role::Admin);
    let ids = customers(admin, 40).await;
    let supplier = samples::supplier(&samples::iban());
    admin.post("/v1/suppliers", &supplier).await.must(201);
    let before = on_keys(&stack, &tenant).await;
    assert_eq!(before.len(), 1, "one key sealed everything: {before:?}");

    let over = AtomicBool::new(false);
    let (over, ids) = (&over, &ids);
    // The first answer counts: no read may fail.
    let read = async |path: &str| admin.request("GET", path).once().send().await.expect(200);
    let read = &read;
    let writers = join_all((0..8).map(|writer| async move {
        let mut writes = 0;
        for n in (writer..).step_by(8) {
            if over.load(Ordering::Relaxed) {
                return writes;
            }
            let path = format!("/v1/customers/{}", ids[n % ids.len()]);
            let etag = read(&path).await.etag();
            let phone = format!("+35387{n:07}");
            admin.patch(&path, &etag, &json!({ "phone": phone })).await.must(200);
            let shown = read(&path).await.json();
            assert_eq!(shown["phone"], phone);
            writes += 1;
        }
        writes
    }));
    let readers = join_all((0..8).map(|reader| async move {
        let mut reads = 0;
        for n in (reader..).step_by(8) {
            if over.load(Ordering::Relaxed) {
                return reads;
            }
            let id = &ids[n % ids.len()];
            let shown = read(&format!("/v1/customers/{id}")).await.json();
            assert!(shown["phone"].as_str().unwrap().starts_with("+3538"), "{shown}");
            let town = shown["delivery_address"]["town"].as_str();
            assert_eq!(town, Some("Ballyhaunis"), "{shown}");
            read("/v1/customers?limit=100").await;
            reads += 1;
        }
        reads
    }));
    let rotation = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let done = rotate(&stack, &tenant).await;
        over.store(true, Ordering::Relaxed);
        done
    };
    let (written, read, done) = tokio::join!(writers, readers, rotation);
    let (written, read): (i32, i32) = (written.iter().sum(), read.iter().sum());
    println!("{done} beside {written} writes and {read} reads");
    assert!(written >= 8 && read >= 8, "there was no load: {written} writes, {read} reads");
    assert_eq!(done["keys"], 1);
    assert!(done["resealed"].as_u64().unwrap() > 0, "{done}");
    assert_eq!(done["unfinished"], false);

    let after = on_keys(&stack, &tenant).await;
    assert_eq!(after.len(), 1, "everything is on the new key: {after:?}");
    assert_ne!(after[0].0, before[0].0);
    let shown = tenant.owner().get("/v1/keys").await.expect(200).json();
    let keys = shown["items"].as_array().unwrap();
    assert_eq!((&keys[0]["state"], &keys[0]["version"]), (&json!("current"), &json!(2)));
    assert_eq!((&keys[1]["state"], &keys[1]["values"]), (&json!("retired"), &json!(0)));
    // What the trail holds stays on the key that sealed it.
    let entries = stack.database().await.database(&format!("t_{}_audit", tenant.slug()));
    let entries = entries.collection::<Document>("entries");
    let mut openings = Vec::new();
    for key in keys {
        let sealed_with = doc! { "personal.kid": key["id"].as_str().unwrap() };
        openings.push(entries.count_documents(sealed_with).await.unwrap());
    }
    assert!(openings.iter().all(|count| *count > 0), "{openings:?}");
    // The list of keys leaves no entry, so what was shown is what there is.
    assert_eq!(json!(openings), json!([keys[0]["audit_entries"], keys[1]["audit_entries"]]));
    assert_eq!(keys[0]["id"], json!(after[0].0));
    assert_eq!(keys[0]["values"], json!(after[0].1));
    assert_eq!(shown["last_rotated_at"], keys[0]["created_at"]);

    // Again it does nothing.
    let again = maintain(&stack, &tenant).await;
    assert_eq!(
        again,
        json!({
            "keys": 0, "resealed": 0, "erased": 0, "lapsed": 0, "unfinished": false,
        })
    );
    Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}

#[tokio::test]
async fn the_first_key_is_on_record_like_every_other() {
    let stack = Stack::load();
    let tenant = stack.tenant("first-key", &[]).await;
    let first = stack.database().await.database(&format!("t_{}_keys", tenant.slug()));
    let first = first.collection::<Document>("data_keys").find_one(doc! {}).await.unwrap().unwrap();
    // Making the tenant once more makes no key, so it leaves no entry.
    tenant.provision_again().await;
    let recorded = async || {
        let found = tenant.owner().get("/v1/audit?action=data_key.create").await.expect(200);
        found.json()["items"].as_array().unwrap().clone()
    };
    let entries = recorded().await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!(entries[0]["seq"], 0, "before anybody can be there");
    assert_eq!(entries[0]["resource"]["id"], json!(first.get_str("_id").unwrap()));
    assert_eq!(entries[0]["actor"]["kind"], "operator");
    let delta = entries[0]["delta"].to_string();
    assert!(delta.contains(first.get_str("kms_key").unwrap()), "{delta}");
    rotate(&stack, &tenant).await;
    assert_eq!(recorded().await.len(), 2);
    tenant.finish().await;
}

#[tokio::test]
async fn a_key_is_followed_by_another_after_a_year() {
    let stack = Stack::load();
    let tenant = stack.tenant("aged", &[]).await;
    let keys = stack.database().await.database(&format!("t_{}_keys", tenant.slug()));
    let keys = keys.collection::<Document>("data_keys");
    for (days, made) in [(364, 0), (365, 1), (365, 0)] {
        let age = jiff::SignedDuration::from_hours(24 * days);
        let then = (keystone::clock::now() - age).as_millisecond();
        let then = doc! { "$set": { "created_at": mongodb::bson::DateTime::from_millis(then) } };
        keys.update_one(doc! { "version": 1 }, then).await.unwrap();
        assert_eq!(maintain(&stack, &tenant).await["keys"], made, "{days} days");
    }
    let shown = tenant.owner().get("/v1/keys").await.expect(200).json();
    assert_eq!(
        (&shown["items"][0]["version"], &shown["items"][0]["state"]),
        (&json!(2), &json!("current"))
    );
    assert_eq!(shown["items"][1]["state"], "retired");
    assert_eq!(on_keys(&stack, &tenant).await.len(), 1);
    tenant.finish().await;
}

#[tokio::test]
async fn what_is_kept_of_a_request_is_sealed_whole() {
    let stack = Stack::load();
    let tenant = stack.tenant("kept", &[Role::Admin]).await;
    let admin = tenant.user(Role::Admin);
    let send = |body: &Value| {
        admin.request("POST", "/v1/customers").header("idempotency-key", "once").json(body)
    };
    let body = samples::customer("1 Kept Street", "+353861112221");
    let first = send(&body).send().await.expect(201);
    assert_eq!(send(&body).replayed().send().await.expect(201).id(), first.id());
    let mut other = body.clone();
    other["phone"] = "+353861112223".into();
    send(&other).replayed().send().await.must(409);
    // A hash of the request beside it would let every number be tried.
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let kept = database.collection::<Document>("idempotency").find_one(doc! {}).await.unwrap();
    let kept = kept.unwrap();
    let fields: BTreeSet<&str> = kept.keys().map(String::as_str).collect();
    let plain = ["_id", "created_at", "reply", "tenant_id", "updated_at", "version"];
    assert_eq!(fields, BTreeSet::from(plain));
    let reply: BTreeSet<&str> =
        kept.get_document("reply").unwrap().keys().map(String::as_str).collect();
    assert_eq!(reply, BTreeSet::from(["ct", "kid", "sub", "v"]));
    tenant.finish().await;
}

#[tokio::test]
async fn a_value_that_was_tampered_with_does_not_stop_a_rotation() {
    let stack = Stack::load();
    let tenant = stack.tenant("spoiled", &[Role::Admin]).await;
    let mut ids = customers(tenant.user(Role::Admin), 3).await;
    // The list has the last first.
    ids.sort();
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let documents = database.collection::<Document>("customers");
    let phone = async |id: &str| {
        let found = documents.find_one(doc! { "_id": id }).await.unwrap().unwrap();
        found.get("phone").unwrap().clone()
    };
    let put = async |id: &str, value: Bson| {
        let value = doc! { "$set": { "phone": value } };
        documents.update_one(doc! { "_id": id }, value).await.unwrap();
    };
    let (own, other) = (phone(&ids[1]).await, phone(&ids[2]).await);
    let ciphertext = other.as_document().unwrap().get("ct").unwrap().clone();
    let mut spoiled = own.as_document().unwrap().clone();
    spoiled.insert("ct", ciphertext);
    put(&ids[1], spoiled.into()).await;
    // One of a subject that has no secret and of whom no erasure is recorded:
    // a secret that is lost is no erasure.
    let kept = phone(&ids[0]).await;
    let mut lost = kept.as_document().unwrap().clone();
    lost.insert("sub", "customer:01890000-0000-7000-8000-000000000000");
    put(&ids[0], lost.clone().into()).await;

    // It fails the list that it is in; the log says which value of which document.
    let begun = keystone::clock::now();
    let admin = tenant.user(Role::Admin);
    admin.request("GET", "/v1/customers").once().broken().send().await.must(500);
    let mut named = false;
    for _ in 0..60 {
        let logs = stack.logs(begun).await;
        let mut lines = logs.lines().filter(|line| line.contains(&ids[1]));
        named = lines.any(|line| line.contains("customers") && line.contains("phone"));
        if named {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(named, "no line of the log says where the value stands");

    let findings = [0, 1].map(|n| format!("customers.phone of {}", ids[n]));
    let job = stack.value("MAINTAIN_KEYS_FUNCTION");
    for rotate in [true, false] {
        let event = json!({ "tenant": tenant.slug(), "rotate": rotate });
        let failed = stack.aws().invoke_to_the_end(job, &event).await.to_string();
        assert!(findings.iter().all(|finding| failed.contains(finding)), "{failed}");
        // They alone are left on the older key, as they were.
        assert_eq!(phone(&ids[0]).await, lost.clone().into());
        let mut left: Vec<usize> =
            on_keys(&stack, &tenant).await.into_iter().map(|(_, values)| values).collect();
        left.sort_unstable();
        assert_eq!((left.len(), left[0]), (2, 2), "{left:?}");
    }
    let recorded = tenant.owner().get("/v1/audit?action=data_key.reseal").await.expect(200).json();
    let newest = recorded["items"][0]["delta"].to_string();
    let named = ids[..2].iter().all(|id| newest.contains(id));
    assert!(newest.contains("/unreadable") && named, "{newest}");

    put(&ids[0], kept).await;
    put(&ids[1], own).await;
    assert_eq!(maintain(&stack, &tenant).await["resealed"], 2);
    assert_eq!(on_keys(&stack, &tenant).await.len(), 1);
    Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}

#[tokio::test]
async fn an_interrupted_run_is_finished_by_the_next() {
    let stack = Stack::load();
    let tenant = stack.tenant("interrupted", &[Role::Admin]).await;
    let admin = tenant.user(Role::Admin);
    let ids = customers(admin, 120).await;
    let total: usize = on_keys(&stack, &tenant).await.iter().map(|(_, values)| values).sum();

    // Killed as soon as the first batches have moved.
    let environment = stack.environment("maintain-keys").await;
    let binary = build_directory().join("maintain-keys");
    let mut function = Function::start(&binary, &environment).await;
    function.begin(&json!({ "tenant": tenant.slug(), "rotate": true })).await;
    for _ in 0..2000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if on_keys(&stack, &tenant).await.len() == 2 {
            break;
        }
    }
    function.kill_after(Duration::ZERO).await;
    // The transaction that the process left open ends now and not at the
    // server's limit; see crash.rs.
    let admin_database = stack.database().await.database("admin");
    admin_database.run_command(doc! { "killAllSessions": [] }).await.unwrap();
    let halfway = on_keys(&stack, &tenant).await;
    assert_eq!(halfway.len(), 2, "killed in the middle: {halfway:?}");
    let state = tenant.owner().get("/v1/keys").await.expect(200).json();
    assert_eq!(state["items"][1]["state"], "retiring");

    // Both halves open, before the next run and after.
    let all_open = async || {
        for (n, id) in ids.iter().enumerate().step_by(7) {
            let shown = admin.get(&format!("/v1/customers/{id}")).await.expect(200).json();
            assert_eq!(shown["phone"], format!("+35386{n:07}"));
        }
    };
    all_open().await;
    let done = maintain(&stack, &tenant).await;
    assert_eq!((&done["keys"], &done["unfinished"]), (&json!(0), &json!(false)));
    let after = on_keys(&stack, &tenant).await;
    assert_eq!((after.len(), after[0].1), (1, total), "{after:?}");
    all_open().await;
    Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}

#[tokio::test]
async fn search_finds_what_is_sealed_before_and_after_a_rotation() {
    let stack = Stack::load();
    let tenant = stack.tenant("search", &[Role::Admin, Role::OpsUser, Role::Viewer]).await;
    let admin = tenant.user(Role::Admin);
    let ids = customers(admin, 12).await;
    let twin = samples::customer("Elsewhere 1", "+353860000003");
    let twin = admin.post("/v1/customers", &twin).await.expect(201).id();
    let iban = samples::iban();
    let paid = admin.post("/v1/suppliers", &samples::supplier(&iban)).await.expect(201).id();
    admin.post("/v1/suppliers", &samples::supplier(&samples::iban())).await.must(201);

    let found = async |path: &str| -> Vec<String> {
        let list = admin.get(path).await.expect(200).json();
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    // An unescaped `+` of a URL becomes a blank.
    let spelled =
        ["%2B353860000003", "%2B353%2086%20000-0003", "00353860000003", "%20353.86(0000003)"];
    let lower = iban.to_lowercase();
    let spaced = format!("{}%20{}", &iban[..4], &iban[4..]);
    let check = async || {
        for phone in spelled {
            let both = [twin.clone(), ids[3].clone()];
            assert_eq!(found(&format!("/v1/customers?phone={phone}")).await, both, "{phone}");
        }
        assert!(found("/v1/customers?phone=%2B353869999999").await.is_empty());
        for iban in [&iban, &lower, &spaced] {
            assert_eq!(
                found(&format!("/v1/suppliers?iban={iban}")).await,
                std::slice::from_ref(&paid)
            );
        }
        // In pages, and masked like any list.
        let first = admin.get("/v1/customers?phone=00353860000003&limit=1").await.expect(200);
        let first = first.json();
        assert_eq!(first["items"][0]["id"], json!(twin));
        assert_eq!(first["items"][0]["phone"], "***********03");
        let cursor = first["next_cursor"].as_str().unwrap();
        let next = format!("/v1/customers?phone=00353860000003&limit=1&cursor={cursor}");
        assert_eq!(found(&next).await, [ids[3].clone()]);
    };
    for (query, field) in [
        ("customers?phone=0860000003", "phone"),
        ("customers?phone=353860000003", "phone"),
        ("customers?phone=!!!!", "phone"),
        ("customers?phone=", "phone"),
        ("customers?phone=%2B353860000003x", "phone"),
        ("customers?phone=%2B353%20(0)86%20000%200003", "phone"),
        ("suppliers?iban=IE29AIBK93115212345679", "iban"),
        ("suppliers?iban=!!!!", "iban"),
    ] {
        let refused = admin.get(&format!("/v1/{query}")).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{query}");
        let message = refused["errors"][0]["message"].as_str().unwrap();
        assert_eq!(message.contains("(0)"), field == "phone", "{query}: {message}");
    }
    let spelled_in = samples::customer("0 Bracket Way", "+353 (0)86 000 0003");
    let refused = admin.post("/v1/customers", &spelled_in).await.expect(422).json();
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("(0)"), "{refused}");
    check().await;
    assert_eq!(rotate(&stack, &tenant).await["keys"], 1);
    check().await;

    // A changed number is found by what it is, not by what it was.
    let path = format!("/v1/customers/{twin}");
    let etag = admin.get(&path).await.expect(200).etag();
    admin.patch(&path, &etag, &json!({ "phone": "+353860000099" })).await.must(200);
    assert_eq!(found("/v1/customers?phone=%2B353860000003").await, [ids[3].clone()]);
    assert_eq!(found("/v1/customers?phone=%2B353860000099").await, [twin]);

    // Whoever may not read such values may not guess them.
    let phone = "/v1/customers?phone=%2B353860000003";
    tenant.user(Role::OpsUser).get(phone).await.must(200);
    tenant.user(Role::Viewer).get(phone).await.must(403);
    let by_iban = format!("/v1/suppliers?iban={iban}");
    tenant.user(Role::OpsUser).get(&by_iban).await.must(403);
    tenant.user(Role::Viewer).get(&by_iban).await.must(403);
    // Whoever may leaves a trace, found or not, which does not tell the number.
    let trail = tenant.audit_trail().await;
    let searches: Vec<&Value> =
        trail.iter().filter(|entry| entry["action"] == "customer.search").collect();
    let counts = |records: u64| {
        let found = |entry: &&&Value| {
            let delta = entry["delta"].as_array().unwrap();
            delta.iter().any(|fact| fact["path"] == "/records" && fact["value"] == records)
        };
        searches.iter().filter(found).count()
    };
    assert!(counts(0) >= 2 && counts(2) >= 8, "{searches:?}");
    assert!(!json!(searches).to_string().contains("86000000"), "{searches:?}");
    tenant.finish().await;
}

#[tokio::test]
async fn a_value_has_one_blind_index_however_often_keys_rotate() {
    let stack = Stack::load();
    let tenant = stack.tenant("one-index", &[]).await;
    let owner = tenant.owner();
    let (phone, iban) = ("+353867654321", samples::iban());
    let mut customers = Vec::new();
    for round in 0..3 {
        if round > 0 {
            assert_eq!(rotate(&stack, &tenant).await["keys"], 1);
        }
        let new = samples::customer(&format!("{round} Index Row"), phone);
        customers.push(owner.post("/v1/customers", &new).await.expect(201).id());
        owner.post("/v1/suppliers", &samples::supplier(&iban)).await.must(201);
        // What is written again is indexed again, under whatever key seals.
        for id in &customers {
            let path = format!("/v1/customers/{id}");
            let etag = owner.get(&path).await.expect(200).etag();
            let change = json!({ "name": format!("Shop of round {round}"), "phone": phone });
            owner.patch(&path, &etag, &change).await.must(200);
        }
    }
    assert_eq!(on_keys(&stack, &tenant).await.len(), 1, "all was sealed anew");
    let all = |_: &Document| true;
    // Nobody but the owner touched customers and suppliers.
    let owners = |entry: &Document| {
        let action = entry.get_document("entry").and_then(|entry| entry.get_str("action"));
        action
            .is_ok_and(|action| action.starts_with("customer.") || action.starts_with("supplier."))
    };
    let phones = every_index(&stack, &tenant, ("customers", "phone_index"), all).await;
    let ibans = every_index(&stack, &tenant, ("suppliers", "iban_index"), all).await;
    let addresses = every_index(&stack, &tenant, ("entries", "ip"), owners).await;
    // At least each document and the log's line of its insertion.
    for (what, least, found) in
        [("phone", 6, phones), ("IBAN", 6, ibans), ("address", 24, addresses)]
    {
        let copies: usize = found.values().sum();
        assert!(copies >= least, "{what}: only {copies} copies were found");
        assert_eq!(found.len(), 1, "{what}: {copies} copies tell several indexes: {found:?}");
        assert!(found.keys().all(|index| index.len() == 2), "{what}: {found:?}");
    }
    // By them all is found that there is.
    let called = owner.get("/v1/customers?phone=%2B353867654321").await.expect(200).json();
    assert_eq!(called["items"].as_array().unwrap().len(), 3);
    let paid = owner.get(&format!("/v1/suppliers?iban={iban}")).await.expect(200).json();
    assert_eq!(paid["items"].as_array().unwrap().len(), 3);
    let by_address = format!("/v1/audit?ip={}&action=supplier.create", owner.address());
    let acted = owner.get(&by_address).await.expect(200).json();
    assert_eq!(acted["items"].as_array().unwrap().len(), 3);
    tenant.finish().await;
}

#[tokio::test]
async fn a_ciphertext_opens_nowhere_but_in_its_place() {
    let stack = Stack::load();
    let (tenant, other) = futures::join!(
        stack.tenant("swap", &[Role::Admin]),
        stack.tenant("swap-other", &[Role::Admin])
    );
    let admin = tenant.user(Role::Admin);
    let ids = customers(admin, 2).await;
    let theirs = customers(other.user(Role::Admin), 1).await;
    let of = async |tenant: &Tenant<'_>, id: &str| -> Document {
        let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
        let found = database.collection("customers").find_one(doc! { "_id": id }).await;
        found.unwrap().unwrap()
    };
    let (mine, second, foreign) =
        (of(&tenant, &ids[0]).await, of(&tenant, &ids[1]).await, of(&other, &theirs[0]).await);
    let customers = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let customers = customers.collection::<Document>("customers");
    let event = || {
        Event::new(
            "GET",
            "/v1/customers/{id}",
            &[("id", &ids[0])],
            keystone_tests::stack::address(),
        )
        .token(admin.token())
    };
    let mut function = Function::deployed(&stack, "get-customer").await;

    let phone = |document: &Document| document.get("phone").unwrap().clone();
    let with = |field: &str, value: Bson| {
        let mut envelope = mine.get_document("phone").unwrap().clone();
        envelope.insert(field, value);
        Bson::Document(envelope)
    };
    let subject = |document: &Document| {
        Bson::String(document.get_document("phone").unwrap().get_str("sub").unwrap().to_owned())
    };
    for (what, value) in [
        ("another document's", phone(&second)),
        ("another document's, claimed for this subject", {
            let mut envelope = second.get_document("phone").unwrap().clone();
            envelope.insert("sub", subject(&mine));
            Bson::Document(envelope)
        }),
        ("another field's", mine.get("delivery_address").unwrap().clone()),
        ("another tenant's", phone(&foreign)),
        ("its own, claimed for another subject", with("sub", subject(&second))),
        ("its own, claimed for the tenant", with("sub", Bson::String("tenant".into()))),
    ] {
        let put = doc! { "$set": { "phone": value } };
        customers.update_one(doc! { "_id": &ids[0] }, put).await.unwrap();
        let event = event();
        let answer = function.request(&event).await;
        // That it was about to be disclosed is on record.
        tenant.vouch_for(&event.request_id());
        let body = answer.body.to_string();
        // Nor is it taken for erased: nobody was.
        assert_eq!(answer.status, 500, "{what}: {body}");
        assert!(!body.contains("+35386"), "{what}: {body}");
    }
    // What is no ciphertext has no place in a sealed field, whatever it is called.
    let text = || Bson::String("+353861234567".into());
    for (what, value) in [
        ("text", text()),
        ("text for the key's name", with("kid", text())),
        ("text for the subject", with("sub", text())),
        ("text for the ciphertext", with("ct", text())),
        ("text beside it", with("note", text())),
    ] {
        let put = doc! { "$set": { "phone": value } };
        let put = customers.update_one(doc! { "_id": &ids[0] }, put).await;
        assert!(put.is_err(), "the database takes {what}");
    }
    let back = doc! { "$set": { "phone": phone(&mine) } };
    customers.update_one(doc! { "_id": &ids[0] }, back).await.unwrap();
    admin.get(&format!("/v1/customers/{}", ids[0])).await.must(200);
    other.finish().await;
    tenant.finish().await;
}

#[tokio::test]
async fn a_function_in_the_wrong_database_gets_nothing() {
    let stack = Stack::load();
    let (ours, theirs) = futures::join!(
        stack.tenant("wrong-ours", &[Role::Admin]),
        stack.tenant("wrong-theirs", &[Role::Admin])
    );
    let admin = ours.user(Role::Admin);
    let own = customers(admin, 1).await.remove(0);
    let foreign = customers(theirs.user(Role::Admin), 1).await.remove(0);
    let client = stack.database().await;
    let database = |tenant: &Tenant<'_>, suffix: &str| {
        client.database(&format!("t_{}{suffix}", tenant.slug()))
    };

    // Their document in our database, past the validator.
    let theirs_in = database(&theirs, "").collection::<Document>("customers");
    let document = theirs_in.find_one(doc! { "_id": &foreign }).await.unwrap().unwrap();
    let ours_in = database(&ours, "").collection::<Document>("customers");
    assert!(ours_in.insert_one(&document).await.is_err(), "the validator refuses it");
    ours_in.insert_one(&document).bypass_document_validation(true).await.unwrap();
    let path = format!("/v1/customers/{foreign}");
    admin.get(&path).await.must(404);
    admin.patch(&path, "\"1\"", &json!({ "phone": null })).await.must(404);
    let list = admin.get("/v1/customers").await.expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    ours_in.delete_one(doc! { "_id": &foreign }).await.unwrap();

    // Their data key in place of ours: KMS unwraps it for them only.
    let keys = database(&ours, "_keys").collection::<Document>("data_keys");
    let key = keys.find_one(doc! {}).await.unwrap().unwrap();
    let their_keys = database(&theirs, "_keys").collection::<Document>("data_keys");
    let mut forged = their_keys.find_one(doc! {}).await.unwrap().unwrap();
    forged.insert("tenant_id", ours.slug());
    keys.delete_one(doc! { "_id": key.get_str("_id").unwrap() }).await.unwrap();
    keys.insert_one(&forged).await.unwrap();
    let mut function = Function::deployed(&stack, "get-customer").await;
    let event =
        Event::new("GET", "/v1/customers/{id}", &[("id", &own)], keystone_tests::stack::address())
            .token(admin.token());
    let answer = function.request(&event).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    keys.delete_one(doc! { "_id": forged.get_str("_id").unwrap() }).await.unwrap();

    // Ours under another number: KMS unwraps it as what it was made only.
    let mut renumbered = key.clone();
    renumbered.insert("version", 2_i64);
    keys.insert_one(&renumbered).await.unwrap();
    let answer = function.request(&event).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    keys.delete_one(doc! { "_id": key.get_str("_id").unwrap() }).await.unwrap();
    keys.insert_one(&key).await.unwrap();
    let shown = admin.get(&format!("/v1/customers/{own}")).await.expect(200).json();
    assert_eq!(shown["phone"], "+353860000000");
    theirs.finish().await;
    ours.finish().await;
}
