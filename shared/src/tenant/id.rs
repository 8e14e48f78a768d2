//! Names of tenants and of the things they own.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid};

use crate::audit::merkle::Hash;

const PROVIDER: &str = "keystone";
const CANARIES: [&str; 2] = ["canary-one", "canary-two"];

/// A tenant's slug: `^[a-z][a-z0-9-]{2,30}$`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TenantId(String);

impl TenantId {
    /// Reads a slug; `None` when it does not follow the pattern.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let first_fits = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let rest_fits = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (first_fits && rest_fits && (3..=31).contains(&text.len())).then(|| Self(text.to_owned()))
    }

    /// The slug of the provider: Keystone's own tenant, which holds what belongs
    /// to no customer and in which nobody can sign in (docs/adr/0026).
    pub fn provider() -> Self {
        Self(PROVIDER.to_owned())
    }

    /// Whether this is the slug of the provider.
    pub fn is_provider(&self) -> bool {
        self.0 == PROVIDER
    }

    /// The slugs of the canaries: two tenants of Keystone's own, each of which
    /// tries to read what is the other's (docs/adr/0039).
    pub fn canaries() -> [Self; 2] {
        CANARIES.map(|slug| Self(slug.to_owned()))
    }

    /// Whether this is the slug of a canary.
    pub fn is_canary(&self) -> bool {
        CANARIES.contains(&self.as_str())
    }

    /// Whether this is the slug of a tenant that is no customer: such a one is
    /// made by `prepare-tenants`, and by nobody else.
    pub fn is_reserved(&self) -> bool {
        self.is_provider() || self.is_canary()
    }

    /// The slug as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TenantId {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a tenant id"))
    }
}

/// Id of a stored thing: a UUID, written in lower case with hyphens in every
/// format, the database's included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Uuid);

impl Id {
    /// The sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id as a UUID.
    pub const fn uuid(self) -> Uuid {
        self.0
    }

    /// The least id of its millisecond: ids are `UUIDv7`, which begin with the
    /// time (RFC 9562 §5.7).
    pub fn first_of(at: Timestamp) -> Self {
        let millis = u128::try_from(at.as_millisecond()).unwrap_or(0);
        Self(Uuid::from_u128(millis << 80))
    }

    /// When it was made, to the millisecond.
    pub fn made_at(self) -> Timestamp {
        let millis = i64::try_from(self.0.as_u128() >> 80).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// The id that `parts` always have at `at`: a `UUIDv7` whose random bits are
    /// those of their SHA-256. For what is made once though it is asked for many
    /// times.
    pub fn derived(at: Timestamp, parts: &[&str]) -> Self {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let Hash(hash) = Hash::of(&[parts.join("\n").as_bytes()]);
        let mut bits = [0; 10];
        bits.copy_from_slice(&hash[..10]);
        Self(Builder::from_unix_timestamp_millis(millis, &bits).into_uuid())
    }

    /// An id from a number, for fixed ids.
    pub const fn from_u128(value: u128) -> Self {
        Self(Uuid::from_u128(value))
    }
}

impl From<Uuid> for Id {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Id {
    type Err = uuid::Error;

    /// Reads the hyphenated form only, so that an id has one spelling.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(*text.parse::<uuid::fmt::Hyphenated>()?.as_uuid()))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Id {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uuid" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_have_the_same_id() {
        let at = Timestamp::from_millisecond(1_767_225_600_123).unwrap();
        let id = Id::derived(at, &["notice", "acme"]);
        assert_eq!(id, Id::derived(at, &["notice", "acme"]));
        assert_ne!(id, Id::derived(at, &["notice", "brill"]));
        assert_eq!(id.made_at(), at);
        assert_eq!(id.uuid().get_version_num(), 7);
    }

    #[test]
    fn what_is_reserved_could_be_a_slug() {
        for id in TenantId::canaries().iter().chain([&TenantId::provider()]) {
            assert_eq!(TenantId::parse(id.as_str()).as_ref(), Some(id));
            assert!(id.is_reserved());
            assert_ne!(id.is_canary(), id.is_provider());
        }
        assert!(!TenantId::parse("canary-three").unwrap().is_reserved());
    }

    #[test]
    fn slugs_follow_the_pattern() {
        for good in ["abc", "acme-dairy", "a01", &"a".repeat(31)] {
            assert!(TenantId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "ab", "Acme", "1abc", "-abc", "a_b", "a.b", "abc\n", &"a".repeat(32), "äbc"]
        {
            assert!(TenantId::parse(bad).is_none(), "{bad}");
        }
    }
}
