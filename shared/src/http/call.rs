//! What a handler gets: the request, and what the pipeline established.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Reply, Spec, input};
use crate::Problem;
use crate::audit::entry::{Actor, Outcome, Resource};
use crate::auth::operator::OperatorAccess;
use crate::auth::user::User;
use crate::auth::{Grant, Permission, Principal};
use crate::crypto::{Place, Sealed, at_rest};
use crate::platform::Platform;
use crate::tenant::{Attribution, Entity, Id, Stored, Tenant, WriteTx, schema};

/// A request, decoded but not judged.
#[derive(Debug)]
pub struct Request {
    /// API Gateway's id of the request.
    pub id: String,
    /// The address that API Gateway saw the request come from.
    pub source_ip: String,
    /// The client's description of itself, at most 256 bytes.
    pub user_agent: Option<String>,
    /// When the function received it.
    pub now: Timestamp,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) path: BTreeMap<String, String>,
    pub(super) query: BTreeMap<String, Vec<String>>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// A header's value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// A path parameter.
    ///
    /// # Errors
    /// 404 when it cannot be the name of anything.
    pub fn path<T: std::str::FromStr>(&self, name: &str) -> Result<T, Problem> {
        self.path.get(name).and_then(|text| text.parse().ok()).ok_or(Problem::NotFound)
    }

    /// The JSON body, checked against the schema of `T`.
    ///
    /// # Errors
    /// 400 when it is not JSON, 422 naming every wrong field.
    pub fn body<T: DeserializeOwned + JsonSchema + 'static>(&self) -> Result<T, Problem> {
        input::body(&self.body)
    }

    /// The body as text, for handlers that must see it as it was sent.
    ///
    /// # Errors
    /// 400 when it is empty or not UTF-8.
    pub fn text(&self) -> Result<&str, Problem> {
        match std::str::from_utf8(&self.body) {
            Ok("") => Err(Problem::Malformed("A body is required.".into())),
            Ok(text) => Ok(text),
            Err(_) => Err(Problem::Malformed("The body is not UTF-8.".into())),
        }
    }

    /// The query parameters, checked against the schema of `T`.
    ///
    /// # Errors
    /// 422 naming every wrong parameter.
    pub fn query<T: DeserializeOwned + JsonSchema + 'static>(&self) -> Result<T, Problem> {
        input::query(&self.query)
    }

    /// The one of `offered` that the `Accept` header likes best (RFC 9110
    /// §12.5.1); the first where it likes several as well, or says nothing.
    ///
    /// # Errors
    /// 406 when it takes none of them.
    pub fn accepted(&self, offered: &'static [&'static str]) -> Result<&'static str, Problem> {
        let header = self.header("accept").unwrap_or("*/*");
        let mut best: Option<(&'static str, u16)> = None;
        for one in offered {
            let liking = liking(header, one);
            if liking > best.map_or(0, |(_, liking)| liking) {
                best = Some((one, liking));
            }
        }
        best.map(|(one, _)| one).ok_or(Problem::NotAcceptable(offered))
    }

    /// The query of this request with `name` set to `value`, to stand behind a
    /// path: what the next page of a list is asked for with.
    pub fn query_with(&self, name: &str, value: &str) -> String {
        let same = self.query.iter().filter(|(known, _)| *known != name);
        let pairs = same.flat_map(|(name, values)| values.iter().map(|value| (&**name, &**value)));
        let pairs: Vec<String> = pairs
            .chain([(name, value)])
            .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
            .collect();
        format!("?{}", pairs.join("&"))
    }

    /// The source address.
    ///
    /// # Errors
    /// [`Problem::Internal`] when the gateway gave none, which it always does.
    pub fn ip(&self) -> Result<IpAddr, Problem> {
        self.source_ip.parse().map_err(|_| {
            tracing::error!("the event has no source address");
            Problem::Internal
        })
    }

    /// The version that `If-Match` names (RFC 9110 §13.1.1).
    ///
    /// # Errors
    /// 428 when the header is absent; 412 when it can match no version.
    pub fn if_match(&self) -> Result<i64, Problem> {
        let value = self.header("if-match").ok_or(Problem::PreconditionRequired)?;
        value
            .trim()
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|text| text.parse().ok().filter(|version: &i64| version.to_string() == text))
            .ok_or(Problem::Stale)
    }

    /// Who acts, for an audit entry about this request.
    ///
    /// # Errors
    /// As [`Request::ip`].
    pub fn attribution(&self, actor: Actor) -> Result<Attribution, Problem> {
        Ok(Attribution {
            actor,
            source_ip: Some(self.ip()?),
            user_agent: self.user_agent.clone(),
            request_id: self.id.clone(),
            now: self.now,
        })
    }
}

