//! What an auditor can check without trusting the service, and that tampering
//! with the database behind its back does not go unnoticed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::path::PathBuf;
use std::process::Command;

use aws_sdk_s3::Client as S3;
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use keystone::audit::bundle::{Header, Writer, verify_entry_line};
use keystone::audit::checkpoint::Checkpoint;
use keystone::audit::entry::{CommittedEntry, Personal};
use keystone::audit::merkle::{Hash, TreeHead, verify_consistency};
use keystone::audit::note::VerifierKey;
use keystone::audit::tlog_proof::TlogProof;
use keystone::auth::Role;
use keystone_tests::event::Event;
use keystone_tests::exports::{
    ask, ask_unseen, ask_unseen_for, contents, end_lease, fetch, message, proved, volumes_of,
    worker,
};
use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::stack::{address, random, root};
use keystone_tests::{Client, Stack, Tenant, bulk, samples};
use mongodb::Collection;
use mongodb::bson::{Bson, DateTime, Document, deserialize_from_bson, doc, serialize_to_bson};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// The keys of a tenant's trail, as anybody gets them.
async fn keys(tenant: &Tenant<'_>) -> Vec<VerifierKey> {
    let path = format!("/v1/trust/audit-keys?tenant={}", tenant.slug());
    let listed = tenant.stranger().get(&path).await.expect(200).json();
    let keys = listed["keys"].as_array().unwrap().iter();
    keys.map(|key| key.as_str().unwrap().parse().unwrap()).collect()
}

async fn publish(client: &Client) -> Value {
    client.request("POST", "/v1/audit/checkpoints").send().await.expect(201).json()
}

fn opened(view: &Value, keys: &[VerifierKey]) -> Checkpoint {
    Checkpoint::open(view["checkpoint"].as_str().unwrap(), keys).unwrap()
}

fn hashes(view: &Value) -> Vec<Hash> {
    let hashes = view["hashes"].as_array().unwrap().iter();
    hashes.map(|hash| hash.as_str().unwrap().parse().unwrap()).collect()
}

/// The trail's entries as they are stored.
async fn stored(stack: &Stack, tenant: &Tenant<'_>) -> (Collection<Document>, Vec<Document>) {
    let database = stack.database().await.database(&format!("t_{}_audit", tenant.slug()));
    let entries = database.collection::<Document>("entries");
    let found = entries.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    (entries, found.try_collect().await.unwrap())
}

async fn head(stack: &Stack, tenant: &Tenant<'_>) -> Collection<Document> {
    stack.database().await.database(&format!("t_{}", tenant.slug())).collection("audit_head")
}

/// What the self-check says of the tenant's trail.
async fn self_check(stack: &Stack, tenant: &Tenant<'_>) -> Value {
    let event = json!({ "tenant": tenant.slug() });
    let name = stack.function("audit-self-check");
    stack.aws().invoke_to_the_end(&name, &event).await
}

async fn must_find(stack: &Stack, tenant: &Tenant<'_>, finding: &str) {
    let said = self_check(stack, tenant).await.to_string();
    assert!(said.contains(finding), "wanted: {finding}\nsaid: {said}");
}

/// A bundle of everything that is stored, under the newest checkpoint; without
/// the openings, which only the service can unseal.
fn bundle(tenant: &Tenant<'_>, checkpoint: &Value, stored: &[Document]) -> Vec<u8> {
    let note = checkpoint["checkpoint"].as_str().unwrap();
    let size = checkpoint["size"].as_u64().unwrap();
    let header = Header::new(tenant.slug(), note, None, keystone::clock::now());
    let mut lines = Writer::new(Vec::new(), &header, size).unwrap();
    for document in stored {
        let entry: CommittedEntry =
            deserialize_from_bson(document.get("entry").unwrap().clone()).unwrap();
        let leaf: Hash = document.get_str("leaf").unwrap().parse().unwrap();
        // As an exporter would that believes the store.
        let line = keystone::audit::bundle::entry_line(&entry, &leaf, &Personal::new()).unwrap();
        lines.output().extend(line);
    }
    let end = json!({ "end": { "entries": stored.len() } });
    lines.output().extend(format!("{end}\n").into_bytes());
    std::mem::take(lines.output())
}

/// A file of this test run.
fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("{:016x}-{name}", u64::from_be_bytes(random())));
    std::fs::write(&path, content).unwrap();
    path
}

/// Exit code and words of `keystone-verify`.
fn keystone_verify(command: &str, files: &[&PathBuf], keys: &[VerifierKey]) -> (i32, String) {
    let program = root().join("target/debug/keystone-verify");
    let mut run = Command::new(program);
    run.arg(command).args(files).env_clear();
    for key in keys {
        run.args(["--vkey", &key.to_string()]);
    }
    let done = run.output().unwrap();
    for file in files {
        let _ = std::fs::remove_file(file);
    }
    (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap())
}

