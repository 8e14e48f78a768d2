//! Throttling of sign-in and of everything else that can be guessed
//! (claim C10): at most [`LIMIT`] failed attempts in any [`WINDOW`], per
//! source address and per account.
//!
//! An attempt is *reserved* before its secret is checked, by one conditional
//! write per key, so that parallel attempts cannot overtake the count. A
//! success takes its reservation back; anything else leaves it standing, which
//! is what makes it a failure. The reservations of a key are a string set of
//! `<epoch ms>:<random>` entries: `DynamoDB` adds to and deletes from a set
//! atomically and idempotently, so nothing here reads before it writes, and
//! an SDK retry of a write that had arrived does not count twice.
//!
//! The source address has one count for every purpose, each account one per
//! purpose: otherwise whoever knows a password could clear the count of
//! wrong second factors by signing in again. Requests that anybody may make
//! and that are neither right nor wrong ([`Purpose::ResetRequest`],
//! [`Purpose::EmailRequest`]) have a count of their own per address too: they
//! stay counted, and lock nobody out of signing in.

use std::net::IpAddr;

use aws_lc_rs::digest;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use jiff::{SignedDuration, Timestamp};

use super::dynamo::{Item, malformed, number, read_number};
use super::user::canonical_email;
use crate::Problem;
use crate::tenant::StoreError;

/// Length of the sliding window.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Most attempts in any [`WINDOW`].
pub const LIMIT: usize = 10;

const PARTITION_KEY: &str = "pk";
const ATTEMPTS: &str = "attempts";
const LOCK_NOTED: &str = "lock_noted";

/// What is being attempted. Each purpose has its own count per account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sign-in with a password.
    SignIn,
    /// The password once more, from somebody who is signed in: what outsiders
    /// get wrong does not keep them from it.
    StepUp,
    /// Redemption of an invitation token.
    Invitation,
    /// Sign-in with a second factor, a code of the app or a recovery code.
    SecondFactor,
    /// A request for a mail by which a password can be replaced.
    ResetRequest,
    /// Redemption of a token of such a mail.
    Reset,
    /// A request for a mail to an address that a user wants to sign in with.
    EmailRequest,
    /// Redemption of a token of such a mail.
    EmailChange,
    /// A report of a vulnerability, from anybody.
    Report,
    /// A mail that its recipient did not ask for: an invitation, or word that
    /// they are a contact. Counted for the recipient only.
    Unasked,
}

impl Purpose {
    /// What the count of a source address is kept under.
    const fn address_prefix(self) -> &'static str {
        match self {
            Self::ResetRequest => "reset-request-ip",
            Self::EmailRequest => "email-request-ip",
            Self::Report => "report-ip",
            _ => "ip",
        }
    }

    const fn key_prefix(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::StepUp => "step-up",
            Self::Invitation => "invitation",
            Self::SecondFactor => "second-factor",
            Self::ResetRequest => "reset-request",
            Self::Reset => "reset",
            Self::EmailRequest => "email-request",
            Self::EmailChange => "email-change",
            Self::Report => "report",
            Self::Unasked => "unasked",
        }
    }
}

/// The account that an attempt is aimed at, whether it exists or not.
#[derive(Debug, Clone)]
pub struct AccountKey {
    tenant: String,
    digest: String,
}

impl AccountKey {
    /// The account `subject` (an e-mail address or another identifier that the
    /// caller sent) of the tenant with the slug `tenant`. The table only sees
    /// a SHA-256 over both, each preceded by its length. The subject is taken
    /// in the spelling by which accounts are looked up ([`canonical_email`]),
    /// so that no other spelling gives an account a second count.
    pub fn new(tenant: &str, subject: &str) -> Self {
        let digest = hash(&[tenant.as_bytes(), canonical_email(subject).as_bytes()]);
        Self { tenant: tenant.to_owned(), digest }
    }

    fn item_key(&self, purpose: Purpose) -> String {
        format!("{}#{}", purpose.key_prefix(), self.digest)
    }
}

/// The source address as counted: an IPv4 address by itself, also when mapped
/// into IPv6 (RFC 4291 §2.5.5.2); an IPv6 address by its /64, the block that
/// a single subscriber commands.
fn address_key(address: IpAddr, purpose: Purpose) -> String {
    let digest = match address.to_canonical() {
        IpAddr::V4(v4) => hash(&[&v4.octets()]),
        IpAddr::V6(v6) => hash(&[&v6.octets()[..8]]),
    };
    format!("{}#{digest}", purpose.address_prefix())
}