/// A request to a public route.
pub struct PublicCall {
    pub(super) request: Request,
    pub(super) platform: Arc<Platform>,
}

impl PublicCall {
    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The clients.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }
}

/// A request by a principal who is permitted to make it, in their tenant.
/// Only the pipeline makes one.
pub struct Call {
    pub(super) request: Request,
    pub(super) platform: Arc<Platform>,
    pub(super) principal: Principal,
    pub(super) tenant: Tenant,
    pub(super) spec: &'static Spec,
}

impl Call {
    /// The request.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The clients.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Who makes the request.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The principal's tenant.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// When the function received the request.
    pub fn now(&self) -> Timestamp {
        self.request.now
    }

    /// A fresh id.
    ///
    /// # Errors
    /// 503 when no randomness is to be had.
    pub fn new_id(&self) -> Result<Id, Problem> {
        Ok(crate::random::id(self.request.now)?)
    }

    /// Whether values under `permission` are shown to the principal in clear.
    pub fn sees(&self, permission: Permission) -> bool {
        self.principal.grant(permission) == Grant::Full
    }

    /// The user who makes the request, as the transaction sees them: what it
    /// writes then follows from a session that lives until it commits.
    ///
    /// # Errors
    /// 401 when they left or their session ended since the pipeline accepted
    /// it; 503 when the database does not answer.
    pub async fn caller(&self, tx: &mut WriteTx<'_>) -> Result<Stored<User>, Problem> {
        let user = tx.get::<User>(self.principal.user()).await?;
        let settings = tx.settings().await?.entity;
        let still = |user: &Stored<User>| self.principal.is_accepted_by(&user.entity, &settings);
        user.filter(still).ok_or(Problem::Unauthenticated)
    }

    /// As [`Call::caller`], who must be granted `permission` without a bound
    /// still.
    ///
    /// # Errors
    /// As [`Call::caller`]; 403 when they are not.
    pub async fn caller_with(
        &self,
        tx: &mut WriteTx<'_>,
        permission: Permission,
    ) -> Result<Stored<User>, Problem> {
        let caller = self.caller(tx).await?;
        match permission.grant(caller.entity.role) {
            Grant::Full => Ok(caller),
            _ => Err(Problem::Forbidden),
        }
    }

    /// Who acts, for an audit entry.
    ///
    /// # Errors
    /// As [`Request::ip`].
    pub fn attribution(&self) -> Result<Attribution, Problem> {
        self.request.attribution(self.principal.actor())
    }

