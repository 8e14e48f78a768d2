//! The database is put back to an earlier moment, and a tenant's audit trail goes
//! on without contradicting what was signed (docs/adr/0044).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use futures::TryStreamExt;
use jiff::Timestamp;
use keystone::audit::checkpoint::Checkpoint;
use keystone::audit::merkle::{TreeHead, leaf_hash};
use keystone::audit::note::VerifierKey;
use keystone_tests::event::Event;
use keystone_tests::exports::{ask_unseen, message};
use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::stack::{address, random, root};
use keystone_tests::{Client, Stack, Tenant, samples};
use mongodb::bson::{Document, doc, serialize_to_bson};
use serde_json::{Value, json};

/// All documents of a tenant, by database and collection.
type Copy = BTreeMap<(String, String), Vec<Document>>;

async fn copy(stack: &Stack, tenant: &Tenant<'_>) -> Copy {
    let mut copy = Copy::new();
    for suffix in ["", "_audit", "_keys"] {
        let name = format!("t_{}{suffix}", tenant.slug());
        let database = stack.database().await.database(&name);
        for collection in database.list_collection_names().await.unwrap() {
            let found = database.collection::<Document>(&collection).find(doc! {}).await.unwrap();
            let found: Vec<Document> = found.try_collect().await.unwrap();
            copy.insert((name.clone(), collection), found);
        }
    }
    copy
}

/// Makes the tenant's documents those of `copy`, as a restore of the cluster does.
async fn restore(stack: &Stack, tenant: &Tenant<'_>, copy: &Copy) {
    for ((database, collection), documents) in &self::copy(stack, tenant).await {
        let before = copy.get(&(database.clone(), collection.clone()));
        let before = before.map(Vec::as_slice).unwrap_or_default();
        if before == documents.as_slice() {
            continue;
        }
        let database = stack.database().await.database(database);
        let collection = database.collection::<Document>(collection);
        collection.delete_many(doc! {}).await.unwrap();
        if !before.is_empty() {
            collection.insert_many(before).await.unwrap();
        }
    }
}

/// Makes another history of the tenant's trail: the first entry has another leaf,
/// and all hashes and the head are made to fit.
async fn rewrite(stack: &Stack, tenant: &Tenant<'_>) {
    let database = stack.database().await.database(&format!("t_{}_audit", tenant.slug()));
    let entries = database.collection::<Document>("entries");
    let found = entries.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let found: Vec<Document> = found.try_collect().await.unwrap();
    let mut tree = TreeHead::empty();
    for (index, entry) in found.iter().enumerate() {
        let leaf = match index {
            0 => leaf_hash(b"forged"),
            _ => entry.get_str("leaf").unwrap().parse().unwrap(),
        };
        let nodes = serialize_to_bson(&tree.append(leaf)).unwrap();
        let forged = doc! { "$set": { "leaf": leaf.to_string(), "nodes": nodes } };
        entries.update_one(doc! { "_id": entry.get_i64("_id").unwrap() }, forged).await.unwrap();
    }
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let heads = database.collection::<Document>("audit_head");
    let tree = doc! { "$set": serialize_to_bson(&tree).unwrap() };
    heads.update_one(doc! {}, tree).await.unwrap();
}

/// The next full second, which the archive tells from the one before.
async fn next_second() -> Timestamp {
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let now = keystone::clock::now();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    now
}

/// Waits until every mail is recorded as sent, so that no entry comes later.
async fn settle(stack: &Stack, tenant: &Tenant<'_>) {
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let outbox = database.collection::<Document>("outbox");
    for _ in 0..100 {
        stack.aws().invoke(stack.value("DRAIN_OUTBOX_FUNCTION"), &json!({})).await;
        if outbox.count_documents(doc! { "state": { "$ne": "sent" } }).await.unwrap() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn some_entries(tenant: &Tenant<'_>, count: usize) {
    for _ in 0..count {
        tenant.owner().post("/v1/products", &samples::product()).await.must(201);
    }
}

async fn publish(client: &Client) -> Value {
    client.request("POST", "/v1/audit/checkpoints").send().await.expect(201).json()
}

/// Functions that know of a restore.
struct Restored<'s> {
    stack: &'s Stack,
    restores: String,
}

impl Restored<'_> {
    async fn start(&self, name: &str) -> Function {
        let mut environment = self.stack.environment(name).await;
        environment.insert("AUDIT_RESTORES".into(), self.restores.clone());
        Function::start(&build_directory().join(name), &environment).await
    }

    /// What the tenant is answered who asks for a checkpoint.
    async fn publish(&self, tenant: &Tenant<'_>) -> (u64, Value) {
        let mut function = self.start("create-audit-checkpoint").await;
        let event = Event::new("POST", "/v1/audit/checkpoints", &[], address());
        let answer = function.request(&event.token(tenant.owner().token())).await;
        (answer.status, answer.body)
    }

    async fn keys(&self, tenant: &Tenant<'_>) -> Vec<VerifierKey> {
        let mut function = self.start("list-audit-keys").await;
        let event = Event::new("GET", "/v1/trust/audit-keys", &[], address());
        let answer = function.request(&event.query(&[("tenant", tenant.slug())])).await;
        let keys = answer.body["keys"].as_array().unwrap().iter();
        keys.map(|key| key.as_str().unwrap().parse().unwrap()).collect()
    }

    async fn checker(&self) -> Function {
        self.start("audit-self-check").await
    }
}