/// A reservation made at `now`, unlike any other.
fn new_entry(now: Timestamp) -> Result<String, StoreError> {
    let nonce = crate::random::bytes::<12>()?;
    Ok(format!("{}:{}", now.as_millisecond(), hex::encode(nonce)))
}

/// SHA-256 in hex over `parts`, each preceded by its length as eight bytes.
fn hash(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    hex::encode(context.finish())
}

/// The throttle and its table.
#[derive(Debug, Clone)]
pub struct Throttle {
    client: Client,
    table: String,
}

/// The right to check one secret, already counted as a failure. Dropping it
/// leaves it so; [`Admission::succeeded`] takes it back.
///
/// It cannot be made but by [`Throttle::admit`], cannot be cloned, and is what
/// password checks and, through [`Cleared`], new sessions ask for.
#[must_use = "an admission that is dropped counts as a failed attempt"]
#[derive(Debug)]
pub struct Admission<'t> {
    throttle: &'t Throttle,
    tenant: String,
    address_key: String,
    account_key: String,
    entry: String,
}

/// Proof that an admitted attempt succeeded, good for one session.
#[must_use = "a session is made from this"]
#[derive(Debug)]
pub struct Cleared {
    tenant: String,
}

/// Whose count is exhausted. For the audit log; the client is never told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockedBy {
    /// The source address.
    Address,
    /// The account.
    Account,
}

/// Why an attempt is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// Answer 429.
    #[error("locked for {retry_after} s")]
    #[non_exhaustive]
    Locked {
        /// Slug of the tenant that the attempt names.
        tenant: String,
        /// Seconds after which the next attempt would be admitted, at least 1.
        retry_after: u64,
        /// Whose count is exhausted.
        by: LockedBy,
        /// True once per key and window: record this lockout in the audit
        /// log, and not the denials that follow.
        first: bool,
    },
    /// Answer 503: the throttle fails closed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AdmitError> for Problem {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::Locked { retry_after, .. } => Self::TooManyRequests(retry_after),
            AdmitError::Store(error) => error.into(),
        }
    }
}

/// A key whose count is exhausted.
struct Full {
    retry_after: u64,
    /// When the last lockout of this key was noted, epoch ms.
    noted: Option<i64>,
}

/// Outcome of a conditional write.
enum Write {
    Done,
    /// The condition did not hold for this item (`None`: there is no item).
    Refused(Option<Item>),
}

