//! Queries of a long audit trail: `list-audit-entries` answers each filter, and
//! the database explains the very commands that it was sent. Each must read by an
//! index, by all branches of its plan, and look at little of the trail; each page
//! must have the entries that there are. Where pages may be empty, what is timed
//! is the way to the first that is not, or to the end. Prints a Markdown table.
//! Needs the local stack (`make run`); `KEYSTONE_AUDIT_ENTRIES` is the length of
//! the trail, 1,000,000 unless given:
//! `cargo bench -p keystone-tests --bench audit_query`.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use futures::TryStreamExt;
use jiff::SignedDuration;
use keystone_tests::event::Event;
use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::{Stack, Tenant, bulk, samples, stack};
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};
use tokio::time::Instant;

/// Requests for each filter, after two that do not count.
const REQUESTS: usize = 100;
/// Entries in a page, unless the request says otherwise.
const PAGE: usize = 50;
/// From so many entries on every filter here that finds anything fills its page.
const FULL: u64 = 300_000;
/// Entries from one address, the oldest of the trail.
const FROM_ADDRESS: usize = 60;
/// The most that one command may look at. A walk of a whole index of a long trail
/// looks at more.
const MOST_EXAMINED: i64 = 30_000;

/// A filter with the number of entries that a full page of it has.
struct Row(&'static str, usize, Vec<(&'static str, String)>);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    build();
    let stack = Stack::load();
    let entries = std::env::var("KEYSTONE_AUDIT_ENTRIES").unwrap_or_default();
    let entries: u64 = entries.parse().unwrap_or(1_000_000);
    let tenant = stack.tenant("queries", &[]).await;
    let address = stack::address();
    come_from(&stack, &tenant, address).await;
    bulk::grow(&stack, tenant.slug(), entries).await;
    let database = stack.database().await.database(&format!("t_{}_audit", tenant.slug()));
    let mut function = Function::start(
        &build_directory().join("list-audit-entries"),
        &stack.environment("list-audit-entries").await,
    )
    .await;

    println!("Trail of {entries} entries; {REQUESTS} requests for each filter.");
    println!("| filter | entries in the page | requests | p50 | p99 | looked at | plan |");
    println!("|---|---|---|---|---|---|---|");
    for Row(name, full, filter) in rows(&mut function, &tenant, entries, address).await {
        let filter: Vec<(&str, &str)> =
            filter.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let page = page_of(&mut function, &tenant, &filter).await;
        assert!(page.found == full || entries < FULL, "{name} finds {} entries", page.found);
        let (plans, examined) =
            plans(&database, async || page_of(&mut function, &tenant, &filter).await).await;
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            times.push(page_of(&mut function, &tenant, &filter).await.took);
        }
        times.sort_unstable();
        println!(
            "| {name} | {} | {} | {} | {} | {examined} | {} |",
            page.found,
            page.requests,
            shown(times[REQUESTS / 2 - 1]),
            shown(times[REQUESTS * 99 / 100 - 1]),
            plans.into_iter().collect::<Vec<_>>().join(", ")
        );
    }
    tenant.close().await;
}

