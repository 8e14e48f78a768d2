//! EPCIS capture and trace, measured at the Lambda Runtime API. Needs the local
//! stack (`make run`):
//! `cargo bench -p keystone-tests --features floor --bench capture`; with
//! `--profile dev` in place of the features it measures what `make run` built.
//! `KEYSTONE_TRACE_LOTS` says how many other lots the tenant has (10,000 unless
//! given).
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::process::Command;
use std::time::Duration;

use keystone_tests::event::Event;
use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::{Stack, Tenant, samples, stack};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Events of a document, about 0.7 KiB each.
const EVENTS: usize = 200;
/// Documents captured.
const DOCUMENTS: usize = 20;
/// Connected lots: this many steps of this many lots each.
const STEPS: usize = 40;
const WIDTH: usize = 250;
/// Traces measured.
const TRACES: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // In the profile of the tests the functions are those of `make run`.
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    if profile == "release" {
        build();
    }
    let stack = Stack::load();
    let tenant = stack.tenant("capture", &[]).await;
    let mut capture = start(&stack, "capture-events").await;
    println!("Profile: {profile}.");
    readings(&tenant, &mut capture, Things::Items).await;
    readings(&tenant, &mut capture, Things::Lot).await;
    trace(&stack, &tenant, &mut capture).await;
}

fn build() {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "-p", "keystone-tests"])
        .args(["--features", "keystone-tests/floor", "-p", "keystone-traceability"])
        .args(["--bin", "capture-events", "--bin", "trace-batch"])
        .current_dir(stack::root())
        .status()
        .expect("cargo runs");
    assert!(built.success(), "the build failed");
}

async fn start(stack: &Stack, name: &str) -> Function {
    Function::start(&build_directory().join(name), &stack.environment(name).await).await
}

async fn send(tenant: &Tenant<'_>, function: &mut Function, events: &[Value]) -> Duration {
    let document = json!({
        "@context": ["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"],
        "type": "EPCISDocument",
        "schemaVersion": "2.0",
        "creationDate": "2026-03-01T08:00:00Z",
        "epcisBody": { "eventList": events },
    });
    let event = Event::new("POST", "/v1/capture", &[], stack::address())
        .token(tenant.owner().token())
        .json(&document);
    let begun = Instant::now();
    let answer = function.request(&event).await;
    let time = begun.elapsed();
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(answer.body["captured"], events.len(), "{}", answer.body);
    time
}

/// What an event names.
#[derive(Debug, Clone, Copy)]
enum Things {
    /// Three items by their serials, each of which has a line of the ledger.
    Items,
    /// So much of a lot.
    Lot,
}

impl Things {
    /// The members of the event with this number.
    fn of(self, number: usize) -> Value {
        match self {
            Self::Items => {
                let item = |item| format!("urn:epc:id:sgtin:4012345.011111.{}", number * 3 + item);
                json!({ "epcList": (0..3).map(item).collect::<Vec<_>>() })
            }
            Self::Lot => {
                let class = format!("urn:epc:class:lgtin:4012345.022222.L{number}");
                json!({ "quantityList": [{ "epcClass": class, "quantity": 12.5, "uom": "KGM" }] })
            }
        }
    }
}