impl Throttle {
    /// The throttle that keeps its counts in `table` (key `pk`, a string; time
    /// to live on `expires_at`, epoch seconds). Needs `UpdateItem` and
    /// `DeleteItem`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Reserves an attempt on `account` from `address` at `now`, first with
    /// the address, then with the account. An attempt that the account's count
    /// refuses is not held against the address.
    ///
    /// # Errors
    /// [`AdmitError::Locked`] when either count is exhausted;
    /// [`AdmitError::Store`] when the store fails: the attempt must then be
    /// refused, and may have been counted.
    pub async fn admit(
        &self,
        now: Timestamp,
        address: IpAddr,
        account: &AccountKey,
        purpose: Purpose,
    ) -> Result<Admission<'_>, AdmitError> {
        let admission = Admission {
            throttle: self,
            tenant: account.tenant.clone(),
            address_key: address_key(address, purpose),
            account_key: account.item_key(purpose),
            entry: new_entry(now)?,
        };
        if let Err(full) = self.reserve(now, &admission.address_key, &admission.entry).await? {
            let key = &admission.address_key;
            return Err(self.locked(now, LockedBy::Address, key, account, &full).await?);
        }
        if let Err(full) = self.reserve(now, &admission.account_key, &admission.entry).await? {
            self.release(&admission.address_key, &admission.entry).await?;
            let key = &admission.account_key;
            return Err(self.locked(now, LockedBy::Account, key, account, &full).await?);
        }
        Ok(admission)
    }

    /// Counts a mail that `recipient` did not ask for, from whatever address
    /// it is asked for: who invites a whole team does so from one. Nothing takes
    /// it back.
    ///
    /// # Errors
    /// As [`Throttle::admit`]: no mail must leave then.
    pub async fn count_unasked(
        &self,
        now: Timestamp,
        recipient: &AccountKey,
    ) -> Result<(), AdmitError> {
        let key = recipient.item_key(Purpose::Unasked);
        match self.reserve(now, &key, &new_entry(now)?).await? {
            Ok(()) => Ok(()),
            Err(full) => Err(self.locked(now, LockedBy::Account, &key, recipient, &full).await?),
        }
    }

    async fn reserve(
        &self,
        now: Timestamp,
        key: &str,
        entry: &str,
    ) -> Result<Result<(), Full>, StoreError> {
        let Some(attempts) = self.add(now, key, entry).await? else {
            return Ok(Ok(()));
        };
        let expired: Vec<String> = attempts
            .entries
            .iter()
            .filter(|attempt| !in_window(attempt.at, now.as_millisecond()))
            .map(|attempt| attempt.entry.clone())
            .collect();
        if expired.is_empty() {
            return Ok(Err(attempts.full(now)));
        }
        // Entries that left the window are out for everybody, so deleting them
        // needs no condition on what else the set holds.
        self.remove(key, expired).await?;
        Ok(match self.add(now, key, entry).await? {
            None => Ok(()),
            Some(attempts) => Err(attempts.full(now)),
        })
    }

    /// Adds `entry` if the set has room; otherwise returns what fills it.
    async fn add(
        &self,
        now: Timestamp,
        key: &str,
        entry: &str,
    ) -> Result<Option<Attempts>, StoreError> {
        let outcome = self
            .update(
                key,
                "ADD attempts :entry SET expires_at = :expires_at",
                "attribute_not_exists(attempts) OR size(attempts) < :limit",
                [
                    (":entry", AttributeValue::Ss(vec![entry.to_owned()])),
                    (":expires_at", expires_at(now)),
                    (":limit", AttributeValue::N(LIMIT.to_string())),
                ],
            )
            .await?;
        match outcome {
            Write::Done => Ok(None),
            Write::Refused(item) => {
                let attempts = Attempts::read(&item.unwrap_or_default())?;
                // Refused with our own entry inside: the SDK retried a write
                // whose answer was lost.
                let ours = attempts.entries.iter().any(|attempt| attempt.entry == entry);
                Ok((!ours).then_some(attempts))
            }
        }
    }

    /// Takes a reservation back.
    async fn release(&self, key: &str, entry: &str) -> Result<(), StoreError> {
        self.remove(key, vec![entry.to_owned()]).await
    }

    async fn remove(&self, key: &str, entries: Vec<String>) -> Result<(), StoreError> {
        // Without the condition an update makes the item that it does not
        // find; that it is gone (cleared or expired) is as good.
        self.update(
            key,
            "DELETE attempts :entries",
            "attribute_exists(pk)",
            [(":entries", AttributeValue::Ss(entries))],
        )
        .await
        .map(|_| ())
    }

    /// The refusal for an exhausted key; notes the lockout if none was noted
    /// in the last window.
    async fn locked(
        &self,
        now: Timestamp,
        by: LockedBy,
        key: &str,
        account: &AccountKey,
        full: &Full,
    ) -> Result<AdmitError, StoreError> {
        let noted_before = full.noted.is_some_and(|at| in_window(at, now.as_millisecond()));
        let first = !noted_before && {
            let outcome = self
                .update(
                    key,
                    "SET lock_noted = :now",
                    "attribute_exists(attempts) AND \
                     (attribute_not_exists(lock_noted) OR lock_noted <= :left)",
                    [
                        (":now", number(now.as_millisecond())),
                        (":left", number(now.as_millisecond() - window_ms())),
                    ],
                )
                .await?;
            matches!(outcome, Write::Done)
        };
        let tenant = account.tenant.clone();
        Ok(AdmitError::Locked { tenant, retry_after: full.retry_after, by, first })
    }

    async fn update<const N: usize>(
        &self,
        key: &str,
        update: &str,
        condition: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<Write, StoreError> {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let outcome = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PARTITION_KEY, AttributeValue::S(key.to_owned()))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(Write::Done),
            Err(error) => match error.into_service_error() {
                UpdateItemError::ConditionalCheckFailedException(refused) => {
                    Ok(Write::Refused(refused.item))
                }
                other => Err(StoreError::unavailable("throttle table", &other)),
            },
        }
    }
}

