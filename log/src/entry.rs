//! An audit entry, its canonical form and its leaf in the log.
//!
//! # Canonical form
//! The RFC 8785 (JCS) form of [`CommittedEntry`]. An optional member that has
//! no value is absent, never `null`. `at` has exactly three digits after the
//! second. The leaf is the RFC 6962 hash of these bytes.
//!
//! # Commitments
//! `source_ip`, `user_agent` and the values of changes flagged `personal` enter
//! the canonical form as `{"commitment": hex}`, where the commitment is
//!
//! ```text
//! SHA-256("keystone/audit/commitment/v1" || 0x00 || salt || JCS(value))
//! ```
//!
//! The prefix has 29 bytes and the salt 32, so the parts cannot be mistaken for
//! each other, and no leaf or node of the tree starts like the prefix. The salt
//! is random and used once: without it the commitment says nothing, not even
//! whether two values are equal. Salt and value lie beside the entry as an
//! [`Opening`], under the JSON pointer of the commitment. Erasing an opening
//! (GDPR Article 17) erases the personal data and leaves the leaf, and with it
//! each proof, as it was.
//!
//! A change's values are commitments exactly if its `personal` is true; a
//! recorded value that merely looks like a commitment is not taken for one.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    delta::Change,
    merkle::{self, Hash, leaf_hash},
};

/// The longest canonical form of an entry, in bytes: what the 16-bit length of
/// an entry bundle (C2SP tlog-tiles) can say.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// The largest `seq`: 2^53 − 2, so that the log never outgrows
/// [`merkle::MAX_SIZE`] leaves and JSON carries the number exactly.
pub const MAX_SEQ: u64 = merkle::MAX_SIZE - 1;

const COMMITMENT_PREFIX: &[u8; 29] = b"keystone/audit/commitment/v1\0";

/// The operating system's random source failed.
#[derive(Debug, thiserror::Error)]
#[error("no randomness available")]
pub struct Unavailable;

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// What kind of actor.
    pub kind: ActorKind,
    /// The actor's pseudonymous id, never a name or an address.
    pub id: String,
    /// The role under which a user acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The id (not the token) of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// What kind of actor acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// A user of the tenant.
    User,
    /// A scheduled or queued job.
    Job,
    /// The vendor's operator.
    Operator,
    /// Somebody not signed in, as in a failed login.
    Anonymous,
}

/// What was acted on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// The resource's type, such as `batch`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The resource's id.
    pub id: String,
}

/// How the action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Success,
    /// The actor was not allowed to.
    Denied,
    /// It was tried and did not work.
    Failed,
}

/// An entry before it has a place in the log, with its personal values in
/// plain. It has no `Debug` and no `Serialize`, so that these do not leak.
#[derive(Clone)]
pub struct Draft {
    /// The entry's id.
    pub id: Uuid,
    /// When the action took place; recorded to the millisecond.
    pub at: Timestamp,
    /// The tenant whose log this is.
    pub tenant_id: String,
    /// Who acted.
    pub actor: Actor,
    /// What was done, as `resource.verb`, such as `batch.create`.
    pub action: String,
    /// What was acted on.
    pub resource: Resource,
    /// How the resource's state changed; empty for a read.
    pub delta: Vec<Change>,
    /// The address that the request came from. Personal.
    pub source_ip: Option<IpAddr>,
    /// The request's `User-Agent`. Personal.
    pub user_agent: Option<String>,
    /// The request's id, or the job's.
    pub request_id: String,
    /// How the action ended.
    pub outcome: Outcome,
}

/// A salted commitment to a personal value; see the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// The commitment.
    pub commitment: Hash,
}

/// What opens a [`Commitment`]. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    /// Random bytes, used for this value only; as text, standard base64.
    #[serde(serialize_with = "write_salt", deserialize_with = "read_salt")]
    pub salt: [u8; 32],
    /// The personal value.
    pub value: Value,
}

