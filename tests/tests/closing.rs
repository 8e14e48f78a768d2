//! The end of a tenant: announced, called off, carried out, and what is left.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use jiff::Timestamp;
use keystone::audit::entry::CommittedEntry;
use keystone::audit::merkle::{Hash, root_of};
use keystone::auth::Role;
use keystone_tests::runtime_api::Function;
use keystone_tests::{Stack, Tenant, samples};
use mongodb::bson::{DateTime, Document, deserialize_from_bson, doc};
use serde_json::{Value, json};

async fn close(stack: &Stack, tenant: &Tenant<'_>, action: &str) -> Value {
    let event = json!({
        "operator": "test-operator",
        "tenant": tenant.slug(),
        "action": action,
        "reason": "The contract ended.",
    });
    stack.aws().invoke(stack.value("CLOSE_TENANT_FUNCTION"), &event).await
}

async fn destroy(stack: &Stack) -> Value {
    stack.aws().invoke(stack.value("DESTROY_TENANTS_FUNCTION"), &json!({})).await
}

fn lists(list: &Value, tenant: &Tenant<'_>) -> bool {
    list.as_array().unwrap().contains(&json!(tenant.slug()))
}

/// Signs what there is of audit trails. That of another test may have been
/// tampered with on purpose, so the run itself may fail.
async fn publish(stack: &Stack) {
    let function = stack.function("publish-checkpoints");
    stack.aws().invoke_to_the_end(&function, &json!({})).await;
}

async fn record(stack: &Stack, tenant: &Tenant<'_>) -> Document {
    let registry = stack.database().await.database("keystone_control");
    let found = registry.collection("tenants").find_one(doc! { "_id": tenant.slug() }).await;
    found.unwrap().unwrap()
}

/// Lets the grace period be over, as time would: where it counts, and where the
/// registry says so.
async fn let_time_pass(stack: &Stack, tenant: &Tenant<'_>) {
    let known = record(stack, tenant).await;
    let closing = known.get_document("closing").unwrap().get_str("id").unwrap();
    let table = stack.value("SUBJECT_KEY_TABLE");
    stack.aws().announce_end(table, tenant.slug(), closing, Timestamp::UNIX_EPOCH).await;
    let over = doc! { "closing.ends_at": DateTime::from_millis(0) };
    set_in_registry(stack, tenant, over).await;
}

async fn set_in_registry(stack: &Stack, tenant: &Tenant<'_>, fields: Document) {
    let registry = stack.database().await.database("keystone_control");
    let tenants = registry.collection::<Document>("tenants");
    let one = doc! { "_id": tenant.slug() };
    tenants.update_one(one, doc! { "$set": fields }).await.unwrap();
}

async fn databases(stack: &Stack, tenant: &Tenant<'_>) -> Vec<String> {
    let mut names = stack.database().await.list_database_names().await.unwrap();
    let prefix = format!("t_{}", tenant.slug());
    names.retain(|name| *name == prefix || name.starts_with(&format!("{prefix}_")));
    names.sort();
    names
}

async fn all(stack: &Stack, database: &str, collection: &str) -> Vec<Document> {
    let database = stack.database().await.database(database);
    let found = database.collection(collection).find(doc! {}).sort(doc! { "_id": 1 }).await;
    found.unwrap().try_collect().await.unwrap()
}

async fn has_secrets(stack: &Stack, tenant: &Tenant<'_>) -> bool {
    stack.aws().items(stack.value("SUBJECT_KEY_TABLE")).await.contains(tenant.slug())
}