impl Admission<'_> {
    /// Slug of the tenant for which the attempt was admitted.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Says that the secret was right: clears the account's count and takes
    /// this attempt's reservation off the source address. Failed attempts from
    /// the same address stay counted, so a success cannot launder them.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails: refuse the sign-in. The attempt
    /// then stays counted.
    pub async fn succeeded(self) -> Result<Cleared, StoreError> {
        let cleared = async {
            self.throttle
                .client
                .delete_item()
                .table_name(&self.throttle.table)
                .key(PARTITION_KEY, AttributeValue::S(self.account_key))
                .send()
                .await
                .map_err(|error| StoreError::unavailable("throttle table", &error))
        };
        // At once: neither depends on the other.
        let released = self.throttle.release(&self.address_key, &self.entry);
        tokio::try_join!(cleared, released)?;
        Ok(Cleared { tenant: self.tenant })
    }
}

impl Throttle {
    /// Uses the one-time value number `step` of `series` up at `now`, and says
    /// whether neither it nor a later one was used before. Good for values
    /// that cease to be valid within a day. Needs `UpdateItem`.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails: take the value for used.
    pub async fn use_once(
        &self,
        now: Timestamp,
        series: &AccountKey,
        step: u64,
    ) -> Result<bool, StoreError> {
        let outcome = self
            .update(
                &format!("step#{}", series.digest),
                "SET last_step = :step, expires_at = :expires_at",
                "attribute_not_exists(last_step) OR last_step < :step",
                [
                    (":step", AttributeValue::N(step.to_string())),
                    (":expires_at", number(now.as_second() + 24 * 60 * 60)),
                ],
            )
            .await?;
        Ok(matches!(outcome, Write::Done))
    }
}

impl Cleared {
    /// Slug of the tenant for which the attempt was admitted.
    pub(super) fn into_tenant(self) -> String {
        self.tenant
    }
}

/// A reservation as stored, and its time in epoch ms.
struct Attempt {
    entry: String,
    at: i64,
}

/// The reservations of a key, with the last noted lockout in epoch ms.
struct Attempts {
    entries: Vec<Attempt>,
    noted: Option<i64>,
}

impl Attempts {
    fn read(item: &Item) -> Result<Self, StoreError> {
        let set = item
            .get(ATTEMPTS)
            .and_then(|value| value.as_ss().ok())
            .ok_or_else(|| malformed(ATTEMPTS))?;
        let entries = set
            .iter()
            .map(|entry| {
                let at = entry.split_once(':').and_then(|(at, _)| at.parse().ok());
                let at = at.ok_or_else(|| malformed(ATTEMPTS))?;
                Ok(Attempt { entry: entry.clone(), at })
            })
            .collect::<Result<_, StoreError>>()?;
        let noted =
            item.contains_key(LOCK_NOTED).then(|| read_number(item, LOCK_NOTED)).transpose()?;
        Ok(Self { entries, noted })
    }

    fn full(&self, now: Timestamp) -> Full {
        let times: Vec<i64> = self.entries.iter().map(|attempt| attempt.at).collect();
        // The store has refused already; one whose clock runs ahead of ours
        // may have filled the set, and then the next second is soon enough.
        let retry_after = retry_after(&times, now.as_millisecond()).unwrap_or(1);
        Full { retry_after, noted: self.noted }
    }
}

const fn window_ms() -> i64 {
    WINDOW.as_secs() * 1000
}

/// Whether an attempt at `at` still counts at `now` (both epoch ms): the
/// window is open at its old end, so an attempt leaves it after exactly
/// [`WINDOW`].
const fn in_window(at: i64, now: i64) -> bool {
    at > now - window_ms()
}

/// Seconds from `now` until fewer than [`LIMIT`] of `attempts` (epoch ms, any
/// order) are in the window; `None` when that is so already.
fn retry_after(attempts: &[i64], now: i64) -> Option<u64> {
    let mut live: Vec<i64> = attempts.iter().copied().filter(|at| in_window(*at, now)).collect();
    live.sort_unstable_by(|a, b| b.cmp(a));
    // An attempt counted by an environment whose clock is a little ahead lies
    // in the future; nobody is told to wait for longer than the window.
    let frees = (live.get(LIMIT - 1)? + window_ms()).min(now + window_ms());
    u64::try_from(frees - now).ok().map(|ms| ms.div_ceil(1000))
}