/// Waits until every mail is recorded as sent, so that no entry comes later.
async fn settle(stack: &Stack, tenant: &Tenant<'_>) {
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let outbox = database.collection::<Document>("outbox");
    for _ in 0..100 {
        stack.aws().invoke(stack.value("DRAIN_OUTBOX_FUNCTION"), &json!({})).await;
        let unsent = doc! { "state": { "$ne": "sent" } };
        if outbox.count_documents(unsent).await.unwrap() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn some_entries(tenant: &Tenant<'_>, count: usize) {
    for _ in 0..count {
        tenant.owner().post("/v1/products", &samples::product()).await.must(201);
    }
}

/// Makes the stored tree hashes and the head those of `documents`.
async fn rehash(stack: &Stack, tenant: &Tenant<'_>, documents: &[Document]) {
    let (entries, _) = stored(stack, tenant).await;
    let mut tree = TreeHead::empty();
    for document in documents {
        let leaf: Hash = document.get_str("leaf").unwrap().parse().unwrap();
        let nodes = serialize_to_bson(&tree.append(leaf)).unwrap();
        let only = doc! { "_id": document.get_i64("_id").unwrap() };
        entries.update_one(only, doc! { "$set": { "nodes": nodes } }).await.unwrap();
    }
    let tree = serialize_to_bson(&tree).unwrap();
    head(stack, tenant).await.update_one(doc! {}, doc! { "$set": tree }).await.unwrap();
}

#[tokio::test]
async fn every_entry_is_proved_to_a_signed_checkpoint() {
    let stack = Stack::load();
    let tenant = stack.tenant("proofs", &[Role::Admin, Role::OpsUser, Role::Viewer]).await;
    let owner = tenant.owner();
    let keys = keys(&tenant).await;
    assert_eq!(keys[0].name(), format!("keystone.local/audit/{}", tenant.slug()));

    owner.get("/v1/audit/checkpoint").await.must(404);
    owner.get("/v1/audit/0/proof").await.must(409);
    some_entries(&tenant, 3).await;
    let first = publish(owner).await;
    some_entries(&tenant, 2).await;
    let second = publish(tenant.user(Role::Admin)).await;
    assert_eq!(owner.get("/v1/audit/checkpoint").await.expect(200).json(), second);
    let (old, new) = (opened(&first, &keys), opened(&second, &keys));
    assert_eq!(second["previous"], first["size"]);

    for seq in 0..new.size {
        let proof = owner.get(&format!("/v1/audit/{seq}/proof")).await.expect(200).json();
        let text: TlogProof = proof["text"].as_str().unwrap().parse().unwrap();
        let line = String::from_utf8(text.extra.clone().unwrap()).unwrap();
        let entry = verify_entry_line(&line).unwrap();
        assert_eq!(
            (entry.seq, entry.leaf.to_string()),
            (seq, proof["leaf_hash"].as_str().unwrap().into())
        );
        assert_eq!(text.verify(&entry.leaf, &keys).unwrap(), new);
        assert_eq!(hashes(&proof), text.hashes);
    }
    let path = format!("/v1/audit/1/proof?size={}", old.size);
    let earlier = owner.get(&path).await.expect(200).json();
    let (code, said) =
        keystone_verify("proof", &[&file("proof.json", earlier.to_string().as_bytes())], &keys);
    assert!(code == 0 && said.starts_with("VERIFIED: entry 1 of "), "{said}");
    let text: TlogProof = earlier["text"].as_str().unwrap().parse().unwrap();
    let doctored = TlogProof { index: 2, ..text };
    let doctored = file("doctored.txt", doctored.to_string().as_bytes());
    let (code, said) = keystone_verify("proof", &[&doctored], &keys);
    assert!(code == 1 && said.contains("the proof is of entry 2, but carries 1"), "{said}");

    let path = format!("/v1/audit/consistency?from={}&to={}", old.size, new.size);
    let proof = hashes(&owner.get(&path).await.expect(200).json());
    verify_consistency(old.size, new.size, &proof, &old.root, &new.root).unwrap();

    // What cannot be proved is said.
    some_entries(&tenant, 1).await;
    owner.get(&format!("/v1/audit/{}/proof", new.size)).await.must(409);
    owner.get(&format!("/v1/audit/1/proof?size={}", old.size + 1)).await.must(422);
    owner.get("/v1/audit/5/proof?size=3").await.must(422);
    owner.get("/v1/audit/999999/proof").await.must(404);
    owner.get("/v1/audit/consistency?from=3&to=2").await.must(422);
    owner.get("/v1/audit/consistency?from=3&to=999999").await.must(422);
    owner.get("/v1/audit/consistency?from=3").await.must(422);

    // By the matrix: own entries, or none; and no checkpoint on demand.
    let (ops, viewer) = (tenant.user(Role::OpsUser), tenant.user(Role::Viewer));
    ops.get("/v1/audit/0/proof").await.must(404);
    ops.get("/v1/audit/checkpoint").await.must(200);
    ops.request("POST", "/v1/audit/checkpoints").send().await.must(403);
    for path in ["/v1/audit/0/proof", "/v1/audit/checkpoint", "/v1/audit/consistency?from=0&to=1"] {
        viewer.get(path).await.must(403);
        tenant.stranger().get(path).await.must(401);
    }

    // Another tenant's numbers lead to its own trail only.
    let other = stack.tenant("proofs-b", &[]).await;
    other.owner().get(&format!("/v1/audit/{}/proof", new.size - 1)).await.must(404);
    // The scheduled job may have signed one for it meanwhile.
    let theirs = other.owner().get("/v1/audit/checkpoint").await;
    let origin = format!("/audit/{}\\n", other.slug());
    let own = theirs.status == 200 && theirs.to_string().contains(&origin);
    assert!(own || theirs.status == 404, "{theirs}");
    other.finish().await;
    tenant.finish().await;
}

#[tokio::test]
async fn the_chain_of_checkpoints_is_archived_and_locked() {
    let stack = Stack::load();
    let tenant = stack.tenant("chain", &[]).await;
    let owner = tenant.owner();
    let keys = keys(&tenant).await;
    publish(owner).await;
    some_entries(&tenant, 2).await;
    // The scheduled job may meet a trail that another test tampers with, and
    // goes on with the others.
    let job = stack.function("publish-checkpoints");
    stack.aws().invoke_to_the_end(&job, &json!({})).await;
    let by_job = owner.get("/v1/audit/checkpoint").await.expect(200).json();
    stack.aws().invoke_to_the_end(&job, &json!({})).await;
    assert_eq!(owner.get("/v1/audit/checkpoint").await.expect(200).json(), by_job);
    some_entries(&tenant, 1).await;
    let last = publish(owner).await;
    let listed = owner.get("/v1/audit/checkpoints").await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    assert_eq!(listed["items"][0], last);

    let s3 = stack.s3();
    let environment = stack.aws().environment(&job).await;
    let bucket = &environment["ARCHIVE_BUCKET"];
    let prefix = format!("checkpoints/{}/", tenant.slug());
    let objects = s3.list_objects_v2().bucket(bucket).prefix(&prefix).send().await.unwrap();
    let mut files = Vec::new();
    for object in objects.contents() {
        let key = object.key().unwrap();
        let read = s3.get_object().bucket(bucket).key(key).send().await.unwrap();
        assert_eq!(read.object_lock_mode().unwrap().as_str(), "COMPLIANCE");
        let version = read.version_id().unwrap().to_owned();
        files.push(file("checkpoint.json", &read.body.collect().await.unwrap().into_bytes()));
        let delete = s3.delete_object().bucket(bucket).key(key).version_id(version);
        assert!(delete.send().await.is_err(), "{key} could be deleted");
    }
    assert_eq!(files.len(), 3);
    let all: Vec<&PathBuf> = files.iter().collect();
    let (code, said) = keystone_verify("checkpoints", &all, &keys);
    assert!(code == 0 && said.starts_with("VERIFIED: a chain of 3 checkpoints"), "{said}");
    let mut items = listed["items"].clone();
    items.as_array_mut().unwrap().remove(1);
    let gap = file("gap.json", json!({ "items": items }).to_string().as_bytes());
    let (code, said) = keystone_verify("checkpoints", &[&gap], &keys);
    assert!(code == 1 && said.contains("but the one before has"), "{said}");
    tenant.finish().await;
}

/// The tenant's archived checkpoints.
async fn archived(s3: &S3, bucket: &str, tenant: &Tenant<'_>) -> Vec<String> {
    let prefix = format!("checkpoints/{}/", tenant.slug());
    let listed = s3.list_objects_v2().bucket(bucket).prefix(prefix).send().await.unwrap();
    listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn nothing_signed_is_seen_before_it_is_archived() {
    let stack = Stack::load();
    let tenant = stack.tenant("archive-first", &[]).await;
    let owner = tenant.owner();
    let s3 = stack.s3();
    let function = stack.function("create-audit-checkpoint");
    let bucket = stack.aws().environment(&function).await["ARCHIVE_BUCKET"].clone();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 2).await;
    let first = publish(owner).await;
    let tail = first["size"].as_u64().unwrap();
    some_entries(&tenant, 2).await;

    // The archive refuses to take what was signed, and so nobody gets it.
    let refuse = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": format!("arn:aws:s3:::{bucket}/checkpoints/{}/*", tenant.slug()),
    }]});
    s3.put_bucket_policy().bucket(&bucket).policy(refuse.to_string()).send().await.unwrap();
    let before = owner.get("/v1/audit/checkpoint").await;
    let request = Event::new("POST", "/v1/audit/checkpoints", &[], address()).token(owner.token());
    let answer = stack.aws().invoke(&function, request.as_json()).await;
    // That it was asked for is recorded before.
    tenant.vouch_for(&request.request_id());
    let after = owner.get("/v1/audit/checkpoint").await;
    s3.delete_bucket_policy().bucket(&bucket).send().await.unwrap();
    assert_eq!(answer["statusCode"], 503, "{answer}");
    assert_eq!(after.expect(200).json(), before.expect(200).json());

    // A run archives and dies before it stores. Whoever runs the database
    // rewrites the tail, and gets no second note.
    let second = publish(owner).await;
    let (entries, stored_before) = stored(&stack, &tenant).await;
    let heads = head(&stack, &tenant).await;
    let head_before = heads.find_one(doc! {}).await.unwrap().unwrap();
    let archived_before = archived(&s3, &bucket, &tenant).await;
    let mut forged = stored_before.clone();
    let at = usize::try_from(tail).unwrap();
    forge(&mut forged[at]);
    entries
        .replace_one(doc! { "_id": forged[at].get_i64("_id").unwrap() }, &forged[at])
        .await
        .unwrap();
    rehash(&stack, &tenant, &forged).await;
    let database = stack.database().await.database(&format!("t_{}_audit", tenant.slug()));
    let checkpoints = database.collection::<Document>("checkpoints");
    let later = doc! { "_id": { "$gt": i64::try_from(tail).unwrap() } };
    checkpoints.delete_many(later.clone()).await.unwrap();
    let answer = owner.request("POST", "/v1/audit/checkpoints").send().await.expect(409);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("contradicts its last checkpoint"), "{detail}");
    assert_eq!(checkpoints.count_documents(later).await.unwrap(), 0);
    assert_eq!(archived(&s3, &bucket, &tenant).await, archived_before);

    // Of the true trail it is adopted, and the next extends it.
    entries.delete_many(doc! {}).await.unwrap();
    entries.insert_many(&stored_before).await.unwrap();
    heads.replace_one(doc! {}, &head_before).await.unwrap();
    let third = publish(owner).await;
    assert!(third["size"].as_u64() > second["size"].as_u64(), "{third}");
    let listed = owner.get("/v1/audit/checkpoints").await.expect(200).json();
    let items = listed["items"].as_array().unwrap();
    assert!(items.iter().any(|item| item["checkpoint"] == second["checkpoint"]), "{listed}");
    self_check(&stack, &tenant).await["trails"].as_u64().unwrap();
    tenant.finish().await;
}

#[tokio::test]
async fn an_empty_head_is_never_signed() {
    let stack = Stack::load();
    let tenant = stack.tenant("empty-head", &[]).await;
    let s3 = stack.s3();
    let function = stack.function("publish-checkpoints");
    let bucket = stack.aws().environment(&function).await["ARCHIVE_BUCKET"].clone();
    settle(&stack, &tenant).await;
    let heads = head(&stack, &tenant).await;
    // The run of another test may have been here before.
    let archived_before = archived(&s3, &bucket, &tenant).await;
    let before = heads.find_one(doc! {}).await.unwrap().unwrap();
    let empty = doc! { "$set": { "size": 0_i64, "edge": [] } };
    heads.update_one(doc! {}, empty).await.unwrap();
    // Of all tenants: that the run fails is due to this one, if to no other.
    stack.aws().invoke_to_the_end(&function, &json!({})).await;
    let kept = archived(&s3, &bucket, &tenant).await;
    heads.replace_one(doc! {}, &before).await.unwrap();
    assert_eq!(kept, archived_before);
    // The note would have stood in the way of every other.
    assert!(publish(tenant.owner()).await["size"].as_u64().unwrap() > 1);
    tenant.finish().await;
}

/// What nobody tampered with holds, under the right key.
fn untouched(tenant: &Tenant<'_>, checkpoint: &Value, stored: &[Document], keys: &[VerifierKey]) {
    let whole = file("bundle.jsonl", &bundle(tenant, checkpoint, stored));
    let (code, said) = keystone_verify("bundle", &[&whole], keys);
    assert!(code == 0 && said.contains("Nothing is left out"), "{said}");
    let whole = file("bundle.jsonl", &bundle(tenant, checkpoint, stored));
    let stranger = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let (code, said) = keystone_verify("bundle", &[&whole], &[stranger.parse().unwrap()]);
    assert!(code == 1 && said.contains("none of the given keys signed"), "{said}");
}

/// Makes another entry of a stored one, with the leaf that belongs to it.
fn forge(document: &mut Document) {
    let entry = document.get("entry").unwrap().clone();
    let mut entry: CommittedEntry = deserialize_from_bson(entry).unwrap();
    entry.action = "product.delete".into();
    document.insert("entry", serialize_to_bson(&entry).unwrap());
    document.insert("leaf", entry.leaf_hash().unwrap().to_string());
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one trail, tampered with in every way")]
async fn tampering_with_the_database_is_found_and_named() {
    let stack = Stack::load();
    let tenant = stack.tenant("tamper", &[]).await;
    let owner = tenant.owner();
    let keys = keys(&tenant).await;
    settle(&stack, &tenant).await;
    some_entries(&tenant, 6).await;
    let checkpoint = publish(owner).await;
    let size = checkpoint["size"].as_u64().unwrap();
    let checked = self_check(&stack, &tenant).await;
    assert_eq!((&checked["trails"], &checked["entries"]), (&json!(1), &json!(size)));
    // The check left an entry of its own; the next checkpoint covers it.
    let checkpoint = publish(owner).await;
    let size = checkpoint["size"].as_u64().unwrap();
    let (entries, before) = stored(&stack, &tenant).await;
    assert_eq!(before.len() as u64, size);
    let restore = async || {
        entries.delete_many(doc! {}).await.unwrap();
        entries.insert_many(&before).await.unwrap();
    };
    let refused = |documents: &[Document], reason: &str| {
        let bundle = file("bundle.jsonl", &bundle(&tenant, &checkpoint, documents));
        let (code, said) = keystone_verify("bundle", &[&bundle], &keys);
        assert!(code == 1 && said.contains(reason), "wanted: {reason}\nsaid: {said}");
    };
    untouched(&tenant, &checkpoint, &before, &keys);

    // An entry is edited.
    let edit = doc! { "$set": { "entry.action": "product.delete" } };
    entries.update_one(doc! { "_id": 3_i64 }, edit).await.unwrap();
    must_find(&stack, &tenant, "entry 3 was changed").await;
    refused(&stored(&stack, &tenant).await.1, "entry 3 was changed");
    restore().await;

    // One is deleted.
    entries.delete_one(doc! { "_id": 3_i64 }).await.unwrap();
    must_find(&stack, &tenant, "entry 3 is missing").await;
    refused(&stored(&stack, &tenant).await.1, "entries 3 to 3 are missing");
    restore().await;

    // Two are swapped.
    entries.delete_many(doc! { "_id": { "$in": [3_i64, 4_i64] } }).await.unwrap();
    let mut swapped = before[3..5].to_vec();
    swapped[0].insert("_id", 4_i64);
    swapped[1].insert("_id", 3_i64);
    entries.insert_many(&swapped).await.unwrap();
    must_find(&stack, &tenant, "entry 3 holds the entry with the number 4").await;
    refused(&stored(&stack, &tenant).await.1, "entries 3 to 3 are missing");
    restore().await;

    // The tail is cut off, the head stays.
    entries.delete_many(doc! { "_id": { "$gte": 5_i64 } }).await.unwrap();
    must_find(&stack, &tenant, &format!("entries 5 to {} are missing at the end", size - 1)).await;
    refused(&stored(&stack, &tenant).await.1, &format!("entries 5 to {} are missing", size - 1));

    // The tail is cut off, and the head rewritten to fit.
    let heads = head(&stack, &tenant).await;
    let head_before = heads.find_one(doc! {}).await.unwrap().unwrap();
    rehash(&stack, &tenant, &before[..5]).await;
    must_find(&stack, &tenant, "entries were removed after it was signed").await;
    restore().await;
    heads.replace_one(doc! {}, &head_before).await.unwrap();

    // The head alone is rewritten: set back, or spoilt.
    rehash(&stack, &tenant, &before[..5]).await;
    must_find(&stack, &tenant, "entry 5 lies beyond the head").await;
    heads.replace_one(doc! {}, &head_before).await.unwrap();
    let more = doc! { "$push": { "edge": Hash::of(&[b"forged"]).to_string() } };
    heads.update_one(doc! {}, more).await.unwrap();
    must_find(&stack, &tenant, "the head is none of a tree").await;
    heads.replace_one(doc! {}, &head_before).await.unwrap();
    let other = doc! { "$set": { "edge.0": Hash::of(&[b"forged"]).to_string() } };
    heads.update_one(doc! {}, other).await.unwrap();
    must_find(&stack, &tenant, "the head has the root").await;
    heads.replace_one(doc! {}, &head_before).await.unwrap();

    // Everything is forged so that it hangs together: an entry, its leaf, all
    // hashes, the head. What was signed and archived cannot be.
    let mut forged = before.clone();
    forge(&mut forged[3]);
    entries.replace_one(doc! { "_id": 3_i64 }, &forged[3]).await.unwrap();
    rehash(&stack, &tenant, &forged).await;
    must_find(&stack, &tenant, "were changed after it was signed").await;
    refused(&forged, "lead to the root");
    let database = stack.database().await.database(&format!("t_{}_audit", tenant.slug()));
    let checkpoints = database.collection::<Document>("checkpoints");
    let signed: Vec<Document> =
        checkpoints.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    // Nor does it help to remove the checkpoints too.
    checkpoints.delete_many(doc! {}).await.unwrap();
    must_find(&stack, &tenant, "the archived checkpoint of").await;
    must_find(&stack, &tenant, "is archived but not stored").await;
    // And nothing is signed on top of it, with the checkpoints or without.
    for stored in [false, true] {
        if stored {
            checkpoints.insert_many(&signed).await.unwrap();
        }
        let answer = owner.request("POST", "/v1/audit/checkpoints").send().await.expect(409);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("contradicts its last checkpoint"), "{detail}");
    }
    restore().await;
    heads.replace_one(doc! {}, &head_before).await.unwrap();

    // Another history of just as many entries as one that was signed.
    let size = usize::try_from(signed[0].get_i64("_id").unwrap()).unwrap();
    checkpoints.delete_many(doc! {}).await.unwrap();
    entries.delete_many(doc! { "_id": { "$gte": i64::try_from(size).unwrap() } }).await.unwrap();
    entries.replace_one(doc! { "_id": 3_i64 }, &forged[3]).await.unwrap();
    rehash(&stack, &tenant, &forged[..size]).await;
    let answer = owner.request("POST", "/v1/audit/checkpoints").send().await.expect(409);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("contradicts its last checkpoint"), "{detail}");
    checkpoints.delete_many(doc! {}).await.unwrap();
    checkpoints.insert_many(&signed).await.unwrap();
    restore().await;
    heads.replace_one(doc! {}, &head_before).await.unwrap();

    // Personal values lie beside what is signed. They go when somebody is
    // erased, and not otherwise.
    let with_ip = before.iter().find(|entry| matches!(entry.get("ip"), Some(Bson::Binary(_))));
    let with_ip = with_ip.expect("an entry of a request");
    let only = doc! { "_id": with_ip.get_i64("_id").unwrap() };
    for (field, value, finding) in [
        ("personal", Bson::Array(vec![]), "was removed, and whose it is was not erased"),
        ("ip", Bson::Null, "is not found by its source address"),
        (
            "personal.0.sub",
            "user:01890000-0000-7000-8000-000000000000".into(),
            "the subject's secret is missing",
        ),
    ] {
        let change = doc! { "$set": { field: value } };
        entries.update_one(only.clone(), change).await.unwrap();
        must_find(&stack, &tenant, finding).await;
        entries.replace_one(only.clone(), with_ip).await.unwrap();
    }

    // What was changed is neither shown nor exported.
    let changed = doc! { "$set": { "entry.action": "batch.approve" } };
    entries.update_one(only.clone(), changed).await.unwrap();
    let seq = with_ip.get_i64("_id").unwrap();
    let mut function = Function::deployed(&stack, "get-audit-entry").await;
    let event = Event::new("GET", "/v1/audit/{seq}", &[("seq", &seq.to_string())], address());
    assert_eq!(function.request(&event.token(owner.token())).await.status, 500);
    entries.replace_one(only, with_ip).await.unwrap();
    self_check(&stack, &tenant).await["trails"].as_u64().unwrap();
    tenant.finish().await;
}

#[tokio::test]
async fn a_tenant_that_is_hidden_from_the_registry_is_missed() {
    let stack = Stack::load();
    let tenant = stack.tenant("hidden", &[]).await;
    publish(tenant.owner()).await;
    let registry = stack.database().await.database("keystone_control");
    let registry = registry.collection::<Document>("tenants");
    let by_slug = doc! { "_id": tenant.slug() };
    let entry = registry.find_one_and_delete(by_slug).await.unwrap().expect("an entry");
    must_find(&stack, &tenant, "it has archived checkpoints and is in no registry").await;
    registry.insert_one(entry).await.unwrap();
    tenant.finish().await;
}

#[tokio::test]
async fn no_state_in_the_registry_switches_the_check_off() {
    let stack = Stack::load();
    let tenant = stack.tenant("switched-off", &[]).await;
    settle(&stack, &tenant).await;
    some_entries(&tenant, 2).await;
    publish(tenant.owner()).await;
    let registry = stack.database().await.database("keystone_control");
    let registry = registry.collection::<Document>("tenants");
    let by_slug = doc! { "_id": tenant.slug() };
    let set = async |state: &str| {
        let state = doc! { "$set": { "state": state } };
        registry.update_one(by_slug.clone(), state).await.unwrap();
    };
    let (entries, before) = stored(&stack, &tenant).await;
    let third = doc! { "_id": 3_i64 };
    let edit = doc! { "$set": { "entry.action": "product.delete" } };
    entries.update_one(third.clone(), edit).await.unwrap();
    for (state, finding) in [
        ("active", "entry 3 was changed"),
        ("suspended", "entry 3 was changed"),
        ("closing", "entry 3 was changed"),
        ("closed", "is said to be closed, and nothing proves that it was destroyed"),
        ("provisioning", "is said to be in the making"),
    ] {
        set(state).await;
        must_find(&stack, &tenant, finding).await;
    }
    entries.replace_one(third, &before[3]).await.unwrap();
    set("closed").await;

    // Nor does an entry in the provider's trail that no tree holds. It is in the
    // middle of the trail, where no other test appends.
    let database = stack.database().await.database("t_keystone_audit");
    let trail = database.collection::<Document>("entries");
    let first = trail.find_one(doc! { "_id": 0_i64 }).await.unwrap().unwrap();
    let mut forged = first.clone();
    let entry = forged.get("entry").unwrap().clone();
    let mut entry: CommittedEntry = deserialize_from_bson(entry).unwrap();
    entry.action = "tenant.conclude_destruction".into();
    entry.resource.kind = "tenant".into();
    entry.resource.id = tenant.slug().into();
    forged.insert("leaf", entry.leaf_hash().unwrap().to_string());
    forged.insert("entry", serialize_to_bson(&entry).unwrap());
    trail.replace_one(doc! { "_id": 0_i64 }, &forged).await.unwrap();
    let said = self_check(&stack, &tenant).await.to_string();
    trail.replace_one(doc! { "_id": 0_i64 }, &first).await.unwrap();
    assert!(said.contains("nothing proves that it was destroyed"), "{said}");
    set("active").await;
    self_check(&stack, &tenant).await["trails"].as_u64().unwrap();
    tenant.finish().await;
}

#[tokio::test]
async fn an_entry_in_anothers_place_is_neither_shown_nor_overlooked() {
    let stack = Stack::load();
    let tenant = stack.tenant("places", &[]).await;
    let owner = tenant.owner();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 6).await;
    let (entries, before) = stored(&stack, &tenant).await;
    let mut function = Function::deployed(&stack, "get-audit-entry").await;
    let mut list = Function::deployed(&stack, "list-audit-entries").await;
    let get = |seq: &str| {
        let event = Event::new("GET", "/v1/audit/{seq}", &[("seq", seq)], address());
        event.token(owner.token())
    };
    let by_action = |action: &str| {
        let event = Event::new("GET", "/v1/audit", &[], address());
        event.token(owner.token()).query(&[("action", action)])
    };
    assert_eq!(function.request(&get("3")).await.status, 200);

    // One entry is copied over another, leaf and all.
    let mut copy = before[5].clone();
    copy.insert("_id", 3_i64);
    entries.replace_one(doc! { "_id": 3_i64 }, &copy).await.unwrap();
    let shown = function.request(&get("3")).await;
    let action = before[5].get_document("entry").unwrap().get_str("action").unwrap();
    let listed = list.request(&by_action(action)).await;
    assert_eq!((shown.status, listed.status), (500, 500), "{} {}", shown.body, listed.body);
    must_find(&stack, &tenant, "entry 3 holds the entry with the number 5").await;
    entries.replace_one(doc! { "_id": 3_i64 }, &before[3]).await.unwrap();

    // A forged one stands where none can, with the leaf that belongs to it.
    let mut forged = before[3].clone();
    forge(&mut forged);
    for (id, named) in [
        (Bson::Double(3.5), "3.5 stands among the entries"),
        (Bson::Double(-1.5), "-1.5 stands among the entries"),
        (Bson::Int64(-1), "-1 stands among the entries"),
        (Bson::Int32(1 << 30), "1073741824 stands among the entries"),
        (Bson::String("three".into()), "three"),
    ] {
        forged.insert("_id", id.clone());
        entries.insert_one(&forged).await.unwrap();
        let listed = list.request(&by_action("product.delete")).await;
        let shown = listed.body["items"].as_array().map_or(0, Vec::len);
        must_find(&stack, &tenant, named).await;
        entries.delete_one(doc! { "_id": id.clone() }).await.unwrap();
        assert_eq!(shown, 0, "{id}: {}", listed.body);
    }

    // One with the number of an entry beyond the head is not the only finding.
    forged.insert("_id", 1_i64 << 30);
    entries.insert_one(&forged).await.unwrap();
    must_find(&stack, &tenant, "lies beyond the head").await;
    entries.delete_one(doc! { "_id": 1_i64 << 30 }).await.unwrap();
    self_check(&stack, &tenant).await["trails"].as_u64().unwrap();
    tenant.finish().await;
}

/// The export, which must have ended with so many volumes and none to fetch.
async fn is_refused(stack: &Stack, tenant: &Tenant<'_>, export: &str, volumes: usize) {
    let path = format!("/v1/audit/exports/{export}");
    let view = tenant.owner().get(&path).await.expect(200).json();
    assert_eq!(view["state"], "contradicted", "{view}");
    assert!(view["note"].as_str().unwrap().contains("nothing of it is handed out"), "{view}");
    let files = view["files"].as_array().unwrap();
    assert_eq!(files.len(), volumes, "{view}");
    assert!(files.iter().all(|file| file["url"].is_null()), "{view}");
    assert_eq!(volumes_of(stack, tenant, export).await, volumes);
}

#[tokio::test]
async fn an_export_of_other_entries_than_were_signed_is_refused() {
    let stack = Stack::load();
    let tenant = stack.tenant("refused", &[]).await;
    let owner = tenant.owner();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 4).await;
    let (entries, before) = stored(&stack, &tenant).await;
    let mut forged = before[3].clone();
    forge(&mut forged);
    let third = doc! { "_id": 3_i64 };
    let s3 = stack.s3();
    let bucket = stack.environment("run-audit-export").await["EXPORT_BUCKET"].clone();

    // An entry is changed together with its leaf. Nothing is signed or stored.
    for format in ["pdf", "jsonl", "csv"] {
        let id = ask_unseen(&stack, &tenant, format).await;
        let event = message(tenant.slug(), &id);
        let mut run = worker(&stack, 500).await;
        entries.replace_one(third.clone(), &forged).await.unwrap();
        let said = run.failure(&event).await;
        entries.replace_one(third.clone(), &before[3]).await.unwrap();
        assert!(said.contains("lead to the root"), "{said}");
        is_refused(&stack, &tenant, &id, 0).await;
        // The message comes once more, and the export stays as it is.
        assert_eq!(run.invoke(&event).await, json!(["nothing"]));
    }
    let prefix = format!("exports/{}/", tenant.slug());
    let made = s3.list_objects_v2().bucket(&bucket).prefix(&prefix).send().await.unwrap();
    assert!(made.contents().is_empty(), "{made:?}");

    // A run fixed the checkpoint, made a volume and was killed. Then everything
    // is forged so that it hangs together.
    let id = ask_unseen(&stack, &tenant, "jsonl").await;
    let event = message(tenant.slug(), &id);
    let mut run = worker(&stack, 2).await;
    let exports = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let exports = exports.collection::<Document>("audit_exports");
    let by_id = doc! { "_id": &id };
    // The row as it was while the run was at it, put back when it is over.
    let midway = async {
        loop {
            let export = exports.find_one(by_id.clone()).await.unwrap().unwrap();
            assert_ne!(export.get_str("state").unwrap(), "done");
            if !export.get_array("files").unwrap().is_empty() {
                break export;
            }
        }
    };
    let (said, export) = tokio::join!(run.invoke(&event), midway);
    assert_eq!(said, json!(["done"]));
    let written = export.get_array("files").unwrap().len();
    exports.replace_one(by_id, &export).await.unwrap();
    end_lease(&stack, &tenant, 0).await;
    entries.replace_one(third.clone(), &forged).await.unwrap();
    let (_, all) = stored(&stack, &tenant).await;
    rehash(&stack, &tenant, &all).await;
    let said = run.failure(&event).await;
    entries.replace_one(third.clone(), &before[3]).await.unwrap();
    let (_, all) = stored(&stack, &tenant).await;
    rehash(&stack, &tenant, &all).await;
    assert!(said.contains("lead to the root"), "{said}");
    is_refused(&stack, &tenant, &id, written).await;

    // The true trail is exported as ever.
    let id = ask(owner, "csv", &json!({})).await;
    assert_eq!(fetch(&stack, owner, &id).await.len(), 1);
    self_check(&stack, &tenant).await["trails"].as_u64().unwrap();
    tenant.finish().await;
}

#[tokio::test]
async fn what_is_recorded_of_an_export_is_believed_as_it_was_written_only() {
    let stack = Stack::load();
    let tenant = stack.tenant("export-row", &[]).await;
    let owner = tenant.owner();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 4).await;
    let exports = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let exports = exports.collection::<Document>("audit_exports");
    let row = async |id: &str| exports.find_one(doc! { "_id": id }).await.unwrap().unwrap();
    let mut run = worker(&stack, 500).await;
    let older = ask_unseen(&stack, &tenant, "csv").await;
    assert_eq!(run.invoke(&message(tenant.slug(), &older)).await, json!(["done"]));
    let older = row(&older).await;

    // Before its run: what it is over, where it begins, and another's seal.
    let snapshot = older.get_document("snapshot").unwrap().clone();
    let file = older.get_array("files").unwrap()[0].clone();
    let seal = older.get("seal").unwrap().clone();
    let begun = doc! { "state": "running", "snapshot": &snapshot };
    let mut skipped = begun.clone();
    skipped.insert("files", [file]);
    let mut sealed = begun.clone();
    sealed.insert("seal", &seal);
    let filtered = doc! { "filter.action": "product.create" };
    for forged in [begun, skipped, sealed, filtered, doc! { "ip": &seal }] {
        let id = ask_unseen(&stack, &tenant, "jsonl").await;
        let before = row(&id).await;
        exports.update_one(doc! { "_id": &id }, doc! { "$set": &forged }).await.unwrap();
        let shown = owner.get(&format!("/v1/audit/exports/{id}")).await.expect(200).json();
        assert_eq!(shown["state"], "contradicted", "{shown}");
        assert!(shown["note"].as_str().unwrap().contains("not what was recorded"), "{shown}");
        let event = message(tenant.slug(), &id);
        let said = run.failure(&event).await;
        assert!(said.contains("not what its runs wrote"), "{forged}: {said}");
        assert_eq!(run.invoke(&event).await, json!(["nothing"]));
        // It is the forged row that ended, so put back it would be made.
        assert_eq!(row(&id).await.get_str("state").unwrap(), "contradicted");
        exports.replace_one(doc! { "_id": &id }, &before).await.unwrap();
        assert_eq!(run.invoke(&event).await, json!(["done"]));
    }

    // Afterwards: a file of another export, which would be handed out as this one's.
    let id = ask_unseen(&stack, &tenant, "csv").await;
    assert_eq!(run.invoke(&message(tenant.slug(), &id)).await, json!(["done"]));
    let path = format!("/v1/audit/exports/{id}");
    let shown = owner.get(&path).await.expect(200).json();
    assert!(shown["files"][0]["url"].is_string(), "{shown}");
    let files = doc! { "$set": { "files": older.get("files").unwrap() } };
    exports.update_one(doc! { "_id": &id }, files).await.unwrap();
    let shown = owner.get(&path).await.expect(200).json();
    assert_eq!(shown["state"], "contradicted", "{shown}");
    assert_eq!(shown["files"][0]["url"], Value::Null, "{shown}");
    tenant.finish().await;
}

/// What somebody who may write to the database does to the document of an
/// entry; `other` is that of another entry.
type Tampering = fn(found: &mut Document, other: &Document);

/// Tampering with one document, the filter of the export that meets it, and why
/// it is refused.
fn tamperings(address: &str) -> [(Tampering, Value, &'static str); 9] {
    let by_action = || json!({ "action": "product.create" });
    let by_ip = json!({ "ip": address });
    [
        (|found, _| set_in(found, "outcome", "denied"), json!({}), "was changed"),
        (
            |found, other| {
                for field in ["entry", "leaf", "at", "personal", "ip"] {
                    found.insert(field, other.get(field).unwrap().clone());
                }
            },
            json!({}),
            "holds the entry with the number",
        ),
        (
            |found, _| set_in(found, "seq", 999_i64),
            json!({}),
            "holds the entry with the number 999",
        ),
        (|found, _| drop(found.insert("entry", Document::new())), json!({}), "cannot be read"),
        // What the database would no longer find by the filter is no less looked at.
        (|found, _| set_in(found, "action", "mail.send"), by_action(), "was changed"),
        (|found, _| forge(found), by_action(), "lead to the root"),
        (
            |found, _| {
                let long_ago: jiff::Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
                found.insert("at", DateTime::from_millis(long_ago.as_millisecond()));
            },
            json!({ "from": "2021-01-01T00:00:00Z" }),
            "under another time",
        ),
        (|found, _| drop(found.insert("ip", Bson::Null)), by_ip.clone(), "by its source address"),
        (
            |found, _| drop(found.insert("personal", Vec::<Bson>::new())),
            by_ip,
            "was removed, and whose it is was not erased",
        ),
    ]
}

#[tokio::test]
async fn an_erasure_that_somebody_wrote_down_hides_no_damage() {
    let stack = Stack::load();
    let tenant = stack.tenant("no-erasure", &[]).await;
    let owner = tenant.owner();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 2).await;
    let (entries, before) = stored(&stack, &tenant).await;
    let [other, found] = &before[before.len() - 2..] else { panic!("two entries") };
    let only = doc! { "_id": found.get_i64("_id").unwrap() };
    let mut damaged = found.clone();
    let envelope = |of: &Document| of.get_array("personal").unwrap()[0].clone();
    let theirs = envelope(other).as_document().unwrap().get("ct").unwrap().clone();
    let own = damaged.get_array_mut("personal").unwrap()[0].as_document_mut().unwrap();
    own.insert("ct", theirs);
    let subject = own.get_str("sub").unwrap().to_owned();
    assert!(subject.starts_with("user:"), "{subject}");

    let erasures = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let erasures = erasures.collection::<Document>("erasures");
    let by_ip = json!({ "ip": owner.address().to_string() });
    let mut run = worker(&stack, 500).await;
    for state in ["done", "pending"] {
        let at = DateTime::from_millis(keystone::clock::now().as_millisecond());
        let id = keystone::random::id(keystone::clock::now()).unwrap().to_string();
        let forged = doc! {
            "_id": &id, "tenant_id": tenant.slug(), "version": 1_i64,
            "created_at": at, "updated_at": at,
            "subject": &subject, "ground": "objection", "state": state, "secret_mark": "00",
        };
        let export = ask_unseen_for(&stack, &tenant, "jsonl", &by_ip).await;
        erasures.insert_one(forged).await.unwrap();
        entries.replace_one(only.clone(), &damaged).await.unwrap();
        let said = run.failure(&message(tenant.slug(), &export)).await;
        let checked = self_check(&stack, &tenant).await.to_string();
        entries.replace_one(only.clone(), found).await.unwrap();
        erasures.delete_one(doc! { "_id": &id }).await.unwrap();
        assert!(said.contains("cannot be read"), "{state}: {said}");
        assert!(checked.contains("cannot be read"), "{state}: {checked}");
        is_refused(&stack, &tenant, &export, 0).await;
    }
    tenant.finish().await;
}

fn set_in(found: &mut Document, member: &str, value: impl Into<Bson>) {
    found.get_document_mut("entry").unwrap().insert(member, value);
}

#[tokio::test]
async fn an_export_of_a_trail_that_was_tampered_with_is_refused() {
    let stack = Stack::load();
    let tenant = stack.tenant("tampered-export", &[]).await;
    let owner = tenant.owner();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 4).await;
    let (entries, before) = stored(&stack, &tenant).await;
    let created = |document: &&Document| {
        document.get_document("entry").unwrap().get_str("action").unwrap() == "product.create"
    };
    let products: Vec<&Document> = before.iter().filter(created).collect();
    assert_eq!(products.len(), 4);
    let (first, found) = (products[0], products[1]);
    let only = doc! { "_id": found.get_i64("_id").unwrap() };
    let mut run = worker(&stack, 500).await;
    for (tamper, filter, why) in tamperings(&owner.address().to_string()) {
        let id = ask_unseen_for(&stack, &tenant, "jsonl", &filter).await;
        let mut tampered = found.clone();
        tamper(&mut tampered, first);
        entries.replace_one(only.clone(), &tampered).await.unwrap();
        let said = run.failure(&message(tenant.slug(), &id)).await;
        entries.replace_one(only.clone(), found).await.unwrap();
        assert!(said.contains(why), "wanted: {why}\nsaid: {said}");
        is_refused(&stack, &tenant, &id, 0).await;
    }

    // One is gone, whether or not its hashes are needed for the checkpoint.
    for gone in &products {
        let only = doc! { "_id": gone.get_i64("_id").unwrap() };
        let id = ask_unseen(&stack, &tenant, "csv").await;
        entries.delete_one(only).await.unwrap();
        let said = run.failure(&message(tenant.slug(), &id)).await;
        entries.insert_one(*gone).await.unwrap();
        assert!(said.contains("is missing") || said.contains("has no hash of height"), "{said}");
        is_refused(&stack, &tenant, &id, 0).await;
    }

    // The true trail is exported, with each of them.
    let id = ask(owner, "jsonl", &json!({ "action": "product.create" })).await;
    let volumes = fetch(&stack, owner, &id).await;
    assert_eq!(proved(&tenant, &contents(&volumes)).await.len(), 4);
    self_check(&stack, &tenant).await["trails"].as_u64().unwrap();
    tenant.finish().await;
}

/// Passes on what a function asks of AWS; before the first object that it puts,
/// says so to `held` and waits until it may.
async fn relay(mut function: TcpStream, aws: String, held: mpsc::Sender<oneshot::Sender<()>>) {
    let mut server = TcpStream::connect(aws).await.unwrap();
    let (mut from_function, mut to_function) = function.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from_function.read(&mut bytes).await {
            if bytes.starts_with(b"PUT ") {
                let (release, released) = oneshot::channel();
                if held.send(release).await.is_ok() {
                    released.await.unwrap();
                }
            }
            to_server.write_all(&bytes[..read]).await.unwrap();
        }
    };
    tokio::select! {
        () = up => {}
        _ = tokio::io::copy(&mut from_server, &mut to_function) => {}
    }
}

#[tokio::test]
async fn who_loses_the_race_for_the_archive_overwrites_nothing() {
    let stack = Stack::load();
    let tenant = stack.tenant("race", &[]).await;
    let owner = tenant.owner();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 2).await;
    let ask = || Event::new("POST", "/v1/audit/checkpoints", &[], address()).token(owner.token());
    let mut fast = Function::deployed(&stack, "create-audit-checkpoint").await;
    let request = ask();
    let first = fast.request(&request).await;
    tenant.vouch_for(&request.request_id());
    assert_eq!(first.status, 201, "{}", first.body);
    some_entries(&tenant, 1).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut environment = stack.environment("create-audit-checkpoint").await;
    let aws = environment["AWS_ENDPOINT_URL"].trim_start_matches("http://");
    let aws = aws.trim_end_matches('/').to_owned();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    environment.insert("AWS_ENDPOINT_URL".into(), proxy);
    let (held, mut puts) = mpsc::channel(1);
    let relays = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(relay(connection, aws.clone(), held.clone()));
        }
    });
    let binary = build_directory().join("create-audit-checkpoint");
    let mut slow = Function::start(&binary, &environment).await;

    // One has signed and is about to put its checkpoint into the archive; another
    // comes before it with one that extends the same, over an entry more.
    let (slow_request, fast_request) = (ask(), ask());
    let (lost, won) = futures::join!(slow.request(&slow_request), async {
        let release = puts.recv().await.unwrap();
        // From here on every object is put at once.
        drop(puts);
        let won = fast.request(&fast_request).await;
        release.send(()).unwrap();
        won
    });
    relays.abort();
    tenant.vouch_for(&slow_request.request_id());
    tenant.vouch_for(&fast_request.request_id());
    assert_eq!((won.status, &won.body["previous"]), (201, &first.body["size"]));

    // It is there as it was put, and once.
    let s3 = stack.s3();
    let bucket = &environment["ARCHIVE_BUCKET"];
    let previous = first.body["size"].as_u64().unwrap();
    let key = format!("checkpoints/{}/after-{previous:016}.json", tenant.slug());
    let versions = s3.list_object_versions().bucket(bucket).prefix(&key).send().await.unwrap();
    assert_eq!(versions.versions().len(), 1, "{versions:?}");
    let kept = s3.get_object().bucket(bucket).key(&key).send().await.unwrap();
    let kept = kept.body.collect().await.unwrap().into_bytes();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["checkpoint"], won.body["checkpoint"]);
    // Who was slower drops what it signed, and answers with the one that stands.
    assert_eq!((lost.status, &lost.body), (201, &won.body));
    assert_eq!(owner.get("/v1/audit/checkpoint").await.expect(200).json(), won.body);
    self_check(&stack, &tenant).await["trails"].as_u64().unwrap();
    tenant.finish().await;
}

#[tokio::test]
async fn what_is_hidden_or_replaced_in_the_archive_is_found() {
    let stack = Stack::load();
    let tenant = stack.tenant("hidden-object", &[]).await;
    let owner = tenant.owner();
    let s3 = stack.s3();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 1).await;
    let first = publish(owner).await;
    some_entries(&tenant, 1).await;
    let second = publish(owner).await;
    let function = stack.function("audit-self-check");
    let bucket = stack.aws().environment(&function).await["ARCHIVE_BUCKET"].clone();
    for (link, of) in [(&first, "an older one"), (&second, "the newest")] {
        let previous = link["previous"].as_u64().unwrap();
        let key = format!("checkpoints/{}/after-{previous:016}.json", tenant.slug());
        // Without a version a delete only hides, and so the lock allows it.
        let hide = s3.delete_object().bucket(&bucket).key(&key).send().await.unwrap();
        let marker = hide.version_id().expect(of).to_owned();
        let finding = format!("of {previous} entries is hidden behind a delete marker");
        must_find(&stack, &tenant, &finding).await;
        let show = s3.delete_object().bucket(&bucket).key(&key).version_id(marker);
        show.send().await.unwrap();
    }
    self_check(&stack, &tenant).await["trails"].as_u64().unwrap();

    let previous = first["previous"].as_u64().unwrap();
    let key = format!("checkpoints/{}/after-{previous:016}.json", tenant.slug());
    let other = serde_json::to_vec(&second).unwrap();
    s3.put_object().bucket(&bucket).key(&key).body(other.into()).send().await.unwrap();
    let finding = format!("of {previous} entries has another version put over it");
    must_find(&stack, &tenant, &finding).await;
    tenant.finish().await;
}

#[tokio::test]
async fn a_query_of_what_does_not_meet_stops_and_leads_on() {
    let stack = Stack::load();
    let tenant = stack.tenant("walks", &[]).await;
    let owner = tenant.owner();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 2).await;
    // A long trail, but for its entries: the few that there are are the oldest.
    let heads = head(&stack, &tenant).await;
    let before = heads.find_one(doc! {}).await.unwrap().unwrap();
    let edge = [Hash::of(&[b"long"]).to_string()];
    let long = doc! { "$set": { "size": 1_i64 << 18, "edge": edge.to_vec() } };
    heads.update_one(doc! {}, long).await.unwrap();
    let one = owner.get("/v1/audit?action=product.create").await;
    let query = "/v1/audit?action=product.create&resource_type=product";
    let mut pages = Vec::new();
    let mut path = query.to_owned();
    while pages.len() < 10 {
        let page = owner.get(&path).await;
        let next = page.json()["next_cursor"].as_str().map(str::to_owned);
        pages.push(page);
        match next {
            Some(cursor) => path = format!("{query}&cursor={cursor}"),
            None => break,
        }
    }
    heads.replace_one(doc! {}, &before).await.unwrap();
    let found = |page: Value| page["items"].as_array().unwrap().len();
    // One filter has an index that leads to all that fits; two do not.
    assert_eq!(found(one.expect(200).json()), 2);
    let pages: Vec<usize> = pages.into_iter().map(|page| found(page.expect(200).json())).collect();
    assert_eq!(pages, [0, 0, 2]);
    tenant.finish().await;
}

/// Gives a stored entry another time, with the leaf that belongs to it.
fn redate(document: &mut Document, at: Timestamp) {
    let entry = document.get("entry").unwrap().clone();
    let mut entry: CommittedEntry = deserialize_from_bson(entry).unwrap();
    entry.at = Timestamp::from_millisecond(at.as_millisecond()).unwrap();
    document.insert("at", DateTime::from_millis(at.as_millisecond()));
    document.insert("leaf", entry.leaf_hash().unwrap().to_string());
    document.insert("entry", serialize_to_bson(&entry).unwrap());
}

/// Numbers of the entries of a page, which must be the last.
async fn only_page(client: &Client, query: &str) -> Vec<u64> {
    let page = client.get(&format!("/v1/audit?limit=100&{query}")).await.expect(200).json();
    assert!(page["next_cursor"].is_null(), "{query}: {page}");
    page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_period_is_found_where_it_lies() {
    let stack = Stack::load();
    let tenant = stack.tenant("periods", &[]).await;
    let owner = tenant.owner();
    settle(&stack, &tenant).await;
    // A second apart, the oldest 80 minutes old.
    bulk::grow(&stack, tenant.slug(), 4_800).await;
    let ago = |minutes| keystone::clock::now() - SignedDuration::from_mins(minutes);
    let (from, to) = (ago(50), ago(49));
    let (entries, mut all) = stored(&stack, &tenant).await;
    let entry = |document: &Document| -> CommittedEntry {
        deserialize_from_bson(document.get("entry").unwrap().clone()).unwrap()
    };

    // A job that ran for a quarter of an hour tells its beginning, which lies in
    // the period; one of the period began before it.
    let last_before = |all: &[Document], moment: Timestamp| {
        all.iter().rposition(|document| entry(document).at < moment).unwrap()
    };
    let late = last_before(&all, to + SignedDuration::from_mins(15));
    let early = last_before(&all, to);
    let before = [all[late].clone(), all[early].clone()];
    redate(&mut all[late], from + SignedDuration::from_secs(30));
    redate(&mut all[early], from - SignedDuration::from_mins(15));
    let replace = async |document: &Document| {
        let only = doc! { "_id": document.get_i64("_id").unwrap() };
        entries.replace_one(only, document).await.unwrap();
    };
    replace(&all[late]).await;
    replace(&all[early]).await;

    let fit = |fits: &dyn Fn(&CommittedEntry) -> bool| -> Vec<u64> {
        all.iter().rev().map(entry).filter(fits).map(|entry| entry.seq).collect()
    };
    let in_period = |entry: &CommittedEntry| entry.at >= from && entry.at < to;
    let wanted = fit(&in_period);
    assert!(wanted.len() >= 59 && wanted[0] == late as u64, "{wanted:?}");
    let period = format!("from={from}&to={to}");
    assert_eq!(only_page(owner, &period).await, wanted);
    let wanted = fit(&|entry| in_period(entry) && entry.action == "batch.update");
    assert!(wanted.len() >= 10, "{wanted:?}");
    let query = format!("{period}&action=batch.update");
    assert_eq!(only_page(owner, &query).await, wanted);
    // Where the trail does not reach, nothing is.
    let (year, past) = ("2001-01-01T00:00:00Z", "2000-01-01T00:00:00Z");
    assert!(only_page(owner, &format!("from={past}&to={year}")).await.is_empty());
    assert!(only_page(owner, &format!("to={year}")).await.is_empty());
    assert!(only_page(owner, "from=9999-12-30T00:00:00Z").await.is_empty());

    // The entry that a period is looked for by is held against its leaf as well.
    let older = last_before(&all, from - SignedDuration::from_mins(20));
    let only = doc! { "_id": all[older].get_i64("_id").unwrap() };
    let forged = from - SignedDuration::from_mins(20) - SignedDuration::from_millis(1);
    let change = doc! { "$set": { "at": DateTime::from_millis(forged.as_millisecond()) } };
    entries.update_one(only, change).await.unwrap();
    let mut list = Function::deployed(&stack, "list-audit-entries").await;
    let event = Event::new("GET", "/v1/audit", &[], address()).token(owner.token());
    let event = event.query(&[("from", &from.to_string()), ("to", &to.to_string())]);
    let answer = list.request(&event).await;
    replace(&all[older]).await;
    for document in &before {
        replace(document).await;
    }
    assert_eq!(answer.status, 500, "{}", answer.body);
    tenant.finish().await;
}

#[tokio::test]
async fn a_cursor_stays_where_it_is_while_others_write() {
    let stack = Stack::load();
    let tenant = stack.tenant("cursors", &[]).await;
    let owner = tenant.owner();
    settle(&stack, &tenant).await;
    some_entries(&tenant, 30).await;
    let before = stored(&stack, &tenant).await.1.len() as u64;
    let done = Cell::new(false);
    let write = async {
        let mut written = 0;
        while !done.get() {
            some_entries(&tenant, 1).await;
            written += 1;
        }
        written
    };
    let read = async {
        let (mut seen, mut pages) = (Vec::new(), 0);
        let mut path = "/v1/audit?limit=3".to_owned();
        loop {
            let page = owner.get(&path).await.expect(200).json();
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|item| item["seq"].as_u64().unwrap()));
            pages += 1;
            match page["next_cursor"].as_str() {
                Some(next) => path = format!("/v1/audit?limit=3&cursor={next}"),
                None => break,
            }
        }
        done.set(true);
        (seen, pages)
    };
    let (written, (seen, pages)) = futures::join!(write, read);
    assert!(written > 1 && pages > 10, "{written} entries were written during {pages} pages");
    // From the newest that the first page had to the first of all, each once.
    let newest = seen[0];
    assert!(newest + 1 >= before, "{newest} of {before}");
    assert_eq!(seen, (0..=newest).rev().collect::<Vec<u64>>());
    tenant.finish().await;
}
