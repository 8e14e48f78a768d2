//! Who fails to sign in learns nothing about what exists, not even from the
//! time that the answer takes. Measured at the function itself, on a machine
//! that runs nothing else meanwhile (see .config/nextest.toml).

use std::time::Duration;

use keystone::auth::Role;
use keystone_tests::event::Event;
use keystone_tests::runtime_api::Function;
use keystone_tests::{Stack, Tenant, stack};
use serde_json::{Value, json};
use tokio::time::Instant;

const TRIES: usize = 16;
/// No failure is answered sooner, however little there was to do.
const FAILS_AFTER: Duration = Duration::from_millis(750);
/// How far the slowest median may lie above the fastest.
const TOLERANCE: f64 = 0.10;
/// A disturbed measurement is made again, as a whole.
const MEASUREMENTS: usize = 3;

/// Whom the guesser guesses at.
const KINDS: [&str; 3] = ["unknown user", "unknown tenant", "wrong password"];

#[tokio::test]
async fn every_failed_sign_in_looks_the_same() {
    let stack = Stack::load();
    // An account may fail ten times; four of them take sixteen tries and more.
    let roles = [Role::Admin, Role::OpsUser, Role::Viewer];
    let tenant = stack.tenant("timing", &roles).await;
    let mut login = Function::deployed(&stack, "login").await;
    let mut found = Vec::new();
    for _ in 0..MEASUREMENTS {
        let medians = measure(&mut login, &tenant).await;
        let (fastest, slowest) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
        let spread = slowest.as_secs_f64() / fastest.as_secs_f64() - 1.0;
        println!("medians of {TRIES}: {KINDS:?} {medians:.1?}, spread {:.1} %", spread * 100.0);
        if spread <= TOLERANCE {
            tenant.finish().await;
            return;
        }
        found.push(medians);
        for role in [Role::SuperAdmin, Role::Admin, Role::OpsUser, Role::Viewer] {
            tenant.sign_in(role).await;
        }
    }
    panic!("medians differ by more than 10 % in each of: {found:?} ({KINDS:?})");
}

/// The median time of each kind, one try of each after the other.
async fn measure(login: &mut Function, tenant: &Tenant<'_>) -> [Duration; 3] {
    let emails = tenant.emails();
    let mut times = [const { Vec::new() }; 3];
    let mut bodies = Vec::new();
    for n in 0..TRIES {
        let known = &emails[n % emails.len()];
        let nobody =
            format!("nobody-{:016x}@keystone.example", u64::from_be_bytes(stack::random()));
        let nowhere = format!("nowhere-{:08x}", u32::from_be_bytes(stack::random()));
        let guesses = [(tenant.slug(), nobody.as_str()), (&nowhere, known), (tenant.slug(), known)];
        for (times, (slug, email)) in times.iter_mut().zip(guesses) {
            let guess = json!({ "tenant": slug, "email": email, "password": "not the password" });
            let event = Event::new("POST", "/v1/auth/login", &[], stack::address()).json(&guess);
            let begun = Instant::now();
            let mut answer = login.request(&event).await;
            times.push(begun.elapsed());
            assert!(begun.elapsed() >= FAILS_AFTER, "{:?}", begun.elapsed());
            assert_eq!(answer.status, 401, "{}", answer.body);
            assert_eq!(answer.body["request_id"], event.request_id());
            answer.body["request_id"] = Value::Null;
            bodies.push(answer.body);
        }
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    times.map(median)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    (times[times.len() / 2 - 1] + times[times.len() / 2]) / 2
}