    /// Runs `work` in an audited transaction. With an `Idempotency-Key` its
    /// answer is kept for a day in the same transaction, and the same request
    /// again gets it without anything being done twice.
    ///
    /// # Errors
    /// As [`Tenant::audited`]; 409 when the key was used with another body, 404
    /// when what the kept answer is about was erased.
    pub async fn audited(
        &self,
        action: &'static str,
        mut work: impl AsyncFnMut(&mut WriteTx<'_>) -> Result<Reply, Problem>,
    ) -> Result<Reply, Problem> {
        let by = self.attribution()?;
        let Some(key) = self.idempotency_key()? else {
            return self.tenant.audited(&by, action, work).await;
        };
        let mut first = None;
        let outcome = self
            .tenant
            .audited(&by, action, async |tx: &mut WriteTx<'_>| {
                if let Some(kept) = tx.get::<Kept>(key.id).await? {
                    first = Some(kept.entity);
                    return Err(already_answered());
                }
                let reply = work(tx).await?;
                let answered =
                    Answered { fingerprint: key.fingerprint.clone(), reply: reply.clone() };
                let place = reply_place(key.id);
                let sealed = tx.tenant().seal(place, tx.subject(), &answered).await?;
                tx.keep(key.id, Kept { reply: sealed }).await?;
                Ok(reply)
            })
            .await;
        let Some(kept) = first else { return outcome };
        let answered = self.tenant.open_kept(reply_place(key.id), Some(&kept.reply)).await?;
        let answered = answered.ok_or(Problem::NotFound)?;
        let Answered { fingerprint, reply } = answered.expose();
        if *fingerprint == key.fingerprint { Ok(reply.clone()) } else { Err(already_answered()) }
    }

    /// Records that sealed personal data of `resource` is disclosed in clear, of
    /// `records` people or businesses: after a breach it is to be said of how many
    /// (GDPR Art. 33(3)(a)).
    ///
    /// # Errors
    /// As [`Tenant::record`]; the caller must then not disclose it.
    pub async fn disclose(
        &self,
        action: &'static str,
        resource: Resource,
        fields: &[&str],
        records: usize,
    ) -> Result<(), Problem> {
        self.tenant
            .record(
                &self.attribution()?,
                action,
                resource,
                Outcome::Success,
                serde_json::json!({ "disclosed": fields, "records": records }),
            )
            .await
    }

    /// Records that the operator who makes the request asks for this, whether
    /// it is served or not. What was asked for is recorded, not what came of
    /// it, so that the entry stands before anything is shown. The access is
    /// read again in the transaction: no use of it follows its end.
    ///
    /// # Errors
    /// 401 when it has ended; otherwise as [`Tenant::record`]. Nothing must
    /// then be shown.
    pub(super) async fn record_use_of_access(&self, served: bool) -> Result<(), Problem> {
        let (by, access) = (self.attribution()?, self.principal.session());
        let resource = Resource { kind: OperatorAccess::RESOURCE.into(), id: access.to_string() };
        let outcome = if served { Outcome::Success } else { Outcome::Denied };
        // An id or a number says whose it is; other text could be anything, and
        // would stand in the trail for good.
        let named = |text: &str| text.parse::<Id>().is_ok() || text.parse::<u64>().is_ok();
        let path: BTreeMap<&str, &str> = self
            .request
            .path
            .iter()
            .map(|(name, text)| (name.as_str(), if named(text) { text } else { "invalid" }))
            .collect();
        let facts = serde_json::json!({ "route": self.spec.name, "path": path });
        self.tenant
            .recorded(&by, "operator_access.use", outcome, async |tx: &mut WriteTx<'_>| {
                tx.about(resource.clone());
                tx.facts(&facts, &[])?;
                let settings = tx.settings().await?.entity;
                let found = tx.get::<OperatorAccess>(access).await?;
                let still = found.is_some_and(|one| one.entity.serves(&settings, self.now()));
                if still { Ok(()) } else { Err(Problem::Unauthenticated) }
            })
            .await
    }

    fn idempotency_key(&self) -> Result<Option<Key>, Problem> {
        let Some(text) = self.request.header("idempotency-key") else {
            return Ok(None);
        };
        if !(1..=255).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Problem::invalid(
                "Idempotency-Key",
                "Must be 1 to 255 visible ASCII characters without blanks.",
            ));
        }
        let user = self.principal.user();
        let id = sha256(&[user.as_bytes(), self.spec.name.as_bytes(), text.as_bytes()]);
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&id[..16]);
        let path: Vec<String> =
            self.request.path.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(Some(Key {
            id: Id::from(uuid::Builder::from_custom_bytes(bytes).into_uuid()),
            fingerprint: hex::encode(sha256(&[
                path.join("&").as_bytes(),
                self.request.header("if-match").unwrap_or_default().as_bytes(),
                &self.request.body,
            ])),
        }))
    }
}

