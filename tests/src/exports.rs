//! Exports of the audit trail, as somebody who wants one uses them.

use std::path::PathBuf;
use std::time::Duration;

use keystone::audit::bundle::{Shown, verify};
use keystone::audit::merkle::Hash;
use keystone::audit::note::VerifierKey;
use mongodb::bson::{DateTime, Document, doc};
use serde_json::{Value, json};

use crate::event::Event;
use crate::runtime_api::{Function, build_directory};
use crate::verdicts::keystone_verify;
use crate::{Client, Stack, Tenant, stack};

/// A fetched volume.
pub struct Fetched {
    /// Name of the file.
    pub name: String,
    /// Its content, of the length and hash that the API named.
    pub bytes: Vec<u8>,
    /// What the API said of it.
    pub view: Value,
}

/// The event that hands the message for an export to its worker.
pub fn message(tenant: &str, export: &str) -> Value {
    let body = json!({ "tenant": tenant, "export": export }).to_string();
    json!({ "Records": [{ "messageId": "1", "eventSource": "aws:sqs", "body": body }] })
}

/// Asks for an export; gives its id.
pub async fn ask(client: &Client, format: &str, filter: &Value) -> String {
    let wanted = json!({ "format": format, "filter": filter });
    let asked = client.post("/v1/audit/exports", &wanted).await.expect(202);
    let id = asked.id();
    assert_eq!(asked.header("location"), Some(format!("/v1/audit/exports/{id}").as_str()));
    assert_eq!(asked.json()["state"], "queued", "{asked}");
    id
}

/// Asks for an export of everything that no deployed worker takes up; gives its
/// id.
pub async fn ask_unseen(stack: &Stack, tenant: &Tenant<'_>, format: &str) -> String {
    ask_unseen_for(stack, tenant, format, &json!({})).await
}

/// Asks for an export that no deployed worker takes up, since its message goes
/// to a queue that does not exist; gives its id.
pub async fn ask_unseen_for(
    stack: &Stack,
    tenant: &Tenant<'_>,
    format: &str,
    filter: &Value,
) -> String {
    let mut environment = stack.environment("create-audit-export").await;
    let lost = format!("{}-lost", stack.value("EXPORT_QUEUE"));
    environment.insert("EXPORT_QUEUE".into(), lost);
    let binary = build_directory().join("create-audit-export");
    let mut function = Function::start(&binary, &environment).await;
    let event = Event::new("POST", "/v1/audit/exports", &[], stack::address())
        .token(tenant.owner().token())
        .json(&json!({ "format": format, "filter": filter }));
    let answer = function.request(&event).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    tenant.vouch_for(&event.request_id());
    answer.body["id"].as_str().expect("an id").to_owned()
}

/// A worker whose volumes hold at most so many entries.
pub async fn worker(stack: &Stack, most: u32) -> Function {
    let mut environment = stack.environment("run-audit-export").await;
    environment.insert("EXPORT_VOLUME_ENTRIES".into(), most.to_string());
    Function::start(&build_directory().join("run-audit-export"), &environment).await
}