/// What is left must be the evidence of what was there: the trail, as large as
/// the registry says and with that root, which ends with the announcement.
async fn is_destroyed(stack: &Stack, tenant: &Tenant<'_>) {
    let audit = format!("t_{}_audit", tenant.slug());
    assert_eq!(databases(stack, tenant).await, std::slice::from_ref(&audit));
    assert!(!has_secrets(stack, tenant).await);
    let entries = all(stack, &audit, "entries").await;
    let entry = |document: &Document| -> CommittedEntry {
        deserialize_from_bson(document.get("entry").unwrap().clone()).unwrap()
    };
    let mut leaves: Vec<Hash> = entries.iter().map(|one| entry(one).leaf_hash().unwrap()).collect();
    let record = record(stack, tenant).await;
    assert_eq!(record.get_str("state").unwrap(), "closed");
    let destruction = record.get_document("closing").unwrap().get_document("destruction").unwrap();
    // The signed checkpoint covers the entry that says what was going to come.
    let covered = usize::try_from(destruction.get_i64("tree_size").unwrap()).unwrap();
    let announced = entries.iter().position(|one| entry(one).action == "tenant.destroy_keys");
    assert!(announced.unwrap() < covered);
    leaves.truncate(covered);
    let note = destruction.get_str("checkpoint").unwrap();
    let root = STANDARD.encode(root_of(&leaves).0);
    let text: Vec<&str> = note.lines().take(3).collect();
    assert!(text[0].ends_with(&format!("/audit/{}", tenant.slug())), "{note}");
    assert_eq!(text[1..], [covered.to_string(), root], "{note}");
    assert!(destruction.get_datetime("finished_at").is_ok());
    // That it was done is on record where there is still somebody to record it.
    let done = all(stack, "t_keystone_audit", "entries").await;
    let mut done: Vec<CommittedEntry> = done.iter().map(entry).collect();
    done.retain(|entry| entry.resource.id == tenant.slug());
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!(done[0].action, "tenant.conclude_destruction");
    assert!(json!(done[0].delta).to_string().contains(&json!(note).to_string()), "{done:?}");
}