/// The tenant's archived checkpoints, as they lie there.
async fn archive(stack: &Stack, tenant: &Tenant<'_>) -> BTreeMap<String, Vec<u8>> {
    let s3 = stack.s3();
    let bucket = stack.environment("create-audit-checkpoint").await["ARCHIVE_BUCKET"].clone();
    let prefix = format!("checkpoints/{}/", tenant.slug());
    let listed = s3.list_objects_v2().bucket(&bucket).prefix(&prefix).send().await.unwrap();
    let mut found = BTreeMap::new();
    for object in listed.contents() {
        let key = object.key().unwrap();
        let got = s3.get_object().bucket(&bucket).key(key).send().await.unwrap();
        let body = got.body.collect().await.unwrap().to_vec();
        found.insert(key.strip_prefix(&prefix).unwrap().to_owned(), body);
    }
    found
}

/// Exit code and words of `keystone-verify checkpoints`.
fn verify(links: &BTreeMap<String, Vec<u8>>, keys: &[VerifierKey]) -> (i32, String) {
    let path = std::env::temp_dir().join(format!("{:016x}.json", u64::from_be_bytes(random())));
    let objects: Vec<&[u8]> = links.values().map(Vec::as_slice).collect();
    std::fs::write(&path, objects.join(&b'\n')).unwrap();
    let mut run = Command::new(root().join("target/debug/keystone-verify"));
    run.arg("checkpoints").arg(&path).env_clear();
    for key in keys {
        run.args(["--vkey", &key.to_string()]);
    }
    let done = run.output().unwrap();
    std::fs::remove_file(&path).unwrap();
    let words = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap(), String::from_utf8(words).unwrap())
}

