//! The isolation probe: it tries every read route between the canaries, and what
//! it finds, or cannot prove, is on the public page.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::TryStreamExt;
use keystone::auth::{Grant, Role};
use keystone::clock;
use keystone::http::Method;
use keystone::tenant::TenantId;
use keystone_tests::breach::notify;
use keystone_tests::routes::{self, Listed};
use keystone_tests::{Stack, stack};
use keystone_trust::isolation::{PROBE, Reach, reach};
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

const POSTURE: &str = "/v1/trust/posture";
/// What is claimed of the isolation of tenants.
const CONTROLS: [&str; 2] = ["C2.1", "C2.2"];
const CHECK: &str = "isolation-probe";

fn read_routes() -> Vec<Listed> {
    let guarded = routes::all().into_iter().filter(|listed| listed.permission.is_some());
    guarded.filter(|listed| listed.spec.method == Method::Get).collect()
}

#[test]
fn the_probe_tries_every_read_route_but_what_its_role_may_not_read() {
    let routes = read_routes();
    assert!(!routes.is_empty());
    for listed in routes {
        let Listed { spec, permission, .. } = listed;
        let how = reach(spec.path);
        assert!(how.is_some(), "the probe does not know how to try {}", spec.name);
        let denied = permission.is_some_and(|of| of.grant(Role::Admin) == Grant::Denied);
        assert_eq!(how == Some(Reach::Refused), denied, "{}", spec.name);
    }
}

/// What a run of the probe says, be it a failure.
async fn probe(stack: &Stack) -> Value {
    stack.aws().invoke_to_the_end(&stack.function("probe-isolation"), &json!({})).await
}

async fn collection(stack: &Stack, database: &str, name: &str) -> Collection<Document> {
    stack.database().await.database(database).collection(name)
}

async fn count(stack: &Stack, canary: &TenantId, name: &str) -> u64 {
    let all = collection(stack, &format!("t_{canary}"), name).await;
    all.count_documents(doc! {}).await.unwrap()
}

/// The outcome of the newest run in the provider's trail.
async fn last_outcome(stack: &Stack) -> String {
    let entries = collection(stack, "t_keystone_audit", "entries").await;
    let runs = entries.find(doc! { "entry.action": PROBE }).sort(doc! { "_id": -1 }).limit(1);
    let runs: Vec<Document> = runs.await.unwrap().try_collect().await.unwrap();
    runs[0].get_document("entry").unwrap().get_str("outcome").unwrap().to_owned()
}

/// What the posture says of the probe after it looked again: the result, once
/// for each control, with the control's status.
async fn published(stack: &Stack) -> Vec<(String, Value)> {
    let event = json!({ "operator": "test-operator" });
    stack.aws().invoke(&stack.function("check-posture"), &event).await;
    let shown = stack.client().request("GET", POSTURE).header("accept", "application/json");
    let shown = shown.send().await.expect(200).json();
    let of = |id: &str| {
        let controls = shown["controls"].as_array().unwrap();
        let control = controls.iter().find(|control| control["id"] == id).unwrap();
        let results = control["results"].as_array().unwrap();
        let result = results.iter().find(|result| result["check"] == CHECK).unwrap();
        (control["status"].as_str().unwrap().to_owned(), result.clone())
    };
    CONTROLS.map(of).to_vec()
}

async fn set_state(stack: &Stack, canary: &TenantId, state: &str) {
    let tenants = collection(stack, "keystone_control", "tenants").await;
    let to = doc! { "$set": { "state": state } };
    let done = tenants.update_one(doc! { "_id": canary.as_str() }, to).await.unwrap();
    assert_eq!(done.matched_count, 1);
}

/// What no product of a canary has: the number of the one that leaks.
const LEAKED: &str = "9521234500032";

/// Takes back what [`leak`] and [`set_state`] do, also of a run that died.
async fn mend(stack: &Stack) {
    for canary in &TenantId::canaries() {
        let products = collection(stack, &format!("t_{canary}"), "products").await;
        products.delete_many(doc! { "gtin": LEAKED }).await.unwrap();
        set_state(stack, canary, "active").await;
    }
}

/// Puts a copy of the product of one canary into the other's database, as code
/// would that opened the wrong one.
async fn leak(stack: &Stack, from: &TenantId, into: &TenantId) {
    let products = collection(stack, &format!("t_{from}"), "products").await;
    let mut product = products.find_one(doc! {}).await.unwrap().unwrap();
    product.insert("tenant_id", into.as_str());
    // The other has a product with the same number.
    product.insert("gtin", LEAKED);
    let theirs = collection(stack, &format!("t_{into}"), "products").await;
    theirs.insert_one(product).await.unwrap();
}

