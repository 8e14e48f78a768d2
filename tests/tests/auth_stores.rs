//! The session store, and what `throttle_window.rs` leaves of the throttle,
//! against the deployed tables: what only a real conditional write can prove.
//!
//! Time is an argument, so windows and idle limits pass without waiting. Every
//! test uses addresses and accounts of its own and can run beside the others
//! and beside a stack in use.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use jiff::{SignedDuration, Timestamp};
use keystone::auth::session::{IDLE_LIMIT, LIFETIME, SessionRecord, SessionSubject, Sessions};
use keystone::auth::throttle::{
    AccountKey, Admission, AdmitError, Cleared, LIMIT, LockedBy, Purpose, Throttle, WINDOW,
};
use keystone::tenant::{Id, StoreError};
use keystone::{Problem, clock, random};
use keystone_tests::Stack;
use tokio::task::JoinSet;

const PARALLEL: usize = 60;

fn client(stack: &Stack, endpoint: &str) -> Client {
    let (id, secret) = (stack.value("AWS_ACCESS_KEY_ID"), stack.value("AWS_SECRET_ACCESS_KEY"));
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(stack.value("AWS_REGION").to_owned()))
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new(id, secret, None, None, "operator"))
            .build(),
    )
}

fn throttle() -> Arc<Throttle> {
    let stack = Stack::load();
    let client = client(&stack, stack.value("AWS_ENDPOINT_URL"));
    Arc::new(Throttle::new(client, stack.value("THROTTLE_TABLE")))
}

fn sessions() -> Sessions {
    let stack = Stack::load();
    let client = client(&stack, stack.value("AWS_ENDPOINT_URL"));
    Sessions::new(client, stack.value("SESSION_TABLE"))
}

/// An address of a /64 that no other test uses.
fn some_address() -> IpAddr {
    let mut octets = random::bytes::<16>().unwrap();
    octets[..2].copy_from_slice(&[0x20, 0x01]);
    Ipv6Addr::from(octets).into()
}

fn some_account() -> AccountKey {
    AccountKey::new("acme-dairy", &random::id(clock::now()).unwrap().to_string())
}

async fn admit<'t>(
    throttle: &'t Throttle,
    now: Timestamp,
    address: IpAddr,
    account: &AccountKey,
) -> Result<Admission<'t>, AdmitError> {
    throttle.admit(now, address, account, Purpose::SignIn).await
}

/// Fails one attempt; panics when it is not admitted.
async fn fail(throttle: &Throttle, now: Timestamp, address: IpAddr, account: &AccountKey) {
    drop(admit(throttle, now, address, account).await.unwrap());
}