#[tokio::test]
async fn while_a_tenant_is_closing_its_people_read_and_export_and_add_nothing() {
    let stack = Stack::load();
    let tenant = stack.tenant("closing", &[Role::Admin, Role::OpsUser]).await;
    let (owner, ops_user) = (tenant.owner(), tenant.user(Role::OpsUser));
    let customer = samples::customer("1 Last Street", "+353860009991");
    let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
    let path = format!("/v1/customers/{customer}");
    let other = samples::customer("0 Last Street", "+353860009990");
    owner.post("/v1/customers", &other).await.must(201);

    let begun = close(&stack, &tenant, "begin").await;
    assert_eq!(begun["state"], "closing");
    // Once more, as after a crash: the end stays.
    assert_eq!(close(&stack, &tenant, "begin").await["ends_at"], begun["ends_at"]);
    let contact = tenant.email_of(Role::SuperAdmin);
    assert!(stack.mails_after_drain(&contact, "encryption keys are destroyed").await);
    let mails = stack.mails_to(&contact).await;
    let told = mails.iter().filter(|mail| mail.contains("encryption keys are destroyed"));
    assert_eq!(told.count(), 1, "the contact is told once");

    let refused = ops_user.post("/v1/products", &samples::product()).await.expect(403).json();
    assert_eq!(refused["type"], "urn:keystone:problem:tenant-closing");
    owner.patch(&path, "\"1\"", &json!({ "phone": null })).await.must(403);
    assert_eq!(owner.get(&path).await.expect(200).json()["phone"], "+353860009991");
    tenant.sign_in(Role::OpsUser).await.get("/v1/products").await.must(200);
    // What the law gives a person goes on.
    owner.post(&format!("{path}/erase"), &json!({ "ground": "objection" })).await.must(200);

    // Everything can be taken along, in clear, and that is on record.
    let there = owner.get("/v1/tenant/data").await.expect(200).json();
    let names: Vec<_> = there["items"].as_array().unwrap().iter().collect();
    assert!(names.contains(&&json!({ "name": "customers", "documents": 2 })), "{there}");
    assert!(!there.to_string().contains("outbox"), "{there}");
    let customers = owner.get("/v1/tenant/data/customers?limit=1").await.expect(200).json();
    assert_eq!(customers["items"][0]["phone"], "+353860009990");
    assert_eq!(customers["items"][0]["delivery_address"]["line1"], "0 Last Street");
    let cursor = customers["next_cursor"].as_str().unwrap();
    let next = format!("/v1/tenant/data/customers?limit=1&cursor={cursor}");
    let next = owner.get(&next).await.expect(200).json();
    assert_eq!(next["items"][0]["id"], json!(customer));
    assert_eq!(next["items"][0]["phone"], Value::Null, "what was erased is");
    let users = owner.get("/v1/tenant/data/users").await.expect(200);
    let text = users.json().to_string();
    assert!(text.contains(&contact), "{text}");
    for secret in ["password", "totp", "second_factor", "$2b$", "credentials", "token_hash"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    for nothing in ["outbox", "idempotency", "audit_head", "$cmd", "customers%00"] {
        owner.get(&format!("/v1/tenant/data/{nothing}")).await.must(404);
    }
    tenant.user(Role::Admin).get("/v1/tenant/data/customers").await.must(403);

    // Before its time nothing happens to it.
    let destroyed = destroy(&stack).await;
    assert!(!lists(&destroyed["tenants"], &tenant), "{destroyed}");

    assert_eq!(close(&stack, &tenant, "call_off").await["state"], "active");
    assert!(stack.mails_after_drain(&contact, "was called off").await);
    ops_user.post("/v1/products", &samples::product()).await.must(201);
    let trail = tenant.audit_trail().await;
    let of_closing = trail.iter().filter(|entry| entry["resource"]["type"] == "tenant");
    let mut actions: Vec<_> = of_closing.map(|entry| entry["action"].as_str().unwrap()).collect();
    actions.reverse();
    assert_eq!(
        actions,
        [
            "tenant.provision",
            "tenant.begin_closing",
            "tenant.export_data",
            "tenant.export_data",
            "tenant.export_data",
            "tenant.call_closing_off",
        ]
    );
    tenant.finish().await;
}

#[tokio::test]
async fn a_destroyed_tenant_cannot_be_read_even_from_a_backup() {
    let stack = Stack::load();
    let (tenant, other) = futures::join!(
        stack.tenant("destroyed", &[Role::Admin]),
        stack.tenant("destroyed-not", &[Role::Admin])
    );
    let customer = samples::customer("2 Gone Street", "+353860009992");
    let owner = tenant.owner();
    let id = owner.post("/v1/customers", &customer).await.expect(201).id();
    let others = other.owner().post("/v1/customers", &customer).await.expect(201).id();
    let slug = tenant.slug();
    let names = [format!("t_{slug}"), format!("t_{slug}_keys")];
    let mut backup = Vec::new();
    for name in &names {
        let database = stack.database().await.database(name);
        for collection in database.list_collection_names().await.unwrap() {
            backup.push((name, collection.clone(), all(&stack, name, &collection).await));
        }
    }

    close(&stack, &tenant, "begin").await;
    let_time_pass(&stack, &tenant).await;
    // First the announcement must be under a signed checkpoint.
    let first = destroy(&stack).await;
    assert!(lists(&first["waiting"], &tenant) && !lists(&first["tenants"], &tenant), "{first}");
    assert!(has_secrets(&stack, &tenant).await);
    publish(&stack).await;
    let destroyed = destroy(&stack).await;
    assert!(lists(&destroyed["tenants"], &tenant), "{destroyed}");
    is_destroyed(&stack, &tenant).await;
    owner.get("/v1/customers").await.must(401);
    let stranger = tenant.stranger();
    stranger.post("/v1/auth/login", &tenant.credentials(Role::Admin)).await.must(401);
    let again = destroy(&stack).await;
    assert!(!lists(&again["tenants"], &tenant), "{again}");
    // Nobody can check its trail any more, and the provider's proves why: before
    // a checkpoint covers the entry, and after.
    for _ in 0..2 {
        let only = json!({ "tenant": slug });
        let checked = stack.aws().invoke(&stack.function("audit-self-check"), &only).await;
        assert_eq!(checked["trails"], 0, "{checked}");
        publish(&stack).await;
    }

    // With every document back in place and the tenant in use again, what is
    // sealed still does not open: there is no secret to derive its keys from.
    for (name, collection, documents) in backup {
        if !documents.is_empty() {
            let database = stack.database().await.database(name);
            let back = database.collection::<Document>(&collection);
            back.insert_many(documents).await.unwrap();
        }
    }
    let registry = stack.database().await.database("keystone_control");
    let tenants = registry.collection::<Document>("tenants");
    let state = |state: &str| doc! { "$set": { "state": state } };
    tenants.update_one(doc! { "_id": slug }, state("active")).await.unwrap();
    let environment = stack.environment("get-customer").await;
    let binary = keystone_tests::runtime_api::build_directory().join("get-customer");
    let mut function = Function::start(&binary, &environment).await;
    let event = keystone_tests::event::Event::new(
        "GET",
        "/v1/customers/{id}",
        &[("id", &id)],
        keystone_tests::stack::address(),
    )
    .token(owner.token());
    let answer = function.request(&event).await;
    tenants.update_one(doc! { "_id": slug }, state("closed")).await.unwrap();
    assert_eq!(answer.status, 500, "{}", answer.body);
    assert!(!answer.body.to_string().contains("+35386"), "{}", answer.body);

    let path = format!("/v1/customers/{others}");
    assert_eq!(other.owner().get(&path).await.expect(200).json()["phone"], "+353860009992");
    other.finish().await;
}

#[tokio::test]
async fn a_checkpoint_that_nobody_signed_lets_nothing_be_destroyed() {
    let stack = Stack::load();
    let tenant = stack.tenant("unsigned", &[]).await;
    let audit = format!("t_{}_audit", tenant.slug());
    close(&stack, &tenant, "begin").await;
    // Whoever can write to the database adds one that covers what is to come.
    let origin = format!("keystone.local/audit/{}", tenant.slug());
    let note = format!(
        "{origin}\n1000\n{}\n\n\u{2014} {origin} {}\n",
        STANDARD.encode([1; 32]),
        STANDARD.encode([1; 68])
    );
    let forged = doc! {
        "_id": 1000_i64, "tenant_id": tenant.slug(), "at": DateTime::from_millis(0),
        "format": "keystone-audit-checkpoint/1", "checkpoint": note, "previous": 999_i64,
        "consistency": Vec::<String>::new(),
    };
    let checkpoints = stack.database().await.database(&audit);
    let checkpoints = checkpoints.collection::<Document>("checkpoints");
    checkpoints.insert_one(forged).await.unwrap();
    let_time_pass(&stack, &tenant).await;
    for _ in 0..2 {
        let waits = destroy(&stack).await;
        assert!(lists(&waits["waiting"], &tenant), "{waits}");
        assert!(!lists(&waits["tenants"], &tenant), "{waits}");
        // It is not in the archive, so nothing is signed after it either.
        publish(&stack).await;
    }
    assert_eq!(record(&stack, &tenant).await.get_str("state").unwrap(), "closing");
    assert!(has_secrets(&stack, &tenant).await);

    checkpoints.delete_one(doc! { "_id": 1000_i64 }).await.unwrap();
    publish(&stack).await;
    destroy(&stack).await;
    is_destroyed(&stack, &tenant).await;
}

#[tokio::test]
async fn a_destruction_that_is_killed_anywhere_ends_like_one_that_is_not() {
    let stack = Stack::load();
    let tenant = stack.tenant("killed", &[Role::Admin]).await;
    let owner = tenant.owner();
    for n in 0..12 {
        let customer = samples::customer("3 Half Street", &format!("+3538600077{n:02}"));
        owner.post("/v1/customers", &customer).await.must(201);
    }
    close(&stack, &tenant, "begin").await;
    let_time_pass(&stack, &tenant).await;
    let mut killed_in = HashSet::new();
    for step in 0..18_u32 {
        let mut function = Function::deployed(&stack, "destroy-tenants").await;
        function.begin(&json!({})).await;
        function.kill_after(Duration::from_millis(4) * step * (1 + step / 4)).await;
        // The transaction of a killed process would hold the tenant up until
        // the server ends it.
        let admin = stack.database().await.database("admin");
        admin.run_command(doc! { "killAllSessions": [] }).await.unwrap();
        if step == 10 {
            publish(&stack).await;
        }
        let standing = record(&stack, &tenant).await;
        let state = standing.get_str("state").unwrap().to_owned();
        let secrets = has_secrets(&stack, &tenant).await;
        println!("killed in step {step}: {state}, secrets left: {secrets}");
        killed_in.insert((state, secrets));
    }
    // Kills came both before and after keys were being destroyed; otherwise
    // they prove nothing.
    assert!(killed_in.len() > 1, "{killed_in:?}");
    destroy(&stack).await;
    publish(&stack).await;
    destroy(&stack).await;
    is_destroyed(&stack, &tenant).await;
    let audit = format!("t_{}_audit", tenant.slug());
    let entries = all(&stack, &audit, "entries").await;
    let announced = entries.iter().filter(|entry| {
        entry.get_document("entry").unwrap().get_str("action").unwrap() == "tenant.destroy_keys"
    });
    assert_eq!(announced.count(), 1, "the trail says once what follows");
}

#[tokio::test]
async fn what_was_called_off_is_not_destroyed_though_the_registry_was_not_told() {
    let stack = Stack::load();
    let tenant = stack.tenant("called-off", &[]).await;
    close(&stack, &tenant, "begin").await;
    let closing = record(&stack, &tenant).await.get_document("closing").unwrap().clone();
    close(&stack, &tenant, "call_off").await;
    // As a run leaves it that dies between the trail and the registry.
    let registry = stack.database().await.database("keystone_control");
    let tenants = registry.collection::<Document>("tenants");
    let undone = doc! { "$set": { "state": "closing", "closing": closing } };
    let half_done = async || {
        tenants.update_one(doc! { "_id": tenant.slug() }, undone.clone()).await.unwrap();
        let_time_pass(&stack, &tenant).await;
    };
    half_done().await;
    let done = destroy(&stack).await;
    assert!(!lists(&done["tenants"], &tenant), "{done}");
    let in_use = async || {
        let record = record(&stack, &tenant).await;
        assert_eq!(record.get_str("state").unwrap(), "active");
        assert!(!record.contains_key("closing"), "{record}");
        assert_eq!(databases(&stack, &tenant).await.len(), 3);
        tenant.owner().get("/v1/products").await.must(200);
    };
    in_use().await;
    // Nor does another beginning go on with the end of the one before.
    half_done().await;
    let event = json!({
        "operator": "o", "tenant": tenant.slug(), "action": "begin", "reason": "Once more.",
    });
    let refused = stack.aws().invoke_to_the_end(stack.value("CLOSE_TENANT_FUNCTION"), &event).await;
    assert!(refused.to_string().contains("called off"), "{refused}");
    in_use().await;
    tenant.finish().await;
}

#[tokio::test]
async fn closing_refuses_what_makes_no_sense() {
    let stack = Stack::load();
    let function = stack.value("CLOSE_TENANT_FUNCTION");
    let event = json!({
        "operator": "", "tenant": "No Slug", "action": "delete", "reason": "x", "grace_days": 0,
    });
    let failed = stack.aws().invoke_to_the_end(function, &event).await.to_string();
    for field in ["/operator", "/tenant", "/action", "/grace_days"] {
        assert!(failed.contains(field), "{field}: {failed}");
    }
    let event = json!({
        "operator": "o", "tenant": "no-such-tenant", "action": "begin", "reason": "x",
    });
    let failed = stack.aws().invoke_to_the_end(function, &event).await;
    assert!(failed.to_string().contains("not-found"), "{failed}");
}

#[tokio::test]
async fn what_nobody_announced_is_not_carried_out() {
    let stack = Stack::load();
    let tenant = stack.tenant("not-announced", &[]).await;
    let owner = tenant.owner();
    let customer = samples::customer("7 Still Here", "+353861230007");
    let id = owner.post("/v1/customers", &customer).await.expect(201).id();
    let past = DateTime::from_millis(0);
    let closing = doc! {
        "id": "01890000-0000-7000-8000-000000000000", "operator": "nobody", "reason": "x",
        "begun_at": past, "ends_at": past,
    };
    let mut destruction = closing.clone();
    destruction.insert(
        "destruction",
        doc! {
            "begun_at": past, "tree_size": 0_i64, "checkpoint": "x", "secrets": 0_i64,
            "finished_at": null,
        },
    );
    // Whoever writes to the registry says that the time is over, or that an
    // interrupted run has begun already.
    for forged in [
        doc! { "state": "closing", "closing": &closing },
        doc! { "state": "closed", "closing": &destruction },
    ] {
        set_in_registry(&stack, &tenant, forged.clone()).await;
        let job = stack.value("DESTROY_TENANTS_FUNCTION");
        let said = stack.aws().invoke_to_the_end(job, &json!({})).await.to_string();
        set_in_registry(&stack, &tenant, doc! { "state": "active" }).await;
        assert!(said.contains("was not announced"), "{forged}: {said}");
        assert_eq!(
            owner.get(&format!("/v1/customers/{id}")).await.expect(200).json()["phone"],
            "+353861230007"
        );
    }

    // Nor is it after the time that was announced, as long as the trail does not say
    // that it has begun.
    close(&stack, &tenant, "begin").await;
    let_time_pass(&stack, &tenant).await;
    let mut begun = record(&stack, &tenant).await.get_document("closing").unwrap().clone();
    begun.insert("destruction", destruction.get("destruction").unwrap());
    let forged = doc! { "state": "closed", "closing": begun };
    set_in_registry(&stack, &tenant, forged).await;
    let job = stack.value("DESTROY_TENANTS_FUNCTION");
    let said = stack.aws().invoke_to_the_end(job, &json!({})).await.to_string();
    set_in_registry(&stack, &tenant, doc! { "state": "closing" }).await;
    assert!(said.contains("was not announced"), "{said}");
    assert!(has_secrets(&stack, &tenant).await);
    close(&stack, &tenant, "call_off").await;

    // One that was announced, for later.
    let begun = close(&stack, &tenant, "begin").await;
    assert!(begun["ends_at"].is_string(), "{begun}");
    set_in_registry(&stack, &tenant, doc! { "closing.ends_at": past }).await;
    let done = destroy(&stack).await;
    assert!(lists(&done["waiting"], &tenant), "{done}");
    assert!(has_secrets(&stack, &tenant).await);
    close(&stack, &tenant, "call_off").await;
    owner.get(&format!("/v1/customers/{id}")).await.must(200);
    tenant.close().await;
}
