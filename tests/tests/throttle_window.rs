//! The throttle against the deployed table, with the clock in the test's hand.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::IpAddr;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use keystone::auth::throttle::{
    AccountKey, Admission, AdmitError, LIMIT, LockedBy, Purpose, Throttle, WINDOW,
};
use keystone_tests::{Stack, stack};

const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);

fn throttle() -> Throttle {
    let stack = Stack::load();
    let credentials = Credentials::new(
        stack.value("AWS_ACCESS_KEY_ID"),
        stack.value("AWS_SECRET_ACCESS_KEY"),
        None,
        None,
        "operator",
    );
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(stack.value("AWS_REGION").to_owned()))
        .endpoint_url(stack.value("AWS_ENDPOINT_URL"))
        .credentials_provider(credentials)
        .build();
    let client = aws_sdk_dynamodb::Client::from_conf(config);
    Throttle::new(client, stack.value("THROTTLE_TABLE"))
}

/// An account that nobody has tried yet.
fn account() -> AccountKey {
    AccountKey::new("throttle-window", &format!("{:032x}", u128::from_be_bytes(stack::random())))
}

/// A moment far from those of other tests.
fn start() -> Timestamp {
    "2031-01-01T00:00:00Z".parse().unwrap()
}

async fn try_sign_in<'t>(
    throttle: &'t Throttle,
    now: Timestamp,
    address: IpAddr,
    account: &AccountKey,
) -> Result<Admission<'t>, AdmitError> {
    throttle.admit(now, address, account, Purpose::SignIn).await
}

/// Seconds to wait, whose count is exhausted, and whether it is news.
fn lockout(outcome: Result<Admission<'_>, AdmitError>) -> (u64, LockedBy, bool) {
    match outcome {
        Err(AdmitError::Locked { retry_after, by, first, .. }) => (retry_after, by, first),
        other => panic!("not locked: {other:?}"),
    }
}

#[tokio::test]
async fn the_window_slides_with_the_clock() {
    let (throttle, account) = (throttle(), account());
    let minute = |n: i64| start() + SignedDuration::from_mins(n);
    // Ten failures, a minute apart, each from an address of its own.
    for n in 0..10 {
        drop(try_sign_in(&throttle, minute(n), stack::address(), &account).await.unwrap());
    }
    let refused = try_sign_in(&throttle, minute(9), stack::address(), &account).await;
    assert_eq!(lockout(refused), (360, LockedBy::Account, true));
    let refused = try_sign_in(&throttle, minute(10), stack::address(), &account).await;
    assert_eq!(lockout(refused), (300, LockedBy::Account, false));

    // Up to the last millisecond of the first failure's window, and then one
    // attempt for each failure that leaves it.
    let free = start() + WINDOW;
    let refused = try_sign_in(&throttle, free - MILLISECOND, stack::address(), &account).await;
    assert_eq!(lockout(refused), (1, LockedBy::Account, false));
    drop(try_sign_in(&throttle, free, stack::address(), &account).await.unwrap());
    let refused = try_sign_in(&throttle, free, stack::address(), &account).await;
    assert_eq!(lockout(refused).0, 60);
    drop(try_sign_in(&throttle, minute(16), stack::address(), &account).await.unwrap());
}

#[tokio::test]
async fn of_parallel_attempts_the_limit_is_admitted() {
    let throttle = throttle();
    let address = stack::address();
    // Each on another account: it is the address that is exhausted.
    let attempts = join_all(
        (0..60).map(|_| async { try_sign_in(&throttle, start(), address, &account()).await }),
    );
    let outcomes = attempts.await;
    let admitted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(admitted, LIMIT);
    let lockouts: Vec<_> = outcomes.into_iter().filter(Result::is_err).map(lockout).collect();
    assert!(lockouts.iter().all(|(wait, by, _)| (*wait, *by) == (900, LockedBy::Address)));
    assert_eq!(lockouts.iter().filter(|(_, _, first)| *first).count(), 1);
}

#[tokio::test]
async fn a_success_clears_its_account_and_not_what_failed_from_the_address() {
    let (throttle, account, address) = (throttle(), account(), stack::address());
    for _ in 0..9 {
        drop(try_sign_in(&throttle, start(), address, &account).await.unwrap());
    }
    let admission = try_sign_in(&throttle, start(), address, &account).await.unwrap();
    drop(admission.succeeded().await.unwrap());
    // Nine failures stand against the address: one more, and it is locked.
    drop(try_sign_in(&throttle, start(), address, &account).await.unwrap());
    let refused = try_sign_in(&throttle, start(), address, &account).await;
    assert_eq!(lockout(refused).1, LockedBy::Address);
    // The account has one failure now, not eleven.
    for _ in 0..9 {
        drop(try_sign_in(&throttle, start(), stack::address(), &account).await.unwrap());
    }
    let refused = try_sign_in(&throttle, start(), stack::address(), &account).await;
    assert_eq!(lockout(refused).1, LockedBy::Account);
}

#[tokio::test]
async fn an_ipv6_subscriber_has_one_count() {
    let throttle = throttle();
    let [a, b, c, d] = stack::random();
    let address = |host: u32| -> IpAddr {
        format!("2001:db8:{a:02x}{b:02x}:{c:02x}{d:02x}::{host:x}").parse().unwrap()
    };
    for host in 0..10 {
        drop(try_sign_in(&throttle, start(), address(host), &account()).await.unwrap());
    }
    let refused = try_sign_in(&throttle, start(), address(4711), &account()).await;
    assert_eq!(lockout(refused).1, LockedBy::Address);
}