/// When the store may forget a key: two windows from now, so that no skew
/// between clocks makes it forget an attempt that still counts.
fn expires_at(now: Timestamp) -> AttributeValue {
    number(now.as_second() + 2 * WINDOW.as_secs())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    /// The rule in the words of the claim: does the window that ends at `now`
    /// hold `LIMIT` attempts?
    fn locked_by_counting(attempts: &[i64], now: i64) -> bool {
        attempts.iter().filter(|at| now - **at < window_ms()).count() >= LIMIT
    }

    proptest! {
        #[test]
        fn decision_agrees_with_counting(
            attempts in prop::collection::vec(0..2 * window_ms(), 0..40),
            now in window_ms()..2 * window_ms(),
        ) {
            let attempts: Vec<i64> = attempts.into_iter().filter(|at| *at <= now).collect();
            prop_assert_eq!(retry_after(&attempts, now).is_some(), locked_by_counting(&attempts, now));
        }

        #[test]
        fn retry_after_is_the_first_whole_second_that_admits(
            attempts in prop::collection::vec(0..window_ms(), LIMIT..40),
            now in window_ms() - 1000..2 * window_ms(),
        ) {
            if let Some(seconds) = retry_after(&attempts, now) {
                let seconds = i64::try_from(seconds).unwrap();
                prop_assert!(seconds >= 1);
                prop_assert!(!locked_by_counting(&attempts, now + seconds * 1000));
                prop_assert!(locked_by_counting(&attempts, now + (seconds - 1) * 1000));
            }
        }

        #[test]
        fn no_window_ever_holds_more_than_the_limit(
            mut tries in prop::collection::vec(0..4 * window_ms(), 0..200),
        ) {
            tries.sort_unstable();
            let mut admitted: Vec<i64> = Vec::new();
            for now in tries {
                if retry_after(&admitted, now).is_none() {
                    admitted.push(now);
                }
            }
            for (index, first) in admitted.iter().enumerate() {
                if let Some(eleventh) = admitted.get(index + LIMIT) {
                    prop_assert!(eleventh - first >= window_ms());
                }
            }
        }
    }

    #[test]
    fn the_window_ends_to_the_millisecond() {
        let attempts = [1_000; LIMIT];
        assert_eq!(retry_after(&attempts, 1_000), Some(900));
        assert_eq!(retry_after(&attempts, 1_000 + window_ms() - 1), Some(1));
        assert_eq!(retry_after(&attempts, 1_000 + window_ms()), None);
        assert_eq!(retry_after(&attempts[1..], 1_000), None);
        // Counted by an environment whose clock is ahead.
        assert_eq!(retry_after(&attempts, 999), Some(900));
    }

    #[test]
    fn addresses_group_by_subscriber() {
        let key = |text: &str| address_key(text.parse().unwrap(), Purpose::SignIn);
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        // A /64 is not mistaken for an IPv4 address with the same bytes.
        let asking = address_key("192.0.2.1".parse().unwrap(), Purpose::ResetRequest);
        assert_ne!(key("192.0.2.1"), asking);
        assert_ne!(key("0.0.0.0"), address_key(Ipv6Addr::UNSPECIFIED.into(), Purpose::SignIn));
    }

    #[test]
    fn accounts_are_told_apart_by_what_identifies_them() {
        let key = |tenant, subject, purpose| AccountKey::new(tenant, subject).item_key(purpose);
        let base = key("acme", "anna@example.com", Purpose::SignIn);
        // Same account: case, full-width letters, surrounding blanks.
        assert_eq!(base, key("acme", " Anna@Example.COM", Purpose::SignIn));
        assert_eq!(base, key("acme", "ａｎｎａ@example.com", Purpose::SignIn));
        assert_ne!(base, key("acme", "anna@example.org", Purpose::SignIn));
        assert_ne!(base, key("acme", "anna@example.com", Purpose::Invitation));
        // The border between tenant and subject is part of the key.
        assert_ne!(key("ab", "c", Purpose::SignIn), key("a", "bc", Purpose::SignIn));
        assert!(!base.contains("anna") && !base.contains("acme"));
    }

    #[test]
    fn a_foreign_entry_is_an_error_and_not_a_free_slot() {
        let item = |entry: &str| {
            Item::from([(ATTEMPTS.to_owned(), AttributeValue::Ss(vec![entry.to_owned()]))])
        };
        assert!(Attempts::read(&item("1700000000000:00")).is_ok());
        assert!(matches!(Attempts::read(&item("soon:00")), Err(StoreError::Defect(_))));
        assert!(matches!(Attempts::read(&Item::new()), Err(StoreError::Defect(_))));
    }
}
