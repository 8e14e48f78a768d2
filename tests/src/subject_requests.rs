//! Requests of people about their data, as an administrator handles them, and
//! what people leave behind in a tenant.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use jiff::civil::Date;
use keystone::audit::merkle::Hash;
use keystone::{calendar, clock};
use serde_json::{Value, json};

use crate::dairy::Dairy;
use crate::{Answer, Client, Stack, Tenant, samples};

/// Where requests of people are.
pub const PATH: &str = "/v1/data-subject-requests";

/// The day that it is now, where deadlines are counted.
pub fn today() -> Date {
    calendar::day_of(clock::now())
}

/// A request of this kind about this person, received today.
pub fn request(kind: &str, person: &str, id: &str) -> Value {
    json!({
        "kind": kind, "received_on": today(), "channel": "letter",
        "subject": { "kind": person, "id": id },
        "requester": { "name": "Siobhan Xylander", "contact": "siobhan@xylander.example" },
        "description": "Everything you know of me, please",
    })
}

/// Opens such a request.
pub async fn opened(client: &Client, kind: &str, person: &str, id: &str) -> Answer {
    client.post(PATH, &request(kind, person, id)).await.expect(201)
}

/// A step: who asks was checked, with this result.
pub fn checked(result: &str) -> Value {
    json!({ "identity": { "method": "known_contact", "result": result, "on": today() } })
}

/// A step: it ends in this state, refused on this ground if it is.
pub fn ending(state: &str, refused: Option<&str>) -> Value {
    let mut ending = json!({ "answer": "Done as you asked, Siobhan", "told_on": today() });
    if let Some(ground) = refused {
        ending["refused"] = ground.into();
    }
    json!({ "state": state, "ending": ending })
}

/// A request that is being answered: its path and version.
pub async fn in_progress(client: &Client, kind: &str, person: &str, id: &str) -> (String, String) {
    let answer = opened(client, kind, person, id).await;
    let path = format!("{PATH}/{}", answer.id());
    let mut step = checked("confirmed");
    step["state"] = "in_progress".into();
    let etag = client.patch(&path, &answer.etag(), &step).await.expect(200).etag();
    (path, etag)
}

/// A bundle as the person gets it: what the API said, and the files in it.
pub async fn bundle(
    stack: &Stack,
    client: &Client,
    path: &str,
) -> (Value, BTreeMap<String, Vec<u8>>) {
    let view = client.post(&format!("{path}/bundle"), &json!({})).await.expect(201).json();
    let url = view["url"].as_str().expect("a link");
    assert!(url.contains("X-Amz-Expires=300&") && url.contains("/subject-bundles/"), "{url}");
    let (status, bytes) = stack.aws().fetch(url).await;
    assert_eq!((status, &view["size"]), (200, &json!(bytes.len())));
    assert_eq!(view["sha256"], Hash::of(&[&bytes]).to_string());
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).expect("a ZIP");
    let names: Vec<String> =
        zip.file_names().map(|name| name.expect("text").into_owned()).collect();
    let mut files = BTreeMap::new();
    for name in names {
        let mut file = Vec::new();
        let mut member = zip.by_name(&name).expect("it has it");
        member.read_to_end(&mut file).expect("it is whole");
        files.insert(name, file);
    }
    (view, files)
}

/// Everything that a user can leave behind, but for what only an erasure does.
pub async fn leave_traces(stack: &Stack, tenant: &Tenant<'_>, ada: &Client, dairy: &Dairy) {
    let (owner, email) = (tenant.owner(), tenant.address_of("ada"));
    // A contact of the tenant, who forgot the password.
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let contact = json!({ "name": "Ada Xylander", "email": email });
    let change = json!({ "contacts": { "billing": contact } });
    owner.patch("/v1/tenant", &etag, &change).await.must(200);
    let forgotten = json!({ "tenant": tenant.slug(), "email": email });
    tenant.stranger().post("/v1/auth/password-reset", &forgotten).await.must(204);
    assert!(stack.mails_after_drain(&email, "password-reset").await);
    // Words of their own.
    let event = ada.post("/v1/events", &samples::event()).await.expect(201);
    let event = event.header("location").expect("where it is").to_owned();
    let status = ada.request("POST", &format!("{event}/status")).header("if-match", "\"1\"");
    let status = status.json(&json!({ "to": "submitted", "reason": "Ada saw the lorry" }));
    status.send().await.must(200);
    let recall = json!({
        "kind": "exercise", "hazard": "other", "reason": "Ada rehearses",
        "lots": [dairy.packs[0]], "upstream": true,
    });
    let recall = ada.post("/v1/recalls", &recall).await.expect(201).id();
    let told = json!({
        "recipient": dairy.customers[0], "kind": "notified", "channel": "phone",
        "contact": "Customer's Clerk", "note": "Customer's words",
    });
    ada.post(&format!("/v1/recalls/{recall}/notices"), &told).await.must(201);
    ada.post(&format!("/v1/recalls/{recall}/pack"), &json!({})).await.must(201);
    let etag = ada.get(&format!("/v1/recalls/{recall}")).await.expect(200).etag();
    let close = ada.request("POST", &format!("/v1/recalls/{recall}/close"));
    let close = close.header("if-match", &etag).json(&json!({ "conclusion": "Ada is content" }));
    close.send().await.must(200);
    let review = json!({
        "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z",
        "statement": "Ada read all of it", "findings": [],
    });
    ada.post("/v1/audit/reviews", &review).await.must(201);
    let export = json!({ "format": "csv", "filter": { "action": "user.invite" } });
    ada.post("/v1/audit/exports", &export).await.must(202);
    opened(ada, "objection", "customer", &dairy.customers[3]).await;
}
