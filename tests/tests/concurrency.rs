//! Two requests at once, or the same one twice.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::future::join_all;
use keystone_tests::{Client, Stack, Tenant, samples};
use serde_json::{Value, json};

/// Posts under an idempotency key.
async fn post(client: &Client, key: &str, path: &str, body: &Value) -> keystone_tests::Answer {
    client.request("POST", path).header("idempotency-key", key).json(body).replayed().send().await
}

/// The one audit entry about `id`, whose request the harness then expects.
async fn vouch_for_the_only_entry(tenant: &Tenant<'_>, id: &str) {
    let found = tenant.owner().get(&format!("/v1/audit?resource_id={id}")).await.expect(200).json();
    let entries = found["items"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{found}");
    tenant.vouch_for(entries[0]["request_id"].as_str().unwrap());
}

#[tokio::test]
async fn a_repeated_request_is_done_once() {
    let stack = Stack::load();
    let (tenant, other) =
        futures::join!(stack.tenant("repeated", &[]), stack.tenant("another", &[]));
    let owner = tenant.owner();
    let product = samples::product();

    let first = post(owner, "key-1", "/v1/products", &product).await.expect(201);
    let again = post(owner, "key-1", "/v1/products", &product).await.expect(201);
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("etag"), again.header("etag"));
    assert_eq!(first.header("location"), again.header("location"));
    vouch_for_the_only_entry(&tenant, &first.id()).await;

    // Another request under the key is refused; under another key, or by
    // another tenant, the key is free.
    post(owner, "key-1", "/v1/products", &samples::product()).await.must(409);
    post(owner, "key-2", "/v1/products", &product).await.must(409);
    let elsewhere = post(other.owner(), "key-1", "/v1/products", &product).await.expect(201);
    vouch_for_the_only_entry(&other, &elsewhere.id()).await;
    for key in ["", "a b", &"k".repeat(256)] {
        post(owner, key, "/v1/products", &samples::product()).await.must(422);
    }

    // At once: one is done, the others get its answer.
    let product = samples::product();
    let answers = join_all((0..4).map(|_| post(owner, "key-3", "/v1/products", &product))).await;
    for answer in &answers {
        answer.must(201);
        assert_eq!(answer.body, answers[0].body);
    }
    vouch_for_the_only_entry(&tenant, &answers[0].id()).await;
    other.finish().await;
    tenant.finish().await;
}

#[tokio::test]
async fn no_update_is_lost() {
    let stack = Stack::load();
    let tenant = stack.tenant("updates", &[]).await;
    let owner = tenant.owner();
    let product = owner.post("/v1/products", &samples::product()).await.expect(201).id();
    let batch = owner.post("/v1/batches", &samples::batch(&product)).await.expect(201);
    let path = format!("/v1/batches/{}", batch.id());

    let blind = owner.request("PATCH", &path).json(&json!({ "origin": "FR" })).send().await;
    blind.must(428);
    for stale in ["\"2\"", "\"0\"", "\"-1\"", "1", "W/\"1\"", "\"x\"", "\"99999999999999999999\""] {
        owner.patch(&path, stale, &json!({ "origin": "FR" })).await.must(412);
    }
    // Of several who read the same version, one succeeds.
    let change = |country: &str| json!({ "origin": country });
    let countries = ["FR", "DE", "ES", "IT"];
    let bodies: Vec<Value> = countries.iter().map(|country| change(country)).collect();
    let etag = batch.etag();
    let answers = join_all(bodies.iter().map(|body| owner.patch(&path, &etag, body))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412]);
    let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
    assert_eq!(owner.get(&path).await.expect(200).json(), winner.json());

    // What was withdrawn stays so, and a lot number is taken once.
    let withdrawn =
        owner.patch(&path, &winner.etag(), &json!({ "state": "withdrawn" })).await.expect(200);
    owner.patch(&path, &withdrawn.etag(), &json!({ "state": "available" })).await.must(409);
    let mut twin = samples::batch(&product);
    twin["lot_number"] = batch.json()["lot_number"].clone();
    owner.post("/v1/batches", &twin).await.must(409);
    tenant.finish().await;
}

#[tokio::test]
async fn parallel_writes_of_a_tenant_all_succeed() {
    let stack = Stack::load();
    let tenant = stack.tenant("parallel", &[]).await;
    let products: Vec<Value> = (0..12).map(|_| samples::product()).collect();
    let owner = tenant.owner();
    for answer in join_all(products.iter().map(|body| owner.post("/v1/products", body))).await {
        answer.must(201);
    }
    keystone_tests::trail::Trail::read(&stack, tenant.slug()).await.verify();
    tenant.finish().await;
}
