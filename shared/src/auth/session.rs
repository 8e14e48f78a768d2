//! Session records: they make a signed token revocable at once and enforce
//! the idle limit (claim C9).

use std::collections::HashMap;
use std::net::IpAddr;

use aws_lc_rs::digest;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use futures::{TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::Principal;
use super::dynamo::{Item, malformed, number, read_number};
use super::throttle::Cleared;
use crate::tenant::{Id, StoreError};

/// A session that was not used for this long has ended.
pub const IDLE_LIMIT: SignedDuration = SignedDuration::from_hours(8);

/// A session ends this long after sign-in, however much it is used.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// What is sensitive needs a sign-in no older than this.
pub const RECENT: SignedDuration = SignedDuration::from_mins(15);

/// How long a sign-in may wait for its second factor.
pub const CHALLENGE_LIFE: SignedDuration = SignedDuration::from_mins(5);

/// The method (RFC 8176) that stands for a second factor.
const SECOND_FACTOR: &str = "otp";

/// For whom a session is made. The tenant is the one that the attempt was
/// admitted for and does not stand here.
#[derive(Debug, Clone)]
pub struct SessionSubject {
    /// Id of the user.
    pub user: Id,
    /// Name of the user's role.
    pub role: String,
    /// The user's credentials, as [`User::credentials`](super::user::User)
    /// counts them.
    pub credentials: i64,
    /// The tenant's sessions, as [`Settings::session_epoch`] counts them.
    ///
    /// [`Settings::session_epoch`]: crate::tenant::Settings::session_epoch
    pub epoch: i64,
    /// Whether the user proved a second factor beside the password.
    pub second_factor: bool,
    /// The address that the user signs in from.
    pub source_ip: IpAddr,
    /// The client's description of itself, at most 256 bytes.
    pub user_agent: Option<String>,
}

/// A session as stored. Times are exact to the millisecond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Id of the session.
    pub sid: Id,
    /// Slug of the tenant.
    pub tenant: String,
    /// Id of the user.
    pub user: Id,
    /// Name of the role that the user had at sign-in.
    pub role: String,
    /// The credentials that the user had at sign-in.
    pub credentials: i64,
    /// The tenant's count of ends of all sessions at sign-in.
    pub epoch: i64,
    /// How the user proved who they are.
    pub amr: Vec<String>,
    /// The address of sign-in.
    pub source_ip: IpAddr,
    /// What the client called itself at sign-in.
    pub user_agent: Option<String>,
    /// Time of sign-in.
    pub created_at: Timestamp,
    /// Time of the last request.
    pub last_seen: Timestamp,
    /// End of the session at the latest.
    pub expires_at: Timestamp,
}

impl SessionRecord {
    /// Whether the user proved a second factor.
    pub fn has_second_factor(&self) -> bool {
        self.amr.iter().any(|method| method == SECOND_FACTOR)
    }

    /// Whether the sign-in is recent enough at `now` for what is sensitive.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        now.duration_since(self.created_at) <= RECENT
    }
}

/// A sign-in whose password was right and that waits for a second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Slug of the tenant.
    pub tenant: String,
    /// Id of the user.
    pub user: Id,
    /// The credentials that the user had when the password was right.
    pub credentials: i64,
    /// The tenant's count of ends of all sessions then.
    pub epoch: i64,
}

/// The session store and its table.
#[derive(Debug, Clone)]
pub struct Sessions {
    client: Client,
    table: String,
}

const STORE: &str = "session table";

/// The index of the table by user (partition key `user`, all attributes).
const BY_USER: &str = "by-user";

/// How many sessions are ended at once.
const REVOKED_AT_ONCE: usize = 16;

impl Sessions {
    /// The sessions in `table` (key `sid`, a string; time to live on `ttl`,
    /// epoch seconds).
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// Starts a session at `now`. Needs `PutItem`.
    ///
    /// # Errors
    /// [`StoreError`] when the store or the random source fails; there is no
    /// session then.
    pub async fn create(
        &self,
        now: Timestamp,
        cleared: Cleared,
        subject: SessionSubject,
    ) -> Result<SessionRecord, StoreError> {
        let created_at = to_millisecond(now)?;
        let record = SessionRecord {
            sid: crate::random::id(now)?,
            tenant: cleared.into_tenant(),
            user: subject.user,
            role: subject.role,
            credentials: subject.credentials,
            epoch: subject.epoch,
            amr: methods(subject.second_factor),
            source_ip: subject.source_ip,
            user_agent: subject.user_agent,
            created_at,
            last_seen: created_at,
            expires_at: created_at + LIFETIME,
        };
        self.put(record).await
    }

