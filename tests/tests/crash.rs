//! SIGKILL in the middle of audited writes: a change and its audit entry are
//! there both, or neither is.
//!
//! A transaction whose process died stays open until the server's lifetime
//! limit, a minute by default, and holds up the tenant's other writes until
//! then. The test ends it at once by ending all sessions, as an operator can,
//! which is why it runs alone (see .config/nextest.toml).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use futures::TryStreamExt;
use keystone::auth::Role;
use keystone_tests::event::Event;
use keystone_tests::runtime_api::{Function, Response, build_directory};
use keystone_tests::trail::Trail;
use keystone_tests::{Stack, Tenant, samples, stack};
use mongodb::bson::{Document, doc};
use serde_json::json;
use tokio::time::Instant;

/// Processes killed, of each of two functions.
const KILLS: usize = 40;

#[tokio::test]
async fn a_change_and_its_entry_survive_together_or_not_at_all() {
    let stack = Stack::load();
    let tenant = stack.tenant("crash", &[Role::OpsUser]).await;
    let creations = kill_creations(&stack, &tenant).await;
    let updates = kill_updates(&stack, &tenant).await;

    let trail = Trail::read(&stack, tenant.slug()).await;
    trail.verify();
    let recorded = |action: &str| -> Vec<String> {
        let of_action = trail.entries.iter().filter(|entry| entry.action == action);
        of_action.map(|entry| entry.resource.id.clone()).collect()
    };

    let products = ids(&stack, &tenant, "products").await;
    let created = recorded("product.create");
    assert_eq!(created.iter().cloned().collect::<HashSet<_>>(), products);
    assert_eq!(created.len(), products.len(), "no product was recorded twice");

    let version = version_of(&stack, &tenant, &updates.batch).await;
    assert_eq!(recorded("batch.update").len(), usize::try_from(version - 1).unwrap());

    // Kills came both before and after the commit; otherwise they prove nothing.
    let committed: HashSet<&str> =
        trail.entries.iter().map(|entry| entry.request_id.as_str()).collect();
    for (what, killed) in [("create", &creations.killed), ("update", &updates.killed)] {
        let survived = killed.iter().filter(|id| committed.contains(id.as_str())).count();
        println!("{what}: of {} killed, {survived} had committed", killed.len());
        assert!((1..killed.len()).contains(&survived), "{what}: {survived} of {}", killed.len());
    }
    for request in creations.all().chain(updates.all()) {
        if committed.contains(request.as_str()) {
            tenant.vouch_for(request);
        }
    }
    tenant.finish().await;
}

/// Ids of the requests that were sent to functions.
#[derive(Default)]
struct Sent {
    /// Answered before the process was killed.
    answered: Vec<String>,
    /// Under way when it was.
    killed: Vec<String>,
    /// What was changed.
    batch: String,
}

impl Sent {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.answered.iter().chain(&self.killed)
    }
}

async fn kill_creations(stack: &Stack, tenant: &Tenant<'_>) -> Sent {
    let environment = stack.environment("create-product").await;
    let event = || {
        Event::new("POST", "/v1/products", &[], stack::address())
            .token(tenant.user(Role::OpsUser).token())
            .json(&samples::product())
    };
    let mut sent = Sent::default();
    for _ in 0..KILLS {
        let mut function = start("create-product", &environment).await;
        // The second request is the quick one of a warm process; it tells
        // within which time the third will have committed.
        let mut took = Duration::ZERO;
        for _ in 0..2 {
            let warm = event();
            let (answer, time) = request(stack, &mut function, &warm).await;
            took = time;
            assert_eq!(answer.status, 201, "after {} kills: {}", sent.killed.len(), answer.body);
            sent.answered.push(warm.request_id());
        }
        let last = event();
        function.begin(last.as_json()).await;
        function.kill_after(random_part_of(took)).await;
        end_orphans(stack).await;
        sent.killed.push(last.request_id());
    }
    sent
}

async fn kill_updates(stack: &Stack, tenant: &Tenant<'_>) -> Sent {
    let ops_user = tenant.user(Role::OpsUser);
    let product = ops_user.post("/v1/products", &samples::product()).await.expect(201).id();
    let batch = ops_user.post("/v1/batches", &samples::batch(&product)).await.expect(201).id();
    let environment = stack.environment("update-batch").await;
    let event = |n: usize, version: i64| {
        let change = json!({ "quantity": { "value": format!("{n}.5"), "unit": "KGM" } });
        Event::new("PATCH", "/v1/batches/{id}", &[("id", &batch)], stack::address())
            .token(ops_user.token())
            .header("If-Match", &format!("\"{version}\""))
            .json(&change)
    };
    let mut sent = Sent::default();
    for n in 0..KILLS {
        let mut function = start("update-batch", &environment).await;
        let mut took = Duration::ZERO;
        for _ in 0..2 {
            let warm = event(n, version_of(stack, tenant, &batch).await);
            let (answer, time) = request(stack, &mut function, &warm).await;
            took = time;
            assert_eq!(answer.status, 200, "after {} kills: {}", sent.killed.len(), answer.body);
            sent.answered.push(warm.request_id());
        }
        let last = event(n, version_of(stack, tenant, &batch).await);
        function.begin(last.as_json()).await;
        function.kill_after(random_part_of(took)).await;
        end_orphans(stack).await;
        sent.killed.push(last.request_id());
    }
    sent.batch = batch;
    sent
}

async fn start(name: &str, environment: &BTreeMap<String, String>) -> Function {
    Function::start(&build_directory().join(name), environment).await
}

/// The answer to a request, and how long it took. What a killed process had
/// sent may have begun its transaction after the others were ended; that one
/// then keeps the head of the trail, and the answer is 503 with nothing done.
async fn request(stack: &Stack, function: &mut Function, event: &Event) -> (Response, Duration) {
    let mut begun = Instant::now();
    let mut answer = function.request(event).await;
    if answer.status == 503 {
        end_orphans(stack).await;
        begun = Instant::now();
        answer = function.request(event).await;
    }
    (answer, begun.elapsed())
}

/// Ends the transactions that killed processes left open.
async fn end_orphans(stack: &Stack) {
    let admin = stack.database().await.database("admin");
    admin.run_command(doc! { "killAllSessions": [] }).await.unwrap();
}

/// A random time up to a fifth more than `took`, to the microsecond.
fn random_part_of(took: Duration) -> Duration {
    took.mul_f64(1.2 * f64::from(u16::from_be_bytes(stack::random())) / f64::from(u16::MAX))
}

async fn ids(stack: &Stack, tenant: &Tenant<'_>, collection: &str) -> HashSet<String> {
    let found: Vec<Document> = stack
        .database()
        .await
        .database(&format!("t_{}", tenant.slug()))
        .collection(collection)
        .find(doc! {})
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    found.iter().map(|document| document.get_str("_id").unwrap().to_owned()).collect()
}

async fn version_of(stack: &Stack, tenant: &Tenant<'_>, batch: &str) -> i64 {
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    let found = database.collection::<Document>("batches").find_one(doc! { "_id": batch }).await;
    found.unwrap().unwrap().get_i64("version").unwrap()
}
