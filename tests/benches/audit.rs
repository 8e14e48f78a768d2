//! What an audit entry costs a write, and what many writers of one tenant get
//! done. Needs the local stack (`make run`); `make bench` runs it.
//!
//! The writes go through the library and not through HTTP, since the emulator's
//! gateway takes far longer than they do. Each of the parallel writers has
//! clients of its own, as an execution environment has.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use keystone::audit::entry::{Actor, ActorKind};
use keystone::auth::throttle::{AccountKey, Purpose};
use keystone::config::{Config, Setting};
use keystone::platform::Platform;
use keystone::tenant::{Attribution, Tenant, WriteTx};
use keystone::{clock, random};
use keystone_tests::trail::Trail;
use keystone_tests::{Stack, samples, stack};
use keystone_traceability::product::Product;
use mongodb::bson::{DateTime, Document, doc};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes of each kind that are compared.
const COMPARED: usize = 300;
/// Parallel writers, and the writes of each.
const WRITERS: usize = 16;
const WRITES: usize = 125;

static RETRIES: AtomicU64 = AtomicU64::new(0);

/// Counts the transactions that are run again.
struct Retries;

impl Subscriber for Retries {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "keystone::tenant::write" && *metadata.level() == tracing::Level::DEBUG
    }
    fn event(&self, _: &Event<'_>) {
        RETRIES.fetch_add(1, Ordering::Relaxed);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::ThrottleTable];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let stack = Stack::load();
    if std::env::var_os("MONGODB_SECRET").is_none() {
        // The clients read the environment, as they do in Lambda.
        let mut again = Command::new(std::env::current_exe().expect("a program has a path"));
        again.envs(stack.environment("login").await);
        let done = again.status().expect("the program starts again");
        assert!(done.success());
        return;
    }
    tracing::subscriber::set_global_default(Retries).expect("there is no other");
    let made = stack.tenant("load", &[]).await;
    compare(&stack, made.slug()).await;
    crowd(&stack, made.slug()).await;
}

fn platform() -> Platform {
    Platform::new(Config::from_env(&SETTINGS).expect("the function's environment"))
}

/// The tenant by the door that a sign-in takes, each time from elsewhere.
async fn open(platform: &Platform, slug: &str) -> Tenant {
    let (now, address) = (clock::now(), stack::address());
    let throttle = platform.throttle().await.expect("the table is named");
    let account = AccountKey::new(slug, &address.to_string());
    let admission = throttle.admit(now, address, &account, Purpose::SignIn).await;
    let admission = admission.expect("nobody tried before");
    let registry = platform.registry(now).await.expect("the database answers");
    let found = registry.of_attempt(&admission, now).await.expect("its keys open");
    found.expect("the tenant is active")
}

fn by() -> Attribution {
    Attribution {
        actor: Actor {
            kind: ActorKind::User,
            id: random::id(clock::now()).expect("randomness").to_string(),
            role: Some("ops_user".into()),
            session: None,
        },
        source_ip: Some(stack::address()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0".into()),
        request_id: random::id(clock::now()).expect("randomness").to_string(),
        now: clock::now(),
    }
}

fn product() -> Product {
    Product {
        gtin: samples::gtin(),
        name: "Raw milk".into(),
        description: Some("Whole cow's milk, chilled".into()),
        animal_origin: true,
    }
}

async fn audited(tenant: &Tenant, by: &Attribution) {
    let (id, product) = (random::id(clock::now()).expect("randomness"), product());
    tenant
        .audited(by, "product.create", async |tx: &mut WriteTx<'_>| {
            tx.insert(id, product.clone()).await?;
            Ok(())
        })
        .await
        .expect("the write is made");
}

/// The same document in a transaction of its own, without head and entry.
async fn unaudited(client: &mongodb::Client, slug: &str) {
    let now = DateTime::from_millis(clock::now().as_millisecond());
    let product = product();
    let document = doc! {
        "_id": random::id(clock::now()).expect("randomness").to_string(),
        "tenant_id": slug,
        "version": 1_i64,
        "created_at": now,
        "updated_at": now,
        "gtin": product.gtin,
        "name": product.name,
        "description": product.description,
        "animal_origin": product.animal_origin,
    };
    let mut session = client.start_session().await.expect("a session");
    session.start_transaction().await.expect("a transaction");
    let products = client.database(&format!("t_{slug}")).collection::<Document>("products");
    products.insert_one(document).session(&mut session).await.expect("the write is made");
    session.commit_transaction().await.expect("it is committed");
}

/// By turns, so that both meet the same machine.
async fn compare(stack: &Stack, slug: &str) {
    let platform = platform();
    let tenant = open(&platform, slug).await;
    let client = stack.database().await;
    // One actor, whose keys are made by the first write.
    let by = by();
    audited(&tenant, &by).await;
    unaudited(client, slug).await;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..COMPARED {
        let begun = Instant::now();
        audited(&tenant, &by).await;
        with.push(begun.elapsed());
        let begun = Instant::now();
        unaudited(client, slug).await;
        without.push(begun.elapsed());
    }
    let (with, without) = (median(with), median(without));
    println!(
        "audited write {:.2} ms, unaudited {:.2} ms, ratio {:.2}",
        with.as_secs_f64() * 1e3,
        without.as_secs_f64() * 1e3,
        with.as_secs_f64() / without.as_secs_f64()
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

async fn crowd(stack: &Stack, slug: &str) {
    let before = Trail::read(stack, slug).await.entries.len();
    let platforms: Vec<Platform> = (0..WRITERS).map(|_| platform()).collect();
    let tenants = join_all(platforms.iter().map(|platform| open(platform, slug))).await;
    RETRIES.store(0, Ordering::Relaxed);
    let begun = Instant::now();
    join_all(tenants.iter().map(|tenant| async move {
        let by = by();
        for _ in 0..WRITES {
            audited(tenant, &by).await;
        }
    }))
    .await;
    let took = begun.elapsed();
    let trail = Trail::read(stack, slug).await;
    trail.verify();
    let written = trail.entries.len() - before;
    assert_eq!(written, WRITERS * WRITES, "every write left its entry");
    println!(
        "{WRITERS} writers of one tenant, {written} writes in {:.1} s: {:.0} a second, {} run again; \
         numbers dense, tree verified",
        took.as_secs_f64(),
        f64::from(u32::try_from(written).unwrap_or(u32::MAX)) / took.as_secs_f64(),
        RETRIES.load(Ordering::Relaxed)
    );
}