/// Each filter, alone and with others.
async fn rows(
    function: &mut Function,
    tenant: &Tenant<'_>,
    entries: u64,
    address: IpAddr,
) -> Vec<Row> {
    let ago = |hours| (keystone::clock::now() - SignedDuration::from_hours(hours)).to_string();
    let oldest = i64::try_from(entries / 3600).expect("a short trail");
    let second = ask(function, tenant, &[("limit", "100")]).await.1;
    // As `bulk` makes them: every fifth entry is a `batch.update`, every twentieth
    // of this actor, and those are all `product.create`.
    let actor = || ("actor", "0199aaaa-0000-7000-8000-000000000007".to_owned());
    let resource = || ("resource_id", "0199bbbb-0000-7000-8000-000000000035".to_owned());
    let action = |action: &str| ("action", action.to_owned());
    let batches = || ("resource_type", "batch".to_owned());
    let hour = || [("from", ago(oldest / 2)), ("to", ago(oldest / 2 - 1))];
    let with_hour =
        |member| -> Vec<(&'static str, String)> { hour().into_iter().chain([member]).collect() };
    vec![
        Row("none", PAGE, vec![]),
        Row("none, second page", PAGE, vec![("cursor", second)]),
        Row("actor (1 in 20)", PAGE, vec![actor()]),
        Row("action (1 in 5)", PAGE, vec![action("batch.update")]),
        Row("resource_type (2 in 5)", PAGE, vec![batches()]),
        Row("resource_id (1 in 5,000)", PAGE, vec![resource()]),
        Row("resource_type, resource_id (1 in 5,000)", PAGE, vec![batches(), resource()]),
        Row("from, to (an old hour)", PAGE, hour().into()),
        Row("ip (the oldest entries)", PAGE, vec![("ip", address.to_string())]),
        Row("actor, action (1 in 20)", PAGE, vec![actor(), action("product.create")]),
        Row("actor, action (none in all)", 0, vec![actor(), action("batch.update")]),
        Row("action, from, to (1 in 5 of an old hour)", PAGE, with_hour(action("batch.update"))),
        Row("actor, from, to (none in an old hour)", 0, {
            let other = ("actor", "0199aaaa-0000-7000-8000-000000000099".to_owned());
            with_hour(other)
        }),
    ]
}

/// Entries of the owner from this address.
async fn come_from(stack: &Stack, tenant: &Tenant<'_>, address: IpAddr) {
    let mut create = Function::start(
        &build_directory().join("create-product"),
        &stack.environment("create-product").await,
    )
    .await;
    for _ in 0..FROM_ADDRESS {
        let event = Event::new("POST", "/v1/products", &[], address)
            .token(tenant.owner().token())
            .json(&samples::product());
        let answer = create.request(&event).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
}

/// What the requests gave that lead to the first entries, or to the end.
struct Page {
    found: usize,
    requests: usize,
    took: Duration,
}

/// Follows the cursor over pages without entries.
async fn page_of(function: &mut Function, tenant: &Tenant<'_>, filter: &[(&str, &str)]) -> Page {
    let mut page = Page { found: 0, requests: 0, took: Duration::ZERO };
    let mut cursor = String::new();
    loop {
        let mut query = filter.to_vec();
        if page.requests > 0 {
            query.push(("cursor", &cursor));
        }
        let (found, next, took) = ask(function, tenant, &query).await;
        page.requests += 1;
        page.took += took;
        page.found = found;
        if found > 0 || next.is_empty() {
            return page;
        }
        cursor = next;
    }
}

/// A request: how many entries it gave, its cursor, and how long it took.
async fn ask(
    function: &mut Function,
    tenant: &Tenant<'_>,
    query: &[(&str, &str)],
) -> (usize, String, Duration) {
    let event = Event::new("GET", "/v1/audit", &[], stack::address())
        .token(tenant.owner().token())
        .query(query);
    let begun = Instant::now();
    let answer = function.request(&event).await;
    let took = begun.elapsed();
    assert_eq!(answer.status, 200, "{query:?}: {}", answer.body);
    let next = answer.body["next_cursor"].as_str().unwrap_or_default().to_owned();
    (answer.body["items"].as_array().expect("a page").len(), next, took)
}

/// The indexes that the commands read which the database was sent during `asked`,
/// and how many documents and keys it looked at for all of them. MongoDB counts
/// both as it goes; the local server gives no count of its own, but runs the
/// command without its limit and says how much the index led to, which is what it
/// reads in truth.
async fn plans(database: &Database, asked: impl AsyncFnOnce() -> Page) -> (BTreeSet<String>, i64) {
    database.run_command(doc! { "profile": 2 }).await.expect("it can be profiled");
    asked().await;
    database.run_command(doc! { "profile": 0 }).await.expect("it can be profiled");
    let profile = database.collection::<Document>("system.profile");
    let of_entries =
        doc! { "$or": [{ "command.find": "entries" }, { "command.aggregate": "entries" }] };
    let sent = profile.find(of_entries).await.expect("it answers");
    let sent: Vec<Document> = sent.try_collect().await.expect("it answers");
    profile.drop().await.expect("it answers");
    assert!(!sent.is_empty(), "the query was seen");
    let (mut plans, mut total) = (BTreeSet::new(), 0);
    for sent in sent {
        let command = sent.get_document("command").expect("a command").clone();
        let own = ["find", "filter", "sort", "limit", "aggregate", "pipeline", "cursor"];
        let command: Document =
            command.into_iter().filter(|(key, _)| own.contains(&key.as_str())).collect();
        let explain = doc! { "explain": &command, "verbosity": "executionStats" };
        let whole = database.run_command(explain).await.expect("a plan");
        // Where a pipeline is not all the planner's, its first stage has the plan.
        let stages = whole.get_array("stages").map(Vec::as_slice).unwrap_or_default();
        let of_stage = stages.first().and_then(Bson::as_document);
        let of_stage = of_stage.and_then(|stage| stage.get_document("$cursor").ok());
        let explained = of_stage.filter(|plan| plan.contains_key("executionStats"));
        let explained = explained.unwrap_or(&whole);
        let planner = explained.get_document("queryPlanner").expect("a plan");
        let winning = planner.get_document("winningPlan").expect("a plan");
        let mut read = BTreeSet::new();
        leaves(winning.get_document("queryPlan").unwrap_or(winning), &mut read);
        assert!(!read.is_empty(), "no stage reads anything: {winning}");
        assert!(!read.contains("COLLSCAN"), "it scans: {command}");
        plans.extend(read);
        let counts = explained.get_document("executionStats").expect("it was run");
        let examined = ["totalKeysExamined", "totalDocsExamined"]
            .map(|count| counts.get(count).and_then(number).expect("a count"));
        let most = examined.into_iter().max().unwrap_or_default();
        assert!(most <= MOST_EXAMINED, "it looks at {most}: {command}");
        total += most;
    }
    (plans, total)
}

fn number(count: &Bson) -> Option<i64> {
    count.as_i64().or_else(|| count.as_i32().map(i64::from))
}

/// The indexes that the branches of a plan end in, or the names of other ends.
fn leaves(stage: &Document, read: &mut BTreeSet<String>) {
    let several = stage.get_array("inputStages").map(Vec::as_slice).unwrap_or_default();
    let mut inputs: Vec<&Document> = several.iter().filter_map(Bson::as_document).collect();
    inputs.extend(stage.get_document("inputStage").ok());
    for input in &inputs {
        leaves(input, read);
    }
    if inputs.is_empty() {
        let index = stage.get_str("indexName").or_else(|_| stage.get_str("stage"));
        read.insert(index.unwrap_or("no stage").to_owned());
    }
}

fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn build() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "-p", "keystone-tests", "-p", "keystone-audit"])
        .args(["-p", "keystone-traceability"])
        .args(["--bin", "list-audit-entries", "--bin", "create-product"])
        .current_dir(stack::root())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the build failed");
}
