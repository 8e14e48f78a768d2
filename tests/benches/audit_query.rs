//! Queries of a long audit trail: `list-audit-entries` answers each filter, and
//! the database explains the very commands that it was sent. Prints a Markdown
//! table. Needs the local stack (`make run`); `KEYSTONE_AUDIT_ENTRIES` is the
//! length of the trail, 1,000,000 unless given:
//! `cargo bench -p keystone-tests --bench audit_query`.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::process::Command;
use std::time::Duration;

use futures::TryStreamExt;
use jiff::SignedDuration;
use keystone_tests::event::Event;
use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::{Stack, Tenant, bulk, stack};
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};
use tokio::time::Instant;

/// Requests for each filter, after one that does not count.
const REQUESTS: usize = 100;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    build();
    let stack = Stack::load();
    let entries = std::env::var("KEYSTONE_AUDIT_ENTRIES").unwrap_or_default();
    let entries: u64 = entries.parse().unwrap_or(1_000_000);
    let tenant = stack.tenant("queries", &[]).await;
    bulk::grow(&stack, tenant.slug(), entries).await;
    let database = stack.database().await.database(&format!("t_{}_audit", tenant.slug()));
    let mut function = Function::start(
        &build_directory().join("list-audit-entries"),
        &stack.environment("list-audit-entries").await,
    )
    .await;

    let ago = |hours| (keystone::clock::now() - SignedDuration::from_hours(hours)).to_string();
    let oldest = i64::try_from(entries / 3600).expect("a short trail");
    let (_, next, _) = ask(&mut function, &tenant, &[("limit", "100")]).await;
    let filters: [(&str, Vec<(&str, String)>); 8] = [
        ("none", vec![]),
        ("none, second page", vec![("cursor", next)]),
        ("actor (1 in 20)", vec![("actor", "0199aaaa-0000-7000-8000-000000000007".into())]),
        ("action (1 in 5)", vec![("action", "batch.update".into())]),
        ("resource_type (2 in 5)", vec![("resource_type", "batch".into())]),
        (
            "resource_type, resource_id (1 in 5,000)",
            vec![
                ("resource_type", "batch".into()),
                ("resource_id", "0199bbbb-0000-7000-8000-000000000035".into()),
            ],
        ),
        ("from, to (an old hour)", vec![("from", ago(oldest / 2)), ("to", ago(oldest / 2 - 1))]),
        ("ip (of nobody)", vec![("ip", stack::address().to_string())]),
    ];
    println!("Trail of {entries} entries; {REQUESTS} requests for each filter.");
    println!("| filter | entries in the page | p50 | p99 | plan |");
    println!("|---|---|---|---|---|");
    for (name, filter) in &filters {
        let filter: Vec<(&str, &str)> =
            filter.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (found, ..) = ask(&mut function, &tenant, &filter).await;
        let plans = plans(&database, ask(&mut function, &tenant, &filter)).await;
        assert!(plans.iter().all(|plan| plan != "COLLSCAN"), "{name} scans: {plans:?}");
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            times.push(ask(&mut function, &tenant, &filter).await.2);
        }
        times.sort_unstable();
        println!(
            "| {name} | {found} | {} | {} | {} |",
            shown(times[REQUESTS / 2 - 1]),
            shown(times[REQUESTS * 99 / 100 - 1]),
            plans.join(", then ")
        );
    }
    tenant.close().await;
}

/// A page: how many entries it has, its cursor, and how long it took.
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

/// Winning plans of the finds that the database was sent during `asked`.
async fn plans(
    database: &Database,
    asked: impl Future<Output = (usize, String, Duration)>,
) -> Vec<String> {
    database.run_command(doc! { "profile": 2 }).await.expect("it can be profiled");
    asked.await;
    database.run_command(doc! { "profile": 0 }).await.expect("it can be profiled");
    let profile = database.collection::<Document>("system.profile");
    let sent: Vec<Document> = profile
        .find(doc! { "command.find": "entries" })
        .await
        .expect("it answers")
        .try_collect()
        .await
        .expect("it answers");
    profile.drop().await.expect("it answers");
    assert!(!sent.is_empty(), "the query was seen");
    let mut plans = Vec::new();
    for sent in sent {
        let command = sent.get_document("command").expect("a command").clone();
        let find = command.into_iter();
        let find =
            find.filter(|(key, _)| ["find", "filter", "sort", "limit"].contains(&key.as_str()));
        let find: Document = find.collect();
        let explained = database.run_command(doc! { "explain": find }).await.expect("a plan");
        plans.push(plan(&explained));
    }
    plans
}

/// The index that a plan reads, or `COLLSCAN`.
fn plan(explained: &Document) -> String {
    let planner = explained.get_document("queryPlanner").expect("a plan");
    let mut stage = planner.get_document("winningPlan").expect("a plan");
    while let Ok(input) = stage.get_document("inputStage") {
        stage = input;
    }
    match stage.get("indexName") {
        Some(Bson::String(name)) => name.clone(),
        _ => stage.get_str("stage").unwrap_or("no stage").to_owned(),
    }
}

fn shown(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn build() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "-p", "keystone-tests", "-p", "keystone-audit"])
        .args(["--bin", "list-audit-entries"])
        .current_dir(stack::root())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the build failed");
}