    /// Starts a session at `now` in place of the one that `principal` uses,
    /// for credentials that have changed or are about to. It is as old and
    /// ends as soon, since nobody signed in: only [`Sessions::create`] makes a
    /// session that counts as recent. `second_factor` says whether one was
    /// shown meanwhile. Needs `PutItem`.
    ///
    /// # Errors
    /// As [`Sessions::create`]; [`StoreError::Defect`] for an operator, who has
    /// no session.
    pub async fn carry_on(
        &self,
        now: Timestamp,
        principal: &Principal,
        credentials: i64,
        second_factor: bool,
    ) -> Result<SessionRecord, StoreError> {
        let before = principal.user_session();
        let before = before.ok_or_else(|| StoreError::defect("an operator has no session"))?;
        self.put(SessionRecord {
            sid: crate::random::id(now)?,
            role: principal.role().name().to_owned(),
            credentials,
            amr: methods(second_factor || before.has_second_factor()),
            last_seen: to_millisecond(now)?,
            ..before.clone()
        })
        .await
    }

    async fn put(&self, record: SessionRecord) -> Result<SessionRecord, StoreError> {
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(record.to_item()))
            .condition_expression("attribute_not_exists(sid)")
            .send()
            .await
            .map_err(|error| StoreError::unavailable(STORE, &error))?;
        Ok(record)
    }

    /// The session `sid` if it is alive at `now`, which counts as a use of it.
    /// One conditional write both checks and marks, so a revoked or expired
    /// session cannot slip through between the two. Needs `UpdateItem`.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails: refuse the request.
    pub async fn touch(
        &self,
        now: Timestamp,
        sid: Id,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let now = to_millisecond(now)?;
        let outcome = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("sid", AttributeValue::S(sid.to_string()))
            .update_expression("SET last_seen = :now")
            .condition_expression(
                "attribute_exists(sid) AND last_seen > :idle_since AND expires_at > :now",
            )
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":idle_since", number((now - IDLE_LIMIT).as_millisecond()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match outcome {
            Ok(output) => {
                let item = output.attributes.ok_or_else(|| malformed("sid"))?;
                // One that another version of this code wrote has ended.
                Ok(SessionRecord::from_item(&item).ok())
            }
            Err(error) => match error.into_service_error() {
                UpdateItemError::ConditionalCheckFailedException(_) => Ok(None),
                other => Err(StoreError::unavailable(STORE, &other)),
            },
        }
    }

    /// Ends the session `sid` at once. To end one that has ended is no error.
    /// Needs `DeleteItem`.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails: the session may still be alive.
    pub async fn revoke(&self, sid: Id) -> Result<(), StoreError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("sid", AttributeValue::S(sid.to_string()))
            .send()
            .await
            .map_err(|error| StoreError::unavailable(STORE, &error))?;
        Ok(())
    }

    /// Ends the session `sid` at once if it is alive at `now` and is one of
    /// `user`, and says whether it was. Needs `DeleteItem`.
    ///
    /// # Errors
    /// As [`Sessions::revoke`].
    pub async fn revoke_of(&self, now: Timestamp, user: Id, sid: Id) -> Result<bool, StoreError> {
        let outcome = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("sid", AttributeValue::S(sid.to_string()))
            .condition_expression("#user = :user AND last_seen > :idle_since AND expires_at > :now")
            // A reserved word of the expression language.
            .expression_attribute_names("#user", "user")
            .expression_attribute_values(":user", AttributeValue::S(user.to_string()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":idle_since", number((now - IDLE_LIMIT).as_millisecond()))
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(true),
            Err(error) => match error.into_service_error() {
                DeleteItemError::ConditionalCheckFailedException(_) => Ok(false),
                other => Err(StoreError::unavailable(STORE, &other)),
            },
        }
    }

    /// The sessions of `user` that are alive at `now`, newest first. The index
    /// follows the table within about a second, so a session made a moment ago
    /// may be missing. Needs `Query` on the index.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub async fn of_user(
        &self,
        user: Id,
        now: Timestamp,
    ) -> Result<Vec<SessionRecord>, StoreError> {
        let mut items = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_USER)
            .key_condition_expression("#user = :user")
            .filter_expression("last_seen > :idle_since AND expires_at > :now")
            .expression_attribute_names("#user", "user")
            .expression_attribute_values(":user", AttributeValue::S(user.to_string()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":idle_since", number((now - IDLE_LIMIT).as_millisecond()))
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| StoreError::unavailable(STORE, &error))?;
            found.extend(SessionRecord::from_item(&item).ok());
        }
        // Ids are UUIDv7.
        found.sort_unstable_by_key(|session| std::cmp::Reverse(session.sid));
        Ok(found)
    }

    /// Ends all sessions of `user` that are alive at `now` at once, but for
    /// `except`, and says how many. Needs `Query` on the index and
    /// `DeleteItem`; finds what [`Sessions::of_user`] finds.
    ///
    /// # Errors
    /// As [`Sessions::revoke`]: some may still be alive.
    pub async fn revoke_all(
        &self,
        now: Timestamp,
        user: Id,
        except: Option<Id>,
    ) -> Result<usize, StoreError> {
        let mut found = self.of_user(user, now).await?;
        found.retain(|session| Some(session.sid) != except);
        stream::iter(found.iter().map(|session| Ok(session.sid)))
            .try_for_each_concurrent(REVOKED_AT_ONCE, |sid| self.revoke(sid))
            .await?;
        Ok(found.len())
    }
}