/// Receipts at a place, with their eventIDs.
async fn readings(tenant: &Tenant<'_>, function: &mut Function, things: Things) {
    let mut whole = Duration::ZERO;
    for document in 0..=DOCUMENTS {
        let events: Vec<Value> = (0..EVENTS).map(|index| {
            let number = document * EVENTS + index;
            let mut event = json!({
                "eventID": format!("urn:uuid:{number:08x}-7dec-41d0-a765-00a0c91e6b{:02x}", things as u8),
                "type": "ObjectEvent",
                "action": "OBSERVE",
                "bizStep": "receiving",
                "disposition": "in_progress",
                "eventTime": format!("2026-03-01T08:{:02}:{:02}.000+01:00", index / 60, index % 60),
                "eventTimeZoneOffset": "+01:00",
                "readPoint": { "id": "urn:epc:id:sgln:9506000.13430.1234" },
                "bizLocation": { "id": "urn:epc:id:sgln:9506000.13430.0" },
                "bizTransactionList": [
                    { "type": "po", "bizTransaction": "urn:epcglobal:cbv:bt:0614141073467:1152" },
                ],
            });
            let members = event.as_object_mut().expect("an object");
            members.extend(things.of(number).as_object().expect("an object").clone());
            event
        }).collect();
        let time = send(tenant, function, &events).await;
        // The first opens the stores.
        if document > 0 {
            whole += time;
        }
    }
    let events = u32::try_from(DOCUMENTS * EVENTS).unwrap_or(u32::MAX);
    println!(
        "Capture, {things:?}: {events} events in documents of {EVENTS} in {:.2} s, {:.0} events/s.",
        whole.as_secs_f64(),
        f64::from(events) / whole.as_secs_f64()
    );
}

/// A lot of the step, of its own product.
fn class(gtin: &str, lot: &str) -> String {
    format!("https://id.gs1.org/01/{gtin:0>14}/10/{lot}")
}

/// One lot becomes `WIDTH`, and each of them another one, `STEPS` times, among
/// other lots.
async fn trace(stack: &Stack, tenant: &Tenant<'_>, capture: &mut Function) {
    let product = samples::product();
    let gtin = product["gtin"].as_str().expect("a GTIN").to_owned();
    let id = tenant.owner().post("/v1/products", &product).await.expect(201).id();
    let mut batch = samples::batch(&id);
    batch["lot_number"] = "ROOT".into();
    let batch = tenant.owner().post("/v1/batches", &batch).await.expect(201).id();
    let made_of = |from: &str, to: &[String]| {
        json!({
            "type": "TransformationEvent",
            "eventTime": "2026-03-01T08:00:00Z",
            "eventTimeZoneOffset": "+00:00",
            "inputQuantityList": [{ "epcClass": class(&gtin, from), "quantity": 1.5, "uom": "KGM" }],
            "outputQuantityList": to.iter().map(|lot| {
                json!({ "epcClass": class(&gtin, lot), "quantity": 1.25, "uom": "KGM" })
            }).collect::<Vec<_>>(),
        })
    };
    let lot = |step: usize, index: usize| format!("S{step}-{index}");
    let first: Vec<String> = (0..WIDTH).map(|index| lot(1, index)).collect();
    send(tenant, capture, &[made_of("ROOT", &first)]).await;
    for step in 1..STEPS {
        let events: Vec<Value> =
            (0..WIDTH).map(|index| made_of(&lot(step, index), &[lot(step + 1, index)])).collect();
        send(tenant, capture, &events).await;
    }
    let others = std::env::var("KEYSTONE_TRACE_LOTS").ok().and_then(|text| text.parse().ok());
    let others: usize = others.unwrap_or(10_000);
    for batch in 0..others.div_ceil(2 * WIDTH) {
        let events: Vec<Value> = (0..WIDTH)
            .map(|index| made_of(&format!("X{batch}-{index}"), &[format!("Y{batch}-{index}")]))
            .collect();
        send(tenant, capture, &events).await;
    }
    let mut function = start(stack, "trace-batch").await;
    let path = format!("/v1/batches/{batch}/trace");
    let mut times = Vec::new();
    for _ in 0..=TRACES {
        let event = Event::new("GET", &path, &[("id", &batch)], stack::address())
            .token(tenant.owner().token());
        let begun = Instant::now();
        let answer = function.request(&event).await;
        times.push(begun.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.body);
        let nodes = answer.body["nodes"].as_array().map_or(0, Vec::len);
        assert_eq!(nodes, STEPS * WIDTH + 1);
        if times.len() == 1 {
            println!("Trace: {nodes} lots, {} queries.", answer.body["queries"]);
        }
    }
    // The first opens the stores.
    times.remove(0);
    times.sort_unstable();
    println!(
        "Trace: median {:.2} s of {TRACES}, among {others} other lots.",
        times[TRACES / 2].as_secs_f64()
    );
}