/// Attempts that `address` has left at `now`, found out by using them up.
async fn attempts_left(throttle: &Throttle, now: Timestamp, address: IpAddr) -> usize {
    for used in 0..=LIMIT {
        match admit(throttle, now, address, &some_account()).await {
            Ok(admission) => drop(admission),
            Err(AdmitError::Locked { by: LockedBy::Address, .. }) => return used,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("more than {LIMIT} attempts admitted");
}

fn lock(outcome: Result<Admission<'_>, AdmitError>) -> (u64, LockedBy, bool) {
    match outcome {
        Err(AdmitError::Locked { retry_after, by, first, .. }) => (retry_after, by, first),
        other => panic!("not locked: {other:?}"),
    }
}

/// An attempt that was refused.
#[derive(Clone, Copy)]
struct Refused {
    address: IpAddr,
    by: LockedBy,
    first: bool,
}

/// Sends `PARALLEL` attempts at once, from the addresses in turn; returns who
/// was admitted and how the others were refused.
async fn stampede(
    throttle: &Arc<Throttle>,
    account: &AccountKey,
    addresses: &[IpAddr],
) -> (Vec<IpAddr>, Vec<Refused>) {
    let now = clock::now();
    let mut tasks = JoinSet::new();
    for address in addresses.iter().copied().cycle().take(PARALLEL) {
        let (throttle, account) = (Arc::clone(throttle), account.clone());
        tasks.spawn(async move {
            match admit(&throttle, now, address, &account).await {
                Ok(_) => Ok(address),
                Err(AdmitError::Locked { by, first, .. }) => Err(Refused { address, by, first }),
                Err(error) => panic!("{error}"),
            }
        });
    }
    let (admitted, refused): (Vec<_>, Vec<_>) =
        tasks.join_all().await.into_iter().partition(Result::is_ok);
    (
        admitted.into_iter().flatten().collect(),
        refused.into_iter().filter_map(Result::err).collect(),
    )
}

fn firsts(refused: &[Refused]) -> usize {
    refused.iter().filter(|refused| refused.first).count()
}

#[tokio::test]
async fn sixty_addresses_get_ten_checks_of_one_account() {
    let throttle = throttle();
    let addresses: Vec<IpAddr> = (0..PARALLEL).map(|_| some_address()).collect();
    let (admitted, refused) = stampede(&throttle, &some_account(), &addresses).await;
    assert_eq!(admitted.len(), LIMIT);
    assert!(refused.iter().all(|refused| refused.by == LockedBy::Account));
    assert_eq!(firsts(&refused), 1);
    // Whom the account refused keeps all attempts on other accounts.
    for Refused { address, .. } in refused {
        assert_eq!(attempts_left(&throttle, clock::now(), address).await, LIMIT);
    }
    for address in admitted {
        assert_eq!(attempts_left(&throttle, clock::now(), address).await, LIMIT - 1);
    }
}

#[tokio::test]
async fn a_stampede_at_the_end_of_a_window_gets_what_has_become_free() {
    let throttle = throttle();
    let (address, account) = (some_address(), some_account());
    let now = clock::now();
    // Three old attempts that have just left the window, seven that have not.
    for _ in 0..3 {
        fail(&throttle, now - WINDOW, address, &account).await;
    }
    for _ in 0..7 {
        fail(&throttle, now - WINDOW / 2, address, &account).await;
    }
    let (admitted, refused) = stampede(&throttle, &account, &[address]).await;
    assert_eq!((admitted.len(), refused.len()), (3, PARALLEL - 3));
}

#[tokio::test]
async fn a_lockout_is_recorded_once_per_window() {
    let throttle = throttle();
    let (address, start) = (some_address(), clock::now());
    for now in [start, start + WINDOW] {
        for _ in 0..LIMIT {
            fail(&throttle, now, address, &some_account()).await;
        }
        for first in [true, false, false] {
            let refused = lock(admit(&throttle, now, address, &some_account()).await);
            assert_eq!(refused, (900, LockedBy::Address, first));
        }
    }
}

#[tokio::test]
async fn a_success_takes_back_its_reservation_and_no_other() {
    let throttle = throttle();
    let (address, account, now) = (some_address(), some_account(), clock::now());
    // A packhouse behind one address signs in as often as it likes.
    for _ in 0..2 * LIMIT {
        let admission = admit(&throttle, now, address, &account).await.unwrap();
        let _: Cleared = admission.succeeded().await.unwrap();
    }
    // Failures on other accounts stay counted through a success.
    for _ in 0..4 {
        fail(&throttle, now, address, &some_account()).await;
    }
    let admission = admit(&throttle, now, address, &account).await.unwrap();
    let _: Cleared = admission.succeeded().await.unwrap();
    assert_eq!(attempts_left(&throttle, now, address).await, LIMIT - 4);
}

#[tokio::test]
async fn a_success_clears_the_account_for_its_purpose_only() {
    let throttle = throttle();
    let (account, now) = (some_account(), clock::now());
    for _ in 0..LIMIT - 1 {
        fail(&throttle, now, some_address(), &account).await;
    }
    for _ in 0..LIMIT {
        let invitation = throttle.admit(now, some_address(), &account, Purpose::Invitation).await;
        drop(invitation.unwrap());
    }
    let admission = admit(&throttle, now, some_address(), &account).await.unwrap();
    let _: Cleared = admission.succeeded().await.unwrap();
    for _ in 0..LIMIT {
        fail(&throttle, now, some_address(), &account).await;
    }
    let refused = lock(admit(&throttle, now, some_address(), &account).await);
    assert_eq!(refused, (900, LockedBy::Account, true));
    let invitation = throttle.admit(now, some_address(), &account, Purpose::Invitation).await;
    assert_eq!(lock(invitation).1, LockedBy::Account);
}

#[tokio::test]
async fn a_store_that_is_down_admits_nobody() {
    let stack = Stack::load();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let throttle = Throttle::new(client(&stack, &endpoint), "throttle");
    let outcome = admit(&throttle, clock::now(), some_address(), &some_account()).await;
    assert!(matches!(outcome, Err(AdmitError::Store(StoreError::Unavailable(_)))));
    // The same for a table that is not there.
    let client_of_stack = client(&stack, stack.value("AWS_ENDPOINT_URL"));
    let throttle = Throttle::new(client_of_stack, "no-such-table");
    let error = admit(&throttle, clock::now(), some_address(), &some_account()).await.unwrap_err();
    assert_eq!(Problem::from(error), Problem::Unavailable);
    let sessions = Sessions::new(client(&stack, &endpoint), "sessions");
    let outcome = sessions.touch(clock::now(), Id::from_u128(1)).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))));
}