impl Sessions {
    /// Remembers at `now` that the password was right, and gives the token by
    /// which the sign-in is finished. Needs `PutItem`.
    ///
    /// # Errors
    /// As [`Sessions::create`].
    pub async fn challenge(
        &self,
        now: Timestamp,
        cleared: Cleared,
        user: Id,
        (credentials, epoch): (i64, i64),
    ) -> Result<String, StoreError> {
        let token = hex::encode(crate::random::bytes::<32>()?);
        let expires_at = now + CHALLENGE_LIFE;
        self.client
            .put_item()
            .table_name(&self.table)
            .item("sid", challenge_key(&token))
            .item("tenant", AttributeValue::S(cleared.into_tenant()))
            // Not `user`, by which the index finds sessions.
            .item("challenged", AttributeValue::S(user.to_string()))
            .item("credentials", number(credentials))
            .item("epoch", number(epoch))
            .item("expires_at", number(expires_at.as_millisecond()))
            .item("ttl", number(expires_at.as_second() + 1))
            .send()
            .await
            .map_err(|error| StoreError::unavailable(STORE, &error))?;
        Ok(token)
    }

    /// The open challenge of `token` at `now`. Needs `GetItem`.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails.
    pub async fn challenged(
        &self,
        now: Timestamp,
        token: &str,
    ) -> Result<Option<Challenge>, StoreError> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("sid", challenge_key(token))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| StoreError::unavailable(STORE, &error))?;
        let Some(item) = found.item else { return Ok(None) };
        if read_number(&item, "expires_at")? <= now.as_millisecond() {
            return Ok(None);
        }
        let text = |name: &'static str| {
            let value = item.get(name).and_then(|value| value.as_s().ok());
            value.cloned().ok_or_else(|| malformed(name))
        };
        Ok(Some(Challenge {
            tenant: text("tenant")?,
            user: text("challenged")?.parse().map_err(|_| malformed("challenged"))?,
            credentials: read_number(&item, "credentials")?,
            epoch: read_number(&item, "epoch")?,
        }))
    }

    /// Uses the challenge of `token` up, and says whether it was this call
    /// that did. Needs `DeleteItem`.
    ///
    /// # Errors
    /// [`StoreError`] when the store fails: there must be no session then.
    pub async fn redeem(&self, token: &str) -> Result<bool, StoreError> {
        let outcome = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("sid", challenge_key(token))
            .condition_expression("attribute_exists(sid)")
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(true),
            Err(error) => match error.into_service_error() {
                DeleteItemError::ConditionalCheckFailedException(_) => Ok(false),
                other => Err(StoreError::unavailable(STORE, &other)),
            },
        }
    }
}

/// Where a challenge is kept: the table never sees its token. No session id
/// looks like this.
fn challenge_key(token: &str) -> AttributeValue {
    let hash = digest::digest(&digest::SHA256, token.as_bytes());
    AttributeValue::S(format!("challenge#{}", hex::encode(hash)))
}

/// How a user proved who they are (RFC 8176).
fn methods(second_factor: bool) -> Vec<String> {
    let methods: &[&str] = if second_factor { &["pwd", SECOND_FACTOR] } else { &["pwd"] };
    methods.iter().map(|&method| method.to_owned()).collect()
}