/// How much an `Accept` header likes a media type, from 0 to 1000: by the most
/// specific of its ranges that fits, the best of those that are as specific.
fn liking(header: &str, media_type: &str) -> u16 {
    let of_kind = media_type.split('/').next().unwrap_or_default();
    let ranges = header.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next()?;
        let specific = match range.split_once('/')? {
            _ if range.eq_ignore_ascii_case(media_type) => 2,
            (kind, "*") if kind.eq_ignore_ascii_case(of_kind) => 1,
            ("*", "*") => 0,
            _ => return None,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some((specific, weight.map_or(1000, thousandths)))
    });
    ranges.max().map_or(0, |(_, weight)| weight)
}

/// A weight such as `0.25` in thousandths; one that is none counts as 0.
fn thousandths(weight: &str) -> u16 {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 {
        return 0;
    }
    match (whole, format!("{fraction:0<3}").parse::<u16>()) {
        ("0", Ok(fraction)) => fraction,
        ("1", Ok(0)) => 1000,
        _ => 0,
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3).
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => out.push(char::from(b)),
            b => {
                let digits = hex::encode_upper([b]);
                out.push('%');
                out.push_str(&digits);
            }
        }
    }
    out
}

struct Key {
    id: Id,
    fingerprint: String,
}

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

fn already_answered() -> Problem {
    Problem::Conflict("This Idempotency-Key was used with another request.".into())
}

/// The first answer to a request with an `Idempotency-Key`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(with = "at_rest")]
    reply: Sealed<Answered>,
}

/// The answer, and a hash of what was asked. The hash is sealed as well: beside
/// what is sealed, it would let whoever has the database try every telephone
/// number against it.
#[derive(Serialize, Deserialize)]
struct Answered {
    fingerprint: String,
    reply: Reply,
}

impl Entity for Kept {
    const COLLECTION: &'static schema::Collection = &schema::IDEMPOTENCY;
    const RESOURCE: &'static str = "idempotency_key";
    const PERSONAL: &'static [&'static str] = &[];
}

fn reply_place(id: Id) -> Place<'static> {
    Place { collection: schema::IDEMPOTENCY.name, document: id, field: "reply" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_is_the_one_that_is_liked_best() {
        const OFFERED: &[&str] = &["application/json", "application/ld+json", "text/csv"];
        let accepted = |header: Option<&str>| {
            let accept = header.map(|header| ("accept".to_owned(), header.to_owned()));
            Request {
                id: String::new(),
                source_ip: String::new(),
                user_agent: None,
                now: Timestamp::UNIX_EPOCH,
                headers: accept.into_iter().collect(),
                path: BTreeMap::new(),
                query: BTreeMap::new(),
                body: Vec::new(),
            }
            .accepted(OFFERED)
        };
        for (header, expected) in [
            (None, "application/json"),
            (Some("*/*"), "application/json"),
            (Some("text/csv"), "text/csv"),
            (Some("TEXT/CSV;charset=utf-8"), "text/csv"),
            (Some("text/*"), "text/csv"),
            (Some("image/png, text/csv;q=0.1"), "text/csv"),
            (Some("application/*;q=0.5, text/csv;q=0.4"), "application/json"),
            (Some("application/json;q=0.1, application/ld+json"), "application/ld+json"),
            (Some("*/*;q=0.2, application/json;q=0"), "application/ld+json"),
        ] {
            assert_eq!(accepted(header), Ok(expected), "{header:?}");
        }
        for header in ["image/png", "text/csv;q=0", "csv", "", "text/csv;q=2", "*/*;q=0"] {
            assert_eq!(accepted(Some(header)), Err(Problem::NotAcceptable(OFFERED)), "{header}");
        }
    }
}
