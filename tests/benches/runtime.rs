//! Cold start, warm overhead and memory of functions, measured at the Lambda
//! Runtime API, beside an empty `lambda_http` function as the floor. Prints a
//! Markdown table. Needs the local stack (`make run`):
//! `cargo bench -p keystone-tests --features floor`.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use keystone::auth::Role;
use keystone_tests::event::Event;
use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::{Stack, Tenant, samples, stack};
use tokio::time::Instant;

/// Processes started, of each function.
const COLD: usize = 30;
/// Requests to one warm process.
const WARM: usize = 1000;
/// Requests before those that count.
const WARM_UP: usize = 20;
/// Sign-ins.
const LOGINS: usize = 100;
/// The work factor of stored passwords (claim C7).
const BCRYPT_COST: u32 = 12;

/// A function to measure.
struct Subject {
    binary: &'static str,
    touches: &'static str,
    environment: BTreeMap<String, String>,
    event: Event,
    status: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    build();
    let stack = Stack::load();
    let tenant = stack.tenant("bench", &[Role::Viewer]).await;
    let product = tenant.owner().post("/v1/products", &samples::product()).await.expect(201).id();
    let path = format!("/v1/products/{product}");
    let subjects = [
        Subject {
            binary: "floor",
            touches: "nothing",
            environment: BTreeMap::new(),
            event: Event::new("GET", "/", &[], stack::address()),
            status: 200,
        },
        Subject {
            binary: "health",
            touches: "no store",
            environment: stack.environment("health").await,
            event: Event::new("GET", "/v1/health", &[], stack::address()),
            status: 200,
        },
        Subject {
            binary: "get-product",
            touches: "Secrets Manager, DynamoDB, MongoDB, KMS",
            environment: stack.environment("get-product").await,
            event: Event::new("GET", &path, &[("id", &product)], stack::address())
                .token(tenant.owner().token()),
            status: 200,
        },
    ];
    println!("| function | touches | cold p50 | cold p99 | warm p50 | warm p99 | peak memory |");
    println!("|---|---|---|---|---|---|---|");
    for subject in &subjects {
        let (cold, memory) = cold(subject).await;
        let warm = warm(subject).await;
        println!(
            "| {} | {} | {} | {} | {} | {} | {:.1} MiB |",
            subject.binary,
            subject.touches,
            shown(percentile(&cold, 50)),
            shown(percentile(&cold, 99)),
            shown(percentile(&warm, 50)),
            shown(percentile(&warm, 99)),
            f64::from(u32::try_from(memory).unwrap_or(u32::MAX)) / 1024.0
        );
    }
    println!();
    println!(
        "Cold: process start to first answer, {COLD} processes. Warm: {WARM} requests to one."
    );
    logins(&stack, &tenant).await;
    tenant.finish().await;
}

/// Sign-ins and bcrypt alone, by turns, so that what else the machine does
/// meets both.
async fn logins(stack: &Stack, tenant: &Tenant<'_>) {
    let environment = stack.environment("login").await;
    let mut function = Function::start(&build_directory().join("login"), &environment).await;
    let credentials = tenant.credentials(Role::Viewer);
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..=LOGINS {
        let event = Event::new("POST", "/v1/auth/login", &[], stack::address()).json(&credentials);
        let begun = Instant::now();
        let answer = function.request(&event).await;
        whole.push(begun.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.body);
        tenant.vouch_for(&event.request_id());
        let begun = Instant::now();
        let hashed = bcrypt::hash_with_salt([b'x'; 44], BCRYPT_COST, stack::random());
        bare.push(begun.elapsed());
        hashed.expect("44 bytes can be hashed");
    }
    // The first opens the stores.
    let (whole, bare) = (percentile(&whole[1..], 50), percentile(&bare[1..], 50));
    println!(
        "Sign-in: p50 {}, of which bcrypt(12) alone p50 {}: {} beside it. {LOGINS} of each by turns.",
        shown(whole),
        shown(bare),
        shown(whole.saturating_sub(bare))
    );
}

/// Builds the functions that are measured as they are deployed; cargo has built
/// the floor with this program.
fn build() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--features", "keystone-tests/floor"])
        .args(["-p", "keystone-tests", "-p", "keystone-identity", "-p", "keystone-operations"])
        .args(["-p", "keystone-traceability", "--bin", "login"])
        .args(["--bin", "health", "--bin", "get-product"])
        .current_dir(stack::root())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the build failed");
}

async fn start(subject: &Subject) -> Function {
    Function::start(&build_directory().join(subject.binary), &subject.environment).await
}

/// Times from process start to first answer, and the largest peak of memory.
async fn cold(subject: &Subject) -> (Vec<Duration>, u64) {
    let (mut times, mut memory) = (Vec::new(), 0);
    for _ in 0..COLD {
        let begun = Instant::now();
        let mut function = start(subject).await;
        let answer = function.request(&subject.event).await;
        times.push(begun.elapsed());
        assert_eq!(answer.status, subject.status, "{}", answer.body);
        memory = memory.max(function.peak_memory());
    }
    (times, memory)
}

/// Times of requests to one process, from handing over to answer.
async fn warm(subject: &Subject) -> Vec<Duration> {
    let mut function = start(subject).await;
    let mut times = Vec::new();
    for _ in 0..WARM_UP + WARM {
        let begun = Instant::now();
        let answer = function.request(&subject.event).await;
        times.push(begun.elapsed());
        assert_eq!(answer.status, subject.status, "{}", answer.body);
    }
    times.split_off(WARM_UP)
}

/// The nearest-rank percentile.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.saturating_sub(1)]
}

fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 { format!("{micros:.0} µs") } else { format!("{:.1} ms", micros / 1000.0) }
}