async fn session(now: Timestamp) -> SessionRecord {
    let throttle = throttle();
    let admission = admit(&throttle, now, some_address(), &some_account()).await.unwrap();
    let cleared = admission.succeeded().await.unwrap();
    let subject = SessionSubject {
        user: random::id(now).unwrap(),
        role: "ops_user".into(),
        credentials: 0,
        epoch: 0,
        second_factor: false,
        source_ip: some_address(),
        user_agent: Some("keystone-tests".into()),
    };
    sessions().create(now, cleared, subject).await.unwrap()
}

#[tokio::test]
async fn a_session_lives_while_it_is_used() {
    let (sessions, start) = (sessions(), clock::now());
    let made = session(start).await;
    assert_eq!(made.tenant, "acme-dairy");
    assert_eq!(made.expires_at, made.created_at + LIFETIME);
    let tick = SignedDuration::from_millis(1);
    // Used a moment before the idle limit, over and over, until its lifetime
    // is over.
    let mut now = made.created_at;
    for _ in 0..3 {
        now += IDLE_LIMIT - tick;
        let seen = sessions.touch(now, made.sid).await.unwrap().unwrap();
        assert_eq!(seen, SessionRecord { last_seen: now, ..made.clone() });
    }
    assert!(sessions.touch(made.expires_at - tick, made.sid).await.unwrap().is_some());
    assert_eq!(sessions.touch(made.expires_at, made.sid).await.unwrap(), None);
}

#[tokio::test]
async fn a_session_ends_after_eight_idle_hours() {
    let (sessions, made) = (sessions(), session(clock::now()).await);
    assert_eq!(sessions.touch(made.created_at + IDLE_LIMIT, made.sid).await.unwrap(), None);
    // Having been refused is no use of it.
    assert_eq!(sessions.touch(made.created_at + IDLE_LIMIT, made.sid).await.unwrap(), None);
}

#[tokio::test]
async fn a_revoked_session_is_gone_at_once() {
    let (sessions, made) = (sessions(), session(clock::now()).await);
    assert!(sessions.touch(made.created_at, made.sid).await.unwrap().is_some());
    sessions.revoke(made.sid).await.unwrap();
    assert_eq!(sessions.touch(made.created_at, made.sid).await.unwrap(), None);
    // A use of a session that is gone must not bring it back.
    assert_eq!(sessions.touch(made.created_at, made.sid).await.unwrap(), None);
    sessions.revoke(made.sid).await.unwrap();
    let never = random::id(clock::now()).unwrap();
    assert_eq!(sessions.touch(clock::now(), never).await.unwrap(), None);
}