/// Waits until the export is done and fetches its volumes.
///
/// It polls the list, which hands out no links and so leaves no entry.
pub async fn fetch(stack: &Stack, client: &Client, id: &str) -> Vec<Fetched> {
    for _ in 0..600 {
        let list = client.get("/v1/audit/exports?limit=100").await.expect(200).json();
        let mut items = list["items"].as_array().expect("a list").iter();
        let export = items.find(|item| item["id"] == id).expect("it is listed");
        match export["state"].as_str() {
            Some("done") => return fetch_done(stack, client, id).await,
            Some("failed" | "contradicted") => panic!("the export failed: {export}"),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("the export was not done within a minute");
}

/// Fetches the volumes of an export that is done.
pub async fn fetch_done(stack: &Stack, client: &Client, id: &str) -> Vec<Fetched> {
    let export = client.get(&format!("/v1/audit/exports/{id}")).await.expect(200).json();
    assert_eq!((&export["state"], &export["percent"]), (&json!("done"), &json!(100)), "{export}");
    let mut fetched = Vec::new();
    for file in export["files"].as_array().expect("files") {
        let url = file["url"].as_str().expect("a link");
        let (status, bytes) = stack.aws().fetch(url).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(file["size"], bytes.len());
        assert_eq!(file["sha256"], Hash::of(&[&bytes]).to_string());
        let name = file["name"].as_str().expect("a name").to_owned();
        fetched.push(Fetched { name, bytes, view: file.clone() });
    }
    fetched
}

/// The verifier keys of a tenant's trail, as the vendor publishes them.
pub async fn published_keys(tenant: &Tenant<'_>) -> Vec<String> {
    let path = format!("/v1/trust/audit-keys?tenant={}", tenant.slug());
    let listed = tenant.stranger().get(&path).await.expect(200).json();
    let keys = listed["keys"].as_array().expect("keys").iter();
    keys.map(|key| key.as_str().expect("text").to_owned()).collect()
}

/// Verifies bundles as an auditor does, with the keys that the vendor
/// publishes; gives the numbers of the entries that they prove, in order.
pub async fn proved(tenant: &Tenant<'_>, bundles: &[&[u8]]) -> Vec<u64> {
    let keys = published_keys(tenant).await;
    let keys: Vec<VerifierKey> = keys.iter().map(|key| key.parse().expect("a key")).collect();
    let mut numbers = Vec::new();
    for bundle in bundles {
        let verified = verify(*bundle, &keys, |shown| {
            if let Shown::Entry { seq, .. } = shown {
                numbers.push(seq);
            }
        });
        let verified =
            verified.unwrap_or_else(|error| panic!("the bundle proves nothing: {error}"));
        assert_eq!(verified.header.tenant, tenant.slug());
    }
    numbers
}

/// Exit code and words of `keystone-verify` on these volumes of an export, all at
/// once, as an auditor runs it with the keys that the vendor publishes.
pub async fn verify_together(
    stack: &Stack,
    tenant: &Tenant<'_>,
    format: &str,
    files: &[PathBuf],
) -> (Option<i32>, String) {
    let keys = published_keys(tenant).await;
    let mut arguments = vec![if format == "pdf" { "pdf" } else { "bundle" }];
    arguments.extend(files.iter().map(|file| file.to_str().expect("a path in UTF-8")));
    arguments.extend(keys.iter().flat_map(|key| ["--vkey", key.as_str()]));
    if format == "pdf" {
        arguments.extend(["--root", stack.value("ROOT_CA")]);
    }
    keystone_verify(&arguments)
}

/// The bytes of fetched volumes.
pub fn contents(volumes: &[Fetched]) -> Vec<&[u8]> {
    volumes.iter().map(|volume| volume.bytes.as_slice()).collect()
}

/// Lets the lease of a killed run end now instead of in minutes.
pub async fn end_lease(stack: &Stack, tenant: &Tenant<'_>, minutes_ago: i64) {
    let past = keystone::clock::now().as_millisecond() - minutes_ago * 60_000;
    let runs = stack.database().await.database(&format!("t_{}", tenant.slug()));
    runs.collection::<Document>("audit_export_runs")
        .update_many(doc! {}, doc! { "$set": { "free_at": DateTime::from_millis(past) } })
        .await
        .expect("it can be changed");
    // What the killed run left open would hold up the next one's writes.
    let admin = stack.database().await.database("admin");
    admin.run_command(doc! { "killAllSessions": [] }).await.expect("it can");
}

/// Finished volumes of an export.
pub async fn volumes_of(stack: &Stack, tenant: &Tenant<'_>, export: &str) -> usize {
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let exports = database.collection::<Document>("audit_exports");
    let found =
        exports.find_one(doc! { "_id": export }).await.expect("it answers").expect("there is one");
    found.get_array("files").expect("a list").len()
}