/// One test, since there are two canaries and they are the stack's.
#[tokio::test]
async fn what_crosses_the_boundary_is_found_and_published() {
    let stack = Stack::load();
    let [one, two] = TenantId::canaries();
    mend(&stack).await;
    // The only thing that no user of theirs can make.
    let exercise = stack::root().join("infra/canary-exercise.json");
    let mut exercise: Value =
        serde_json::from_str(&std::fs::read_to_string(exercise).unwrap()).unwrap();
    exercise["confirmed_at"] = json!(clock::now());
    notify(&stack, "BreachConfirmed", &exercise).await;

    let clean = probe(&stack).await;
    assert_eq!((&clean["crossed"], &clean["unproven"]), (&json!([]), &json!([])), "{clean}");
    assert_eq!(clean["routes"], read_routes().len());
    assert_eq!(last_outcome(&stack).await, "success");
    for (_, result) in published(&stack).await {
        assert_eq!(result["result"], "pass", "{result}");
        // When the probe saw it, and not when somebody read of it.
        assert_eq!(result["checked_at"], result["facts"]["checked_at"], "{result}");
    }

    // Broken for real: canary-one's product is found where canary-two looks.
    leak(&stack, &one, &two).await;
    let crossed = probe(&stack).await;
    mend(&stack).await;
    let said = crossed["errorMessage"].as_str().unwrap_or_else(|| panic!("{crossed}"));
    let (shown, unproven) = said.split_once("Not proved").unwrap();
    assert!(shown.contains("get-product") && shown.contains("list-products"), "{said}");
    assert!(!shown.contains("batch") && !unproven.contains("list-"), "{said}");
    for (status, result) in published(&stack).await {
        assert_eq!((status.as_str(), &result["result"]), ("degraded", &json!("fail")));
        // Which route it is tells whoever looks for a way in.
        assert!(!result.to_string().contains("product"), "{result}");
    }

    // Who is not let in proves nothing.
    set_state(&stack, &two, "suspended").await;
    let incomplete = probe(&stack).await;
    mend(&stack).await;
    let said = incomplete["errorMessage"].as_str().unwrap_or_else(|| panic!("{incomplete}"));
    let (shown, unproven) = said.split_once("Not proved").unwrap();
    assert!(shown.contains("{}") && unproven.contains("login"), "{said}");
    assert_eq!(last_outcome(&stack).await, "failed");

    // Mended. What the canaries own was made once, and nobody stays signed in.
    let clean = probe(&stack).await;
    assert_eq!((&clean["crossed"], &clean["unproven"]), (&json!([]), &json!([])), "{clean}");
    for (_, result) in published(&stack).await {
        assert_eq!(result["result"], "pass", "{result}");
    }
    let sessions = stack.aws().items(stack.value("SESSION_TABLE")).await;
    for canary in [&one, &two] {
        for name in ["products", "batches", "recalls", "captures", "incidents", "audit_exports"] {
            assert_eq!(count(&stack, canary, name).await, 1, "{name} of {canary}");
        }
        assert!(!sessions.contains(canary.as_str()), "the probe is signed in to {canary}");
    }
}

/// The canaries are no customers: nobody makes or closes one by hand.
#[tokio::test]
async fn canaries_are_made_by_nobody_else_and_stay() {
    let stack = Stack::load();
    let [one, _] = TenantId::canaries();
    let person = json!({ "name": "Orla Byrne", "email": "orla@canary.example" });
    let new = json!({
        "operator": "test-operator", "tenant": one, "legal_name": "Mine Ltd", "country": "IE",
        "contacts": { "primary": person }, "super_admin": person,
    });
    let provision = stack.value("PROVISION_TENANT_FUNCTION");
    let refused = stack.aws().invoke_to_the_end(provision, &new).await;
    assert!(refused["errorMessage"].as_str().unwrap().contains("Is reserved."), "{refused}");
    let close = json!({
        "operator": "test-operator", "tenant": one, "action": "begin", "reason": "By mistake.",
    });
    let refused = stack.aws().invoke_to_the_end(stack.value("CLOSE_TENANT_FUNCTION"), &close).await;
    assert_eq!(refused["errorType"], "not-found", "{refused}");
}