impl Opening {
    /// The commitment that this opens.
    ///
    /// # Errors
    /// [`EntryError::Json`] when the value has no RFC 8785 form.
    pub fn commitment(&self) -> Result<Commitment, EntryError> {
        let value = serde_json_canonicalizer::to_vec(&self.value)?;
        Ok(Commitment { commitment: commitment_of(&self.salt, &value) })
    }
}

/// The commitment to a value in its canonical form.
pub(crate) fn commitment_of(salt: &[u8; 32], canonical: &[u8]) -> Hash {
    Hash::of(&[COMMITMENT_PREFIX, salt, canonical])
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening(..)")
    }
}

fn write_salt<S: Serializer>(salt: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(salt))
}

fn read_salt<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
    bytes.try_into().map_err(|_| D::Error::custom("a salt has 32 bytes"))
}

/// The openings of an entry's commitments by their JSON pointer (RFC 6901) into
/// the canonical form, such as `/source_ip` or `/delta/0/value`. Erasing a
/// personal value is removing its opening, salt included.
pub type Personal = BTreeMap<String, Opening>;

/// An entry with its place in the log, as it is stored, published and hashed.
///
/// Reading refuses members that it does not know, so store other data beside
/// the entry, not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommittedEntry {
    /// The entry's number in the tenant's log, from 0 without gaps: the index
    /// of its leaf. At most [`MAX_SEQ`].
    pub seq: u64,
    /// The entry's id.
    #[serde(with = "uuid::serde::hyphenated")]
    pub id: Uuid,
    /// When the action took place, to the millisecond. As text,
    /// `2026-01-02T03:04:05.678Z`: of fixed width, so that text order is time
    /// order.
    #[serde(serialize_with = "write_at")]
    pub at: Timestamp,
    /// The tenant whose log this is.
    pub tenant_id: String,
    /// Who acted.
    pub actor: Actor,
    /// What was done.
    pub action: String,
    /// What was acted on.
    pub resource: Resource,
    /// How the resource's state changed, personal values as commitments.
    pub delta: Vec<Change>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<Commitment>,
    /// The request's `User-Agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Commitment>,
    /// The request's id, or the job's.
    pub request_id: String,
    /// How the action ended.
    pub outcome: Outcome,
}

/// `at` as [`CommittedEntry`] writes it; also the form in which to compare it
/// with the bounds of a query.
pub fn at_text(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn write_at<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at_text(*at))
}

impl Draft {
    /// Gives the entry its place in the log and replaces its personal values by
    /// commitments, taking a fresh salt for each.
    ///
    /// # Errors
    /// [`EntryError::Seq`], [`EntryError::Number`], [`EntryError::Name`] and
    /// [`EntryError::Length`] when the entry cannot be recorded so that each
    /// reader computes the same leaf; [`EntryError::Random`] when there is no
    /// salt. Nothing is recorded then, and the action must not take place.
    pub fn seal(
        self,
        seq: u64,
        mut salt: impl FnMut() -> Result<[u8; 32], Unavailable>,
    ) -> Result<(CommittedEntry, Personal), EntryError> {
        let mut personal = Personal::new();
        let mut commit = |path: String, value: Value| -> Result<Commitment, EntryError> {
            let opening = Opening { salt: salt()?, value };
            let commitment = opening.commitment()?;
            personal.insert(path, opening);
            Ok(commitment)
        };

        let source_ip = self
            .source_ip
            .map(|ip| commit("/source_ip".into(), ip.to_canonical().to_string().into()))
            .transpose()?;
        let user_agent =
            self.user_agent.map(|agent| commit("/user_agent".into(), agent.into())).transpose()?;
        let mut delta = self.delta;
        for (index, change) in delta.iter_mut().enumerate() {
            for (member, slot) in [("before", &mut change.before), ("value", &mut change.value)] {
                let Some(value) = slot else { continue };
                let path = format!("/delta/{index}/{member}");
                check(value, &path)?;
                if change.personal {
                    *value = serde_json::to_value(commit(path, value.take())?)?;
                }
            }
        }

        let entry = CommittedEntry {
            seq,
            id: self.id,
            // Through the text, so that the entry is what it will be read as.
            at: at_text(self.at).parse().map_err(|_| EntryError::Time)?,
            tenant_id: self.tenant_id,
            actor: self.actor,
            action: self.action,
            resource: self.resource,
            delta,
            source_ip,
            user_agent,
            request_id: self.request_id,
            outcome: self.outcome,
        };
        let bytes = entry.canonical()?.len();
        if bytes > MAX_ENTRY_BYTES {
            return Err(EntryError::Length(bytes));
        }
        Ok((entry, personal))
    }
}