#[tokio::test]
async fn a_trail_goes_on_after_a_restore_as_another_generation() {
    let stack = Stack::load();
    let tenant = stack.tenant("restored", &[]).await;
    let untouched = stack.tenant("unrestored", &[]).await;
    settle(&stack, &tenant).await;
    settle(&stack, &untouched).await;
    some_entries(&tenant, 2).await;
    let kept = publish(tenant.owner()).await;
    publish(untouched.owner()).await;
    some_entries(&tenant, 1).await;
    let (before, before_of_other) = (copy(&stack, &tenant).await, copy(&stack, &untouched).await);
    let moment = next_second().await;

    // What is about to be lost, some of it signed.
    some_entries(&tenant, 2).await;
    publish(tenant.owner()).await;
    some_entries(&tenant, 1).await;
    let lost = publish(tenant.owner()).await;
    some_entries(&tenant, 1).await;
    some_entries(&untouched, 1).await;
    let resumed = next_second().await;
    restore(&stack, &tenant, &before).await;
    restore(&stack, &untouched, &before_of_other).await;
    tokio::time::sleep(Duration::from_secs(6)).await;

    // Nobody told the functions: nothing is signed, and the check says why.
    let refused = tenant.owner().request("POST", "/v1/audit/checkpoints").send().await.expect(409);
    assert!(refused.json()["detail"].as_str().unwrap().contains("contradicts"), "{refused}");
    let told = Restored { stack: &stack, restores: format!("{moment}/{resumed}") };
    let untold = Restored { stack: &stack, restores: "none".into() };
    let trail = json!({ "tenant": tenant.slug() });
    let found = untold.checker().await.failure(&trail).await;
    assert!(found.contains("is archived but not stored"), "{found}");
    // Nor before everybody was told.
    let later = resumed + jiff::SignedDuration::from_hours(1);
    let early = Restored { stack: &stack, restores: format!("{moment}/{later}") };
    assert_eq!(early.publish(&tenant).await.0, 503);

    // Whoever uses the occasion to change what was kept, so that it hangs together,
    // gets nothing signed.
    let true_ones = copy(&stack, &tenant).await;
    rewrite(&stack, &tenant).await;
    let (status, body) = told.publish(&tenant).await;
    assert_eq!(status, 409, "{body}");
    restore(&stack, &tenant, &true_ones).await;

    // The trail goes on from the checkpoint before, under a name of its own.
    let (status, next) = told.publish(&tenant).await;
    assert_eq!(status, 201, "{next}");
    let keys = told.keys(&tenant).await;
    let open =
        |view: &Value| Checkpoint::open(view["checkpoint"].as_str().unwrap(), &keys).unwrap();
    let (kept, lost, next) = (open(&kept), open(&lost), open(&next));
    assert_eq!(next.origin, format!("{}/2", kept.origin));
    assert!(kept.size < next.size && next.succeeds(&lost));
    let noted = tenant.owner().get("/v1/audit?action=audit_trail.restore").await.expect(200).json();
    let noted = noted["items"].as_array().unwrap();
    assert_eq!(noted.len(), 1, "{noted:?}");
    assert_eq!(noted[0]["resource"]["id"], json!(next.origin));
    let facts = |path: &str| {
        let mut delta = noted[0]["delta"].as_array().unwrap().iter();
        delta.find(|change| change["path"] == path).map(|change| change["value"].clone())
    };
    let newest = json!({ "entries": lost.size, "root": lost.root });
    assert_eq!(facts("/lost"), Some(newest), "{noted:?}");
    assert_eq!(facts("/signed"), Some(json!(kept.size)), "{noted:?}");
    some_entries(&tenant, 1).await;
    let (status, after) = told.publish(&tenant).await;
    assert_eq!((status, open(&after).origin.as_str()), (201, next.origin.as_str()));
    assert!(open(&after).size > next.size);

    // The check is satisfied, an export can be made, and whoever has the archive
    // sees what was lost.
    let checked = told.checker().await.invoke(&trail).await;
    assert_eq!(checked["trails"], 1, "{checked}");
    let checks = tenant.owner().get("/v1/audit?action=audit_trail.check").await.expect(200).json();
    assert!(checks["items"][0]["delta"].to_string().contains("/undone"), "{checks}");
    let export = ask_unseen(&stack, &tenant, "jsonl").await;
    let mut worker = told.start("run-audit-export").await;
    assert_eq!(worker.invoke(&message(tenant.slug(), &export)).await, json!(["done"]));
    let mut archived = archive(&stack, &tenant).await;
    assert_eq!(archived.len(), 6, "{:?}", archived.keys());
    let (code, words) = verify(&archived, &keys);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains(&format!("up to {}, may be others now", lost.size)), "{words}");
    // One of another history does not follow.
    let second = archived.keys().find(|key| key.starts_with("2/")).unwrap().clone();
    let mut link: Value = serde_json::from_slice(&archived[&second]).unwrap();
    link["consistency"] = json!([]);
    archived.insert(second, serde_json::to_vec(&link).unwrap());
    assert_eq!(verify(&archived, &keys).0, 1);

    // It was put back not far enough: once more, to the same moment.
    let again = next_second().await;
    restore(&stack, &tenant, &before).await;
    let further =
        Restored { stack: &stack, restores: format!("{},{moment}/{again}", told.restores) };
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (status, third) = further.publish(&tenant).await;
    assert_eq!(status, 201, "{third}");
    let keys = further.keys(&tenant).await;
    let third = Checkpoint::open(third["checkpoint"].as_str().unwrap(), &keys).unwrap();
    assert_eq!(third.origin, format!("{}/3", kept.origin));
    let trail = json!({ "tenant": tenant.slug() });
    assert_eq!(further.checker().await.invoke(&trail).await["trails"], 1);
    let (code, words) = verify(&archive(&stack, &tenant).await, &keys);
    assert_eq!(code, 0, "{words}");

    // Of whom nothing that was signed is lost, goes on as before.
    some_entries(&untouched, 1).await;
    let (status, same) = told.publish(&untouched).await;
    assert_eq!(status, 201, "{same}");
    let keys = told.keys(&untouched).await;
    let same = Checkpoint::open(same["checkpoint"].as_str().unwrap(), &keys).unwrap();
    assert_eq!(same.generation(), 1);
    let checked = told.checker().await.invoke(&json!({ "tenant": untouched.slug() })).await;
    assert_eq!(checked["trails"], 1, "{checked}");

    tenant.close().await;
    untouched.close().await;
}
