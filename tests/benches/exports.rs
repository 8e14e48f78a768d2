//! Exports of long audit trails by the worker's real binary: time from the
//! message to the last volume, and the most memory that it held. Every report
//! is then judged by `pdfsig` and pyHanko, and all volumes of each export, but
//! for tables, by `keystone-verify`. Prints a Markdown table. Needs the local
//! stack (`make run`): `cargo bench -p keystone-tests --bench exports`.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keystone_tests::exports::{
    Fetched, ask_unseen, end_lease, fetch_done, message, verify_together, volumes_of, worker,
};
use keystone_tests::verdicts::{Folder, pdfsig, pyhanko};
use keystone_tests::{Stack, Tenant, bulk, stack};
use serde_json::json;
use tokio::time::Instant;

/// Entries of the trails.
const SIZES: [u64; 2] = [10_000, 100_000];
/// Entries of a volume, as deployed.
const VOLUME: u32 = 10_000;
/// Longest time that an export may take here.
const PATIENCE: Duration = Duration::from_mins(10);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    build();
    let stack = Stack::load();
    println!("| entries | format | volumes | bytes | time | peak memory |");
    println!("|---|---|---|---|---|---|");
    for size in SIZES {
        let tenant = stack.tenant("bench-exports", &[]).await;
        bulk::grow(&stack, tenant.slug(), size).await;
        for format in ["pdf", "jsonl", "csv"] {
            let id = ask_unseen(&stack, &tenant, format).await;
            let mut run = worker(&stack, VOLUME).await;
            let begun = Instant::now();
            let event = message(tenant.slug(), &id);
            let ended = run.invoke_within(PATIENCE, &event).await;
            let took = begun.elapsed();
            assert_eq!(ended, json!(["done"]));
            let memory = run.peak_memory();
            let volumes = fetch_done(&stack, tenant.owner(), &id).await;
            let bytes: usize = volumes.iter().map(|volume| volume.bytes.len()).sum();
            println!(
                "| {size} | {format} | {} | {bytes} | {:.2} s | {} MiB |",
                volumes.len(),
                took.as_secs_f64(),
                memory.div_ceil(1024)
            );
            judge(&stack, &tenant, format, &volumes).await;
        }
        if size == SIZES[1] {
            for format in ["pdf", "jsonl"] {
                killed(&stack, &tenant, format).await;
            }
        }
        tenant.close().await;
    }
}

/// An export whose worker is killed while it makes the second volume, and then
/// the fourth: it keeps what was done and ends like any other.
async fn killed(stack: &Stack, tenant: &Tenant<'_>, format: &str) {
    let id = ask_unseen(stack, tenant, format).await;
    let event = message(tenant.slug(), &id);
    let mut kept = Vec::new();
    for most in [1, 3] {
        let mut run = worker(stack, VOLUME).await;
        run.begin(&event).await;
        while volumes_of(stack, tenant, &id).await < most {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        run.kill_after(Duration::from_millis(200)).await;
        end_lease(stack, tenant, 0).await;
        kept.push(volumes_of(stack, tenant, &id).await);
    }
    let mut run = worker(stack, VOLUME).await;
    let begun = Instant::now();
    assert_eq!(run.invoke_within(PATIENCE, &event).await, json!(["done"]));
    let took = begun.elapsed();
    let volumes = fetch_done(stack, tenant.owner(), &id).await;
    judge(stack, tenant, format, &volumes).await;
    println!(
        "{format}, killed with {kept:?} volumes done: the last run made the rest of {} in {:.2} s",
        volumes.len(),
        took.as_secs_f64()
    );
}

/// Both validators accept every report, and our verifier all volumes as the
/// whole trail; a table proves nothing by itself.
async fn judge(stack: &Stack, tenant: &Tenant<'_>, format: &str, volumes: &[Fetched]) {
    if format == "csv" {
        return;
    }
    let folder = Folder::new(tenant.slug());
    let files: Vec<PathBuf> =
        volumes.iter().map(|volume| folder.file(&volume.name, &volume.bytes)).collect();
    if format == "pdf" {
        for file in &files {
            let verdict = pdfsig(file);
            assert!(verdict.contains("Signature is Valid"), "{verdict}");
            assert!(verdict.contains("Total document signed"), "{verdict}");
            assert!(pyhanko(stack, file).contains("INTACT:TRUSTED"));
        }
    }
    let (code, words) = verify_together(stack, tenant, format, &files).await;
    assert!(code == Some(0) && words.contains("Nothing is left out"), "{words}");
}

/// Builds the functions that are measured as they are deployed.
fn build() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "-p", "keystone-tests", "-p", "keystone-audit"])
        .args(["-p", "keystone-verify", "--bin", "keystone-verify"])
        .args(["--bin", "run-audit-export", "--bin", "create-audit-export"])
        .current_dir(stack::root())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the build failed");
}