impl CommittedEntry {
    /// The canonical form: RFC 8785 JSON in UTF-8.
    ///
    /// # Errors
    /// [`EntryError::Seq`] and [`EntryError::Json`] for an entry that
    /// [`Draft::seal`] did not make.
    pub fn canonical(&self) -> Result<Vec<u8>, EntryError> {
        if self.seq > MAX_SEQ {
            return Err(EntryError::Seq(self.seq));
        }
        Ok(serde_json_canonicalizer::to_vec(self)?)
    }

    /// Reads a canonical form, as an offline verifier does.
    ///
    /// # Errors
    /// [`EntryError::Json`] when the bytes are no entry and
    /// [`EntryError::NotCanonical`] when they are one in another form: what is
    /// shown to a reader would not be all that was hashed.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, EntryError> {
        let entry: Self = serde_json::from_slice(bytes)?;
        if entry.canonical()? == bytes { Ok(entry) } else { Err(EntryError::NotCanonical) }
    }

    /// The hash of the entry's leaf in the tenant's log.
    ///
    /// # Errors
    /// As [`Self::canonical`].
    pub fn leaf_hash(&self) -> Result<Hash, EntryError> {
        Ok(leaf_hash(&self.canonical()?))
    }

    /// The entry for display: each commitment replaced by its value, after
    /// checking that the opening fits, and each whose opening was erased by
    /// `{"commitment": hex, "erased": true}`.
    ///
    /// # Errors
    /// [`EntryError::Opening`] when an opening is not that of its commitment or
    /// belongs to none, and [`EntryError::Commitment`] when a personal value is
    /// no commitment: the stored record was tampered with.
    pub fn open(&self, personal: &Personal) -> Result<Value, EntryError> {
        let mut shown = serde_json::to_value(self)?;
        let paths = self.personal_paths();
        if let Some(stray) = personal.keys().find(|path| !paths.contains(path)) {
            return Err(EntryError::Opening(stray.clone()));
        }
        for path in paths {
            let slot =
                shown.pointer_mut(&path).ok_or_else(|| EntryError::Commitment(path.clone()))?;
            let commitment: Commitment = serde_json::from_value(slot.clone())
                .map_err(|_| EntryError::Commitment(path.clone()))?;
            *slot = match personal.get(&path) {
                Some(opening) if opening.commitment()? == commitment => opening.value.clone(),
                Some(_) => return Err(EntryError::Opening(path)),
                None => json!({ "commitment": commitment.commitment, "erased": true }),
            };
        }
        Ok(shown)
    }

    /// The JSON pointers of all commitments.
    pub fn personal_paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        paths.extend(self.source_ip.map(|_| "/source_ip".to_owned()));
        paths.extend(self.user_agent.map(|_| "/user_agent".to_owned()));
        for (index, change) in self.delta.iter().enumerate().filter(|(_, change)| change.personal) {
            paths.extend(change.before.as_ref().map(|_| format!("/delta/{index}/before")));
            paths.extend(change.value.as_ref().map(|_| format!("/delta/{index}/value")));
        }
        paths
    }
}

