//! The self-check of long audit trails by its real binary: entries a
//! second, the most memory that it held, and how many entries its 13 minutes
//! are enough for at that rate. Prints a Markdown table. Needs the local stack
//! (`make run`): `cargo bench -p keystone-tests --bench self_check`.
//!
//! The entries have no personal values, which would each be opened too.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::process::Command;
use std::time::Duration;

use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::{Stack, bulk, stack};
use serde_json::json;
use tokio::time::Instant;

/// Entries of the trails.
const SIZES: [u64; 2] = [10_000, 100_000];
/// What a run has, as in `functions/audit/src/jobs/audit_self_check.rs`.
const RUN_LIMIT: Duration = Duration::from_mins(13);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    build();
    let stack = Stack::load();
    println!("| entries | time | entries a second | peak memory | fit into a run |");
    println!("|---|---|---|---|---|");
    for size in SIZES {
        let tenant = stack.tenant("bench-self-check", &[]).await;
        bulk::grow(&stack, tenant.slug(), size).await;
        let environment = stack.environment("audit-self-check").await;
        let mut run =
            Function::start(&build_directory().join("audit-self-check"), &environment).await;
        let begun = Instant::now();
        let checked = run.invoke_within(RUN_LIMIT, &json!({ "tenant": tenant.slug() })).await;
        let took = begun.elapsed();
        let entries = checked["entries"].as_u64().expect("a trail without fault");
        assert!(entries >= size, "{checked}");
        let rate = u128::from(entries) * 1_000 / took.as_millis().max(1);
        println!(
            "| {entries} | {:.2} s | {rate} | {} MiB | {} |",
            took.as_secs_f64(),
            run.peak_memory().div_ceil(1024),
            rate * u128::from(RUN_LIMIT.as_secs()),
        );
        tenant.close().await;
    }
}

/// Builds the function that is measured as it is deployed.
fn build() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "-p", "keystone-tests", "-p", "keystone-audit"])
        .args(["--bin", "audit-self-check"])
        .current_dir(stack::root())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the build failed");
}
