//! Sealing and opening a field, beside the bare cipher of the same library and
//! MongoDB's explicit client-side encryption, and how often KMS is called.
//! Needs the local stack (`make run`); `make bench` runs it.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::hint::black_box;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use jiff::SignedDuration;
use keystone::crypto::{KeyCache, Place, Sealed, Subject, TenantKeys};
use keystone::tenant::Id;
use keystone::{clock, random};
use keystone_tests::vault::{self, Counter};
use keystone_tests::{Stack, stack};
use serde::Deserialize;
use serde_json::json;

/// Lengths of the values, in bytes.
const LENGTHS: [usize; 3] = [64, 1024, 16 * 1024];
/// Operations of each kind on each value: as many as take some time.
const ROUNDS: usize = 20_000;
/// The same for CSFLE, which is slower.
const CSFLE_ROUNDS: usize = 2_000;
/// Repetitions, by turns; the median of each counts.
const TURNS: usize = 7;
/// Requests over which calls of KMS are counted, through the cache of data keys
/// that a function's environment has, and the time that they take by its clock.
const REQUESTS: i32 = 1_000;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Values that each request seals and opens.
const VALUES: u128 = 5;
/// Subjects whose the values are, by turns.
const SUBJECTS: u128 = 100;

#[derive(Deserialize)]
struct Csfle {
    seal: f64,
    open: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let stack = Stack::load();
    let tenant = stack.tenant("sealing", &[]).await;
    let (kms, table) = (Counter::default(), Counter::default());
    let vault = vault::vault(&stack, &kms, &table);
    let cache = KeyCache::default();
    let keys = vault::keys(&stack, tenant.slug(), &vault, &cache, clock::now()).await;

    compare(&stack, &keys).await;
    count(&stack, tenant.slug(), &kms, &table).await;
    tenant.finish().await;
}

async fn compare(stack: &Stack, keys: &TenantKeys) {
    let values: Vec<String> = LENGTHS
        .iter()
        .map(|length| "Quay Street 7 ".repeat(length / 14 + 1)[..*length].to_owned())
        .collect();
    let csfle = csfle(stack, &values);
    println!("| value | bare seal | seal | of bare | CSFLE | bare open | open | of bare | CSFLE |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for ((value, length), csfle) in values.iter().zip(LENGTHS).zip(csfle) {
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..TURNS {
            let [bare_seal, bare_open] = bare(value);
            let [seal, open] = field(keys, value).await;
            for (all, one) in times.iter_mut().zip([bare_seal, seal, bare_open, open]) {
                all.push(one);
            }
        }
        let [bare_seal, seal, bare_open, open] = times.map(median);
        println!(
            "| {length} B | {bare_seal:.0} ns | {seal:.0} ns | {:.0} % | {:.0} ns | {bare_open:.0} ns | {open:.0} ns | {:.0} % | {:.0} ns |",
            100.0 * bare_seal / seal,
            csfle.seal,
            100.0 * bare_open / open,
            csfle.open,
        );
    }
    println!();
}

/// AES-256-GCM with a random nonce, from a value to bytes of their own and back.
fn bare(value: &str) -> [f64; 2] {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("32 bytes"));
    let begun = Instant::now();
    let mut sealed = Vec::new();
    for _ in 0..ROUNDS {
        let nonce = random::bytes::<NONCE_LEN>().expect("randomness");
        let mut out = Vec::with_capacity(NONCE_LEN + value.len() + 16);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(value.as_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[NONCE_LEN..]);
        out.extend_from_slice(tag.expect("it seals").as_ref());
        sealed = black_box(out);
    }
    let seal = each(begun.elapsed(), ROUNDS);
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().expect("a nonce");
        let mut plain = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = key.open_in_place(nonce, Aad::empty(), &mut plain).expect("it opens");
        black_box(opened);
    }
    [seal, each(begun.elapsed(), ROUNDS)]
}

/// The whole of `Sealed::seal` and `Sealed::open`.
async fn field(keys: &TenantKeys, value: &str) -> [f64; 2] {
    let id = Id::from_u128(1);
    let place = Place { collection: "customers", document: id, field: "phone" };
    let value = value.to_owned();
    let begun = Instant::now();
    let mut sealed = None;
    for _ in 0..ROUNDS {
        let one = Sealed::seal(keys, place, Subject::Customer(id), &value).await;
        sealed = Some(black_box(one.expect("it seals")));
    }
    let seal = each(begun.elapsed(), ROUNDS);
    let sealed = sealed.expect("there were rounds");
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(sealed.open(keys, place).await.expect("it opens"));
    }
    [seal, each(begun.elapsed(), ROUNDS)]
}

fn csfle(stack: &Stack, values: &[String]) -> Vec<Csfle> {
    let python = stack::root().join(".local/venvs/bench/bin/python");
    let mut child = Command::new(python)
        .arg(stack::root().join("tests/benches/csfle/explicit.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`make bench` installs Python's part");
    let task = json!({
        "uri": stack.value("MONGODB_ADMIN_URI"),
        "database": "keystone_bench",
        "values": values,
        "rounds": CSFLE_ROUNDS,
    });
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(task.to_string().as_bytes()).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

/// Calls of KMS and of the table of secrets for [`REQUESTS`], as one environment
/// makes them: each request has keys of its own, with the data keys of the cache.
async fn count(stack: &Stack, slug: &str, kms: &Counter, table: &Counter) {
    let vault = vault::vault(stack, kms, table);
    let (cache, begun) = (KeyCache::default(), clock::now());
    let (kms_before, table_before) = (kms.count(), table.count());
    for request in 0..REQUESTS {
        let now = begun + HOUR / REQUESTS * request;
        let keys = vault::keys(stack, slug, &vault, &cache, now).await;
        let id = Id::from_u128(2 + u128::from(request.unsigned_abs()) % SUBJECTS);
        let place = Place { collection: "suppliers", document: id, field: "banking" };
        for n in 0..VALUES {
            let sealed = Sealed::seal(&keys, place, Subject::Supplier(id), &n.to_string()).await;
            sealed.expect("it seals").open(&keys, place).await.expect("it opens");
        }
    }
    println!(
        "{REQUESTS} requests of one environment in an hour, each of {VALUES} values sealed and opened: {} calls of KMS and {} of the table of secrets.",
        kms.count() - kms_before,
        table.count() - table_before,
    );
}

fn each(whole: Duration, count: usize) -> f64 {
    whole.div_f64(f64::from(u32::try_from(count).unwrap_or(u32::MAX))).as_secs_f64() * 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