/// Refuses values that some reader would not reproduce: integers beyond
/// ±(2^53 − 1), which JCS rounds (RFC 7493 §2.2), and member names that BSON
/// cannot carry (NUL) or that its libraries take for extended JSON (`$`).
fn check(value: &Value, path: &str) -> Result<(), EntryError> {
    match value {
        Value::Number(number) => {
            let integer = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            if integer.is_some_and(|magnitude| magnitude > merkle::MAX_SIZE) {
                return Err(EntryError::Number(path.to_owned()));
            }
            Ok(())
        }
        Value::Array(elements) => elements.iter().try_for_each(|element| check(element, path)),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| {
            if name.starts_with('$') || name.contains('\0') {
                return Err(EntryError::Name(path.to_owned()));
            }
            check(member, path)
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// An entry that cannot be recorded, or a record that is not what was recorded.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The number exceeds [`MAX_SEQ`].
    #[error("audit entry number {0} is out of range")]
    Seq(u64),
    /// The time has no RFC 3339 form.
    #[error("audit entry time is out of range")]
    Time,
    /// An integer beyond ±(2^53 − 1) in the value at this place.
    #[error("{0}: an integer is not safe in JSON")]
    Number(String),
    /// A member name with NUL or a leading `$` in the value at this place.
    #[error("{0}: a member name cannot be recorded")]
    Name(String),
    /// The canonical form has so many bytes, more than [`MAX_ENTRY_BYTES`].
    #[error("audit entry of {0} bytes is too long")]
    Length(usize),
    /// No salt to be had.
    #[error(transparent)]
    Random(#[from] Unavailable),
    /// Not JSON, or not that of an entry.
    #[error("not an audit entry: {0}")]
    Json(#[from] serde_json::Error),
    /// An entry, but not in its canonical form.
    #[error("the audit entry is not in canonical form")]
    NotCanonical,
    /// The opening under this pointer is not that of a commitment there.
    #[error("{0}: the personal value is not what was committed to")]
    Opening(String),
    /// The value at this place should be a commitment.
    #[error("{0}: not a commitment")]
    Commitment(String),
}

#[cfg(test)]
pub(crate) mod tests {
    use mongodb::bson;
    use proptest::prelude::*;

    use super::{super::delta::delta, *};

    pub(crate) const GOLDEN_CANONICAL: &str = r#"{"action":"batch.update","actor":{"id":"u-1","kind":"user","role":"editor","session":"s-1"},"at":"2026-01-02T03:04:05.678Z","delta":[{"before":{"commitment":"cf8a3cbbef0c06b0c8daecadbae78ab4355ec11986d0769c52fed103cfd71b40"},"op":"replace","path":"/contact/email","personal":true,"value":{"commitment":"0036667a41dcbd35b74872529364903dc1a787cb966da2242f3d2b28e4531801"}},{"before":1.5,"op":"replace","path":"/weight","personal":false,"value":null}],"id":"0197c1f0-0000-7000-8000-000000000001","outcome":"success","request_id":"r-1","resource":{"id":"b-1","type":"batch"},"seq":7,"source_ip":{"commitment":"19e704541237c0884083cbc22d733d227fb4e2d452789d50eeeea18d08687d32"},"tenant_id":"acme","user_agent":{"commitment":"3c5f4bfafcc972a7b522b085596412365a034535906784ba97647df1884c85b9"}}"#;
    pub(crate) const GOLDEN_LEAF: &str =
        "a8d990f90cd2edefbe78a80e16fc169999af2284b885d07550f00cc1b99147c0";

    /// Salts 0101.., 0202.., and so on.
    pub(crate) fn salts() -> impl FnMut() -> Result<[u8; 32], Unavailable> {
        let mut count = 0;
        move || {
            count += 1;
            Ok([count; 32])
        }
    }

    pub(crate) fn draft() -> Draft {
        let before = json!({ "lot": "L-1", "weight": 1.5, "contact": { "email": "a@b.example" } });
        let after = json!({ "lot": "L-1", "weight": null, "contact": { "email": "c@d.example" } });
        Draft {
            id: "0197c1f0-0000-7000-8000-000000000001".parse().unwrap(),
            at: "2026-01-02T03:04:05.678912Z".parse().unwrap(),
            tenant_id: "acme".into(),
            actor: Actor {
                kind: ActorKind::User,
                id: "u-1".into(),
                role: Some("editor".into()),
                session: Some("s-1".into()),
            },
            action: "batch.update".into(),
            resource: Resource { kind: "batch".into(), id: "b-1".into() },
            delta: delta(Some(&before), Some(&after), &["/contact"]).unwrap(),
            source_ip: Some("192.0.2.7".parse().unwrap()),
            user_agent: Some("curl/8".into()),
            request_id: "r-1".into(),
            outcome: Outcome::Success,
        }
    }

    fn sealed() -> (CommittedEntry, Personal) {
        draft().seal(7, salts()).unwrap()
    }

    /// Bytes, commitments and leaf, made with Python's `hashlib` and `json`;
    /// any reader must arrive at the same.
    #[test]
    fn golden_entry() {
        let (entry, personal) = sealed();
        assert_eq!(String::from_utf8(entry.canonical().unwrap()).unwrap(), GOLDEN_CANONICAL);
        assert_eq!(entry.leaf_hash().unwrap().to_string(), GOLDEN_LEAF);
        let paths: Vec<&String> = personal.keys().collect();
        assert_eq!(paths, ["/delta/0/before", "/delta/0/value", "/source_ip", "/user_agent"]);
        assert_eq!(
            serde_json::to_value(&personal["/source_ip"]).unwrap(),
            json!({
                "salt": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
                "value": "192.0.2.7",
            })
        );
    }

    #[test]
    fn storage_keeps_the_leaf() {
        let (entry, personal) = sealed();
        let canonical = entry.canonical().unwrap();

        let json = serde_json::to_vec(&entry).unwrap();
        let loaded: CommittedEntry = serde_json::from_slice(&json).unwrap();
        assert_eq!(loaded, entry);
        assert_eq!(loaded.canonical().unwrap(), canonical);
        let value = serde_json::to_value(&entry).unwrap();
        assert_eq!(serde_json::from_value::<CommittedEntry>(value).unwrap(), entry);
        assert_eq!(CommittedEntry::from_canonical(&canonical).unwrap(), entry);

        let stored = bson::serialize_to_vec(&entry).unwrap();
        let loaded: CommittedEntry = bson::deserialize_from_slice(&stored).unwrap();
        assert_eq!(loaded.canonical().unwrap(), canonical);
        // Queries compare these as text.
        let document: bson::Document = bson::deserialize_from_slice(&stored).unwrap();
        assert_eq!(document.get_str("id").unwrap(), "0197c1f0-0000-7000-8000-000000000001");
        assert_eq!(document.get_str("at").unwrap(), "2026-01-02T03:04:05.678Z");
        let stored = bson::serialize_to_document(&entry).unwrap();
        let loaded: CommittedEntry = bson::deserialize_from_document(stored).unwrap();
        assert_eq!(loaded.canonical().unwrap(), canonical);

        let stored = bson::serialize_to_vec(&personal).unwrap();
        let loaded: Personal = bson::deserialize_from_slice(&stored).unwrap();
        assert!(loaded == personal);
        assert_eq!(entry.open(&loaded).unwrap(), entry.open(&personal).unwrap());
    }

    #[test]
    fn each_byte_of_the_canonical_form_counts() {
        let (entry, _) = sealed();
        let mut shown = serde_json::to_value(&entry).unwrap();
        let leaf = entry.leaf_hash().unwrap();
        let mut places = Vec::new();
        collect(&shown, "", &mut places);
        assert!(places.len() > 20);
        for place in places {
            let slot = shown.pointer_mut(&place).unwrap();
            let original = slot.clone();
            *slot = match (place.as_str(), &original) {
                (_, Value::Number(number)) => (number.as_f64().unwrap() + 1.0).into(),
                (_, Value::Bool(flag)) => (!flag).into(),
                (_, Value::Null) => 0.into(),
                ("/actor/kind", _) => "job".into(),
                ("/outcome", _) => "denied".into(),
                ("/at", _) => "2026-01-02T03:04:05.679Z".into(),
                ("/delta/0/op" | "/delta/1/op", _) => "add".into(),
                (_, Value::String(text)) => {
                    let last = if text.ends_with('0') { '1' } else { '0' };
                    let mut text = text.clone();
                    text.pop();
                    text.push(last);
                    text.into()
                }
                _ => Value::Null,
            };
            if place == "/seq" {
                *shown.pointer_mut("/seq").unwrap() = 8.into();
            }
            let changed: CommittedEntry = serde_json::from_value(shown.clone()).unwrap();
            assert_ne!(changed.leaf_hash().unwrap(), leaf, "{place}");
            *shown.pointer_mut(&place).unwrap() = original;
        }
        for member in ["/actor/role", "/actor/session", "/source_ip", "/user_agent"] {
            let mut shown = shown.clone();
            let (parent, name) = member.rsplit_once('/').unwrap();
            shown.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
            let changed: CommittedEntry = serde_json::from_value(shown).unwrap();
            assert_ne!(changed.leaf_hash().unwrap(), leaf, "{member}");
        }
    }

    /// The JSON pointers of all scalars.
    fn collect(value: &Value, path: &str, places: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                members
                    .iter()
                    .for_each(|(name, value)| collect(value, &format!("{path}/{name}"), places));
            }
            Value::Array(elements) => {
                elements
                    .iter()
                    .enumerate()
                    .for_each(|(i, value)| collect(value, &format!("{path}/{i}"), places));
            }
            _ => places.push(path.to_owned()),
        }
    }

    #[test]
    fn opening_shows_what_was_drafted() {
        let (entry, personal) = sealed();
        let shown = entry.open(&personal).unwrap();
        assert_eq!(shown["source_ip"], "192.0.2.7");
        assert_eq!(shown["user_agent"], "curl/8");
        assert_eq!(shown["delta"], serde_json::to_value(draft().delta).unwrap());
    }

    #[test]
    fn erasing_keeps_the_leaf_and_shows_that_it_happened() {
        let (entry, mut personal) = sealed();
        let leaf = entry.leaf_hash().unwrap();
        personal.remove("/source_ip").unwrap();
        personal.remove("/delta/0/before").unwrap();
        let shown = entry.open(&personal).unwrap();
        assert_eq!(
            shown["source_ip"],
            json!({ "commitment": entry.source_ip.unwrap().commitment, "erased": true })
        );
        assert_eq!(shown["delta"][0]["before"]["erased"], true);
        assert_eq!(shown["delta"][0]["value"], "c@d.example");
        assert_eq!(entry.leaf_hash().unwrap(), leaf);
        assert!(entry.open(&Personal::new()).is_ok());
    }

    #[test]
    fn a_tampered_opening_is_refused() {
        let (entry, personal) = sealed();
        let refused = |tamper: &dyn Fn(&mut Personal)| {
            let mut personal = personal.clone();
            tamper(&mut personal);
            match entry.open(&personal) {
                Err(EntryError::Opening(path)) => path,
                other => format!("{other:?}"),
            }
        };
        let value = |p: &mut Personal| p.get_mut("/source_ip").unwrap().value = "192.0.2.8".into();
        assert_eq!(refused(&value), "/source_ip");
        let salt = |p: &mut Personal| p.get_mut("/delta/0/value").unwrap().salt[31] ^= 1;
        assert_eq!(refused(&salt), "/delta/0/value");
        let swap = |p: &mut Personal| {
            let agent = p["/user_agent"].clone();
            p.insert("/source_ip".into(), agent);
        };
        assert_eq!(refused(&swap), "/source_ip");
        let stray = |p: &mut Personal| {
            let agent = p["/user_agent"].clone();
            p.insert("/actor/id".into(), agent);
        };
        assert_eq!(refused(&stray), "/actor/id");

        let mut plain = entry.clone();
        plain.delta[0].value = Some("c@d.example".into());
        assert!(matches!(
            plain.open(&personal),
            Err(EntryError::Commitment(path)) if path == "/delta/0/value"
        ));
    }

    #[test]
    fn equal_values_have_unequal_commitments() {
        let mut salt = salts();
        let (first, _) = draft().seal(7, &mut salt).unwrap();
        let (second, _) = draft().seal(7, &mut salt).unwrap();
        assert_ne!(first.source_ip, second.source_ip);
        assert_ne!(first.user_agent, second.user_agent);
        assert_ne!(first.delta[0].value, second.delta[0].value);

        let text = String::from_utf8(first.canonical().unwrap()).unwrap();
        for secret in ["192.0.2.7", "curl", "b.example", "d.example"] {
            assert!(!text.contains(secret), "{secret}");
        }
    }

    #[test]
    fn an_address_has_one_form() {
        let mapped = Draft { source_ip: Some("::ffff:192.0.2.7".parse().unwrap()), ..draft() };
        assert_eq!(mapped.seal(7, salts()).unwrap().0.source_ip, sealed().0.source_ip);
    }

    #[test]
    fn a_value_shaped_like_a_commitment_is_a_value() {
        let forged = json!({ "commitment": Hash([7; 32]) });
        let delta = delta(None, Some(&json!({ "field": [forged] })), &[]).unwrap();
        let (entry, personal) = Draft { delta, ..draft() }.seal(7, salts()).unwrap();
        assert_eq!(entry.open(&personal).unwrap()["delta"][0]["value"], json!([forged]));
    }

    #[test]
    fn absent_is_not_null() {
        let (entry, personal) = Draft {
            actor: Actor { kind: ActorKind::Job, id: "j-1".into(), role: None, session: None },
            delta: Vec::new(),
            source_ip: None,
            user_agent: None,
            ..draft()
        }
        .seal(0, salts())
        .unwrap();
        assert!(personal.is_empty());
        assert_eq!(
            serde_json::to_value(&entry).unwrap(),
            json!({
                "seq": 0,
                "id": "0197c1f0-0000-7000-8000-000000000001",
                "at": "2026-01-02T03:04:05.678Z",
                "tenant_id": "acme",
                "actor": { "kind": "job", "id": "j-1" },
                "action": "batch.update",
                "resource": { "type": "batch", "id": "b-1" },
                "delta": [],
                "request_id": "r-1",
                "outcome": "success",
            })
        );
    }

    #[test]
    fn only_the_canonical_form_is_read_as_such() {
        let refused = |text: String| CommittedEntry::from_canonical(text.as_bytes()).unwrap_err();
        let canonical = GOLDEN_CANONICAL;
        for changed in [
            canonical.replace(":7,", ": 7,"),
            canonical.replace(":7,", ":7.0,"),
            canonical.replace(".678Z", ".6780Z"),
            canonical.replace("acme", "\\u0061cme"),
            canonical.replace(r#""session""#, r#""role":null,"session""#),
            canonical.replace(r#""tenant_id""#, r#""source":1,"tenant_id""#),
        ] {
            assert_ne!(changed, canonical);
            refused(changed);
        }
        assert!(matches!(
            refused(canonical.replace(":7,", ":9007199254740991,")),
            EntryError::Seq(9_007_199_254_740_991)
        ));
    }

    #[test]
    fn what_readers_would_not_reproduce_is_refused() {
        let with = |value: Value, personal: &[&str]| {
            let delta = delta(None, Some(&json!({ "list": [value] })), personal).unwrap();
            Draft { delta, ..draft() }.seal(7, salts())
        };
        for personal in [[].as_slice(), &["/list"]] {
            assert!(with(((1_u64 << 53) - 1).into(), personal).is_ok());
            assert!(with(1e300.into(), personal).is_ok());
            for number in [(1_i64 << 53).into(), (-(1_i64 << 53)).into(), u64::MAX.into()] {
                assert!(matches!(
                    with(number, personal),
                    Err(EntryError::Number(path)) if path == "/delta/0/value"
                ));
            }
            assert!(matches!(
                with(json!({ "a": [{ "b": u64::MAX }] }), personal),
                Err(EntryError::Number(_))
            ));
            for name in ["$numberDouble", "a\0"] {
                assert!(matches!(
                    with(json!({ name: "1.0" }), personal),
                    Err(EntryError::Name(path)) if path == "/delta/0/value"
                ));
            }
        }
        assert!(draft().seal(MAX_SEQ, salts()).is_ok());
        assert!(matches!(draft().seal(MAX_SEQ + 1, salts()), Err(EntryError::Seq(_))));
        assert!(matches!(draft().seal(7, || Err(Unavailable)), Err(EntryError::Random(_))));
    }

    #[test]
    fn an_entry_fits_a_bundle() {
        let long = |bytes: usize| Draft { request_id: "r".repeat(bytes), ..draft() };
        let rest = sealed().0.canonical().unwrap().len() - "r-1".len();
        assert!(long(MAX_ENTRY_BYTES - rest).seal(7, salts()).is_ok());
        assert!(matches!(
            long(MAX_ENTRY_BYTES - rest + 1).seal(7, salts()),
            Err(EntryError::Length(65_536))
        ));
    }

    #[test]
    fn text_order_is_time_order() {
        let text = |at: &str| at_text(at.parse().unwrap());
        assert_eq!(text("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000Z");
        assert_eq!(text("2026-01-02T03:04:05.0009999Z"), "2026-01-02T03:04:05.000Z");
        assert!(text("2026-01-02T03:04:05Z") < text("2026-01-02T03:04:05.5Z"));
    }

    #[test]
    fn debug_output_shows_no_personal_value() {
        let (entry, personal) = sealed();
        let debug = format!("{entry:?} {personal:?}");
        assert!(!debug.contains("192.0.2.7") && !debug.contains("d.example"));
    }

    /// RFC 8785 §3.2.2, §3.2.3 and appendix B: what the canonicalizer must do.
    #[test]
    fn rfc_8785_samples() {
        let canonical = |text: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            serde_json_canonicalizer::to_string(&value).unwrap()
        };
        assert_eq!(
            canonical(
                r#"{
                  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
                  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
                  "literals": [null, true, false]
                }"#
            ),
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(
            canonical(
                r#"{
                  "\u20ac": "Euro Sign",
                  "\r": "Carriage Return",
                  "\ufb33": "Hebrew Letter Dalet With Dagesh",
                  "1": "One",
                  "\ud83d\ude00": "Emoji: Grinning Face",
                  "\u0080": "Control",
                  "\u00f6": "Latin Small Letter O With Diaeresis"
                }"#
            ),
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
             \"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\
             \"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
        );
        for (bits, text) in [
            (0x0000_0000_0000_0000_u64, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ] {
            let value = Value::from(f64::from_bits(bits));
            assert_eq!(serde_json_canonicalizer::to_string(&value).unwrap(), text);
        }
        assert!(serde_json_canonicalizer::to_string(&f64::NAN).is_err());
        assert!(serde_json_canonicalizer::to_string(&f64::INFINITY).is_err());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1_i64 << 53) + 1..1_i64 << 53).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            // Written without an exponent, and so read back as an integer.
            (9e15..1e22_f64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[^$\0][^\0]{0,4}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn storage_keeps_the_leaf_of_any_values(
            before in value(),
            after in value(),
            personal in prop::bool::ANY,
        ) {
            let (before, after) = (json!({ "v": before }), json!({ "v": after }));
            let pointers = if personal { ["/v"].as_slice() } else { &[] };
            let delta = delta(Some(&before), Some(&after), pointers).unwrap();
            let (entry, personal) = Draft { delta, ..draft() }.seal(7, salts()).unwrap();
            let canonical = entry.canonical().unwrap();
            prop_assert_eq!(
                CommittedEntry::from_canonical(&canonical).unwrap().canonical().unwrap(), &*canonical);

            let stored = bson::serialize_to_vec(&entry).unwrap();
            let loaded: CommittedEntry = bson::deserialize_from_slice(&stored).unwrap();
            prop_assert_eq!(loaded.canonical().unwrap(), &*canonical);
            let stored = bson::serialize_to_document(&entry).unwrap();
            let loaded: CommittedEntry = bson::deserialize_from_document(stored).unwrap();
            prop_assert_eq!(loaded.canonical().unwrap(), canonical);

            let stored = bson::serialize_to_vec(&personal).unwrap();
            let loaded: Personal = bson::deserialize_from_slice(&stored).unwrap();
            prop_assert_eq!(
                serde_json_canonicalizer::to_vec(&entry.open(&loaded).unwrap()).unwrap(),
                serde_json_canonicalizer::to_vec(&entry.open(&personal).unwrap()).unwrap()
            );
        }
    }
}