/// `at` without what is finer than a millisecond, as the store keeps it.
fn to_millisecond(at: Timestamp) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(at.as_millisecond()).map_err(StoreError::defect)
}

impl SessionRecord {
    fn to_item(&self) -> Item {
        let amr = self.amr.iter().cloned().map(AttributeValue::S).collect();
        let user_agent =
            self.user_agent.clone().map_or(AttributeValue::Null(true), AttributeValue::S);
        HashMap::from(
            [
                ("sid", AttributeValue::S(self.sid.to_string())),
                ("tenant", AttributeValue::S(self.tenant.clone())),
                ("user", AttributeValue::S(self.user.to_string())),
                ("role", AttributeValue::S(self.role.clone())),
                ("credentials", number(self.credentials)),
                ("epoch", number(self.epoch)),
                ("amr", AttributeValue::L(amr)),
                ("source_ip", AttributeValue::S(self.source_ip.to_string())),
                ("user_agent", user_agent),
                ("created_at", number(self.created_at.as_millisecond())),
                ("last_seen", number(self.last_seen.as_millisecond())),
                ("expires_at", number(self.expires_at.as_millisecond())),
                // A second late, as the whole second may lie before the end.
                ("ttl", number(self.expires_at.as_second() + 1)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        )
    }

    fn from_item(item: &Item) -> Result<Self, StoreError> {
        let text = |name: &'static str| {
            let value = item.get(name).and_then(|value| value.as_s().ok());
            value.cloned().ok_or_else(|| malformed(name))
        };
        let id = |name: &'static str| text(name)?.parse().map_err(|_| malformed(name));
        let time = |name: &'static str| {
            Timestamp::from_millisecond(read_number(item, name)?).map_err(|_| malformed(name))
        };
        let amr = item.get("amr").and_then(|value| value.as_l().ok());
        Ok(Self {
            sid: id("sid")?,
            tenant: text("tenant")?,
            user: id("user")?,
            role: text("role")?,
            credentials: read_number(item, "credentials")?,
            epoch: read_number(item, "epoch")?,
            amr: amr
                .and_then(|methods| methods.iter().map(|m| m.as_s().ok().cloned()).collect())
                .ok_or_else(|| malformed("amr"))?,
            source_ip: text("source_ip")?.parse().map_err(|_| malformed("source_ip"))?,
            user_agent: match item.get("user_agent") {
                Some(AttributeValue::S(text)) => Some(text.clone()),
                Some(AttributeValue::Null(true)) => None,
                _ => return Err(malformed("user_agent")),
            },
            created_at: time("created_at")?,
            last_seen: time("last_seen")?,
            expires_at: time("expires_at")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> SessionRecord {
        let created_at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        SessionRecord {
            sid: Id::from_u128(1),
            tenant: "acme-dairy".into(),
            user: Id::from_u128(2),
            role: "admin".into(),
            credentials: 3,
            epoch: 2,
            amr: vec!["pwd".into(), "otp".into()],
            source_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            user_agent: Some("curl/8.5".into()),
            created_at,
            last_seen: created_at,
            expires_at: created_at + LIFETIME,
        }
    }

    #[test]
    fn a_record_survives_storage() {
        let item = record().to_item();
        assert_eq!(SessionRecord::from_item(&item).unwrap(), record());
        let silent = SessionRecord { user_agent: None, ..record() };
        assert_eq!(SessionRecord::from_item(&silent.to_item()).unwrap(), silent);
        // The store must not drop the item before the session ends.
        let ttl = read_number(&item, "ttl").unwrap() * 1000;
        assert!(ttl >= record().expires_at.as_millisecond());
    }

    #[test]
    fn a_sign_in_stays_recent_for_a_quarter_of_an_hour() {
        let at = |age| record().is_recent(record().created_at + age);
        assert!(at(SignedDuration::ZERO) && at(RECENT));
        assert!(!at(RECENT + SignedDuration::from_millis(1)));
        let without = SessionRecord { amr: methods(false), ..record() };
        assert!(record().has_second_factor() && !without.has_second_factor());
    }

    #[test]
    fn an_incomplete_item_is_a_defect() {
        for name in record().to_item().keys().filter(|name| *name != "ttl") {
            let mut item = record().to_item();
            item.remove(name);
            assert!(
                matches!(SessionRecord::from_item(&item), Err(StoreError::Defect(_))),
                "{name}"
            );
        }
    }
}
