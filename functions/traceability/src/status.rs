//! The status of an event, and the log of its changes, each linked to the one
//! before (claim C12; docs/adr/0018).

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use keystone::Problem;
use keystone::tenant::{AuditFilter, Entity, Filter, Id, Order, Stored, Tenant, WriteTx, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::event::StoredEvent;

/// How far an event is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Entered, not yet handed in.
    Draft,
    /// Handed in.
    Submitted,
    /// Checked and found right.
    Verified,
    /// Doubted.
    Disputed,
    /// Checked and done with.
    Closed,
    /// Withdrawn.
    Voided,
}

impl Status {
    /// The name, as in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::Verified => "verified",
            Self::Disputed => "disputed",
            Self::Closed => "closed",
            Self::Voided => "voided",
        }
    }

    /// What may follow. Nothing follows what is closed or voided.
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::Draft => &[Self::Submitted, Self::Voided],
            Self::Submitted => &[Self::Verified, Self::Disputed, Self::Voided],
            Self::Verified => &[Self::Disputed, Self::Closed, Self::Voided],
            Self::Disputed => &[Self::Submitted, Self::Verified, Self::Voided],
            Self::Closed | Self::Voided => &[],
        }
    }
}

/// Most changes of one event's status: disputes that go on for ever end here.
const LONGEST: i64 = 1000;

/// The last link of an event's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Its number; 0 is the recording itself.
    pub seq: i64,
    /// Its hash.
    pub hash: String,
}

/// One link: SHA-256 of the RFC 8785 form of what it says, with the hash of
/// the link before. The first follows the event's own digest.
struct Saying<'a> {
    event: Id,
    seq: i64,
    from: Option<Status>,
    to: Status,
    actor: Id,
    reason: Option<&'a str>,
    at: Timestamp,
    previous: &'a str,
}

impl Saying<'_> {
    fn hash(&self) -> Result<String, Problem> {
        let saying = json!({
            "event": self.event,
            "seq": self.seq,
            "from": self.from,
            "to": self.to,
            "actor": self.actor,
            "reason": self.reason,
            "at": self.at.as_millisecond(),
            "previous": self.previous,
        });
        let canonical = serde_json_canonicalizer::to_vec(&saying).map_err(|error| {
            tracing::error!(cause = %error, "a link has no canonical form");
            Problem::Internal
        })?;
        Ok(hex::encode(digest(&SHA256, &canonical)))
    }
}

impl Link {
    /// The link that records the event itself.
    ///
    /// # Errors
    /// [`Problem::Internal`] when it has no canonical form, which it has.
    pub fn first(
        event: Id,
        to: Status,
        actor: Id,
        at: Timestamp,
        previous: &str,
    ) -> Result<Self, Problem> {
        let saying = Saying { event, seq: 0, from: None, to, actor, reason: None, at, previous };
        Ok(Self { seq: 0, hash: saying.hash()? })
    }
}

/// A change of status as it is stored, in the tenant's append-only database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// The event.
    pub event_id: Id,
    /// Number within the event's history, from 1 without gaps.
    pub seq: i64,
    /// The status before.
    pub from: Status,
    /// The status after.
    pub to: Status,
    /// The user who changed it.
    pub actor: Id,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Hash of the link before.
    pub previous: String,
    /// Hash of this link.
    pub hash: String,
}

impl Entity for Transition {
    const COLLECTION: &'static schema::Collection = &schema::EVENT_HISTORY;
    const RESOURCE: &'static str = "event_transition";
    const PERSONAL: &'static [&'static str] = &[];
}

/// A change of status to be made.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The status to be reached.
    pub to: Status,
    /// Why.
    #[schemars(length(min = 1, max = 500))]
    pub reason: String,
}

impl Move {
    /// Makes the change, by `actor` at `now`, if `before` is still at the
    /// `version` that the client saw.
    ///
    /// # Errors
    /// 409 with the present status when it is not, or when the change is not
    /// allowed.
    pub async fn apply(
        &self,
        tx: &mut WriteTx<'_>,
        before: &Stored<StoredEvent>,
        version: i64,
        (id, actor, now): (Id, Id, Timestamp),
    ) -> Result<Stored<StoredEvent>, Problem> {
        let from = before.entity.status;
        if before.version != version {
            return Err(Problem::Conflict(format!(
                "The event was changed meanwhile: its status is {}, its version {}.",
                from.name(),
                before.version
            )));
        }
        if !from.next().contains(&self.to) {
            let next: Vec<&str> = from.next().iter().map(|status| status.name()).collect();
            let next = if next.is_empty() { "nothing".into() } else { next.join(", ") };
            return Err(Problem::Conflict(format!(
                "The event's status is {}; what may follow: {next}.",
                from.name()
            )));
        }
        let link = &before.entity.history;
        if link.seq >= LONGEST {
            return Err(Problem::Conflict(format!("The status has changed {LONGEST} times.")));
        }
        let saying = Saying {
            event: before.id,
            seq: link.seq + 1,
            from: Some(from),
            to: self.to,
            actor,
            reason: Some(&self.reason),
            at: now,
            previous: &link.hash,
        };
        let hash = saying.hash()?;
        let transition = Transition {
            event_id: before.id,
            seq: saying.seq,
            from,
            to: self.to,
            actor,
            reason: self.reason.clone(),
            at: now.as_millisecond(),
            previous: link.hash.clone(),
            hash: hash.clone(),
        };
        let history = Link { seq: saying.seq, hash };
        let event = StoredEvent { status: self.to, history, ..before.entity.clone() };
        let after = tx.replace(before, event).await?;
        tx.insert(id, transition).await?;
        Ok(after)
    }
}

/// The changes of an event's status.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn transitions(tenant: &Tenant, event: Id) -> Result<Vec<Transition>, Problem> {
    let filter = Filter::all().eq("event_id", event.to_string());
    let order = Order { time: None, descending: false };
    let found = tenant.list_by::<Transition>(filter, order, None, LONGEST).await?;
    Ok(found.into_iter().map(|stored| stored.entity).collect())
}

/// The action under which the audit trail records a change of status.
pub const CHANGED: &str = "event.set_status";

/// Whether the newest change of the event's status in the audit trail is the
/// last link of its history: who rewrites the history, hashes included, cannot
/// rewrite the trail.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn is_audited(tenant: &Tenant, event: &Stored<StoredEvent>) -> Result<bool, Problem> {
    let filter = AuditFilter {
        action: Some(CHANGED.into()),
        resource_id: Some(event.id.to_string()),
        ..AuditFilter::default()
    };
    let newest = tenant.newest_audit_entry(&filter).await?;
    let Link { seq, hash } = &event.entity.history;
    Ok(newest.map_or(*seq == 0, |record| {
        record.entry.delta.iter().any(|change| {
            let value = change.value.as_ref().and_then(serde_json::Value::as_str);
            change.path.ends_with("/history/hash") && value == Some(hash)
        })
    }))
}

/// An event's status, after it was changed.
#[derive(Serialize, JsonSchema)]
pub struct StatusView {
    /// Our id of the event.
    id: Id,
    /// Its eventID.
    event_id: String,
    /// Its status.
    status: Status,
    /// Version, as in the `ETag`.
    version: i64,
}

impl StatusView {
    /// The status of `stored`.
    pub fn new(stored: &Stored<StoredEvent>) -> Self {
        Self {
            id: stored.id,
            event_id: stored.entity.event_id.clone(),
            status: stored.entity.status,
            version: stored.version,
        }
    }
}

/// A link of a history as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct LinkView {
    /// Number, from 0 without gaps; 0 is the recording itself.
    seq: i64,
    /// The status before.
    from: Option<Status>,
    /// The status after.
    to: Status,
    /// The user who changed it.
    actor: Id,
    /// Why.
    reason: Option<String>,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// Hash of the link before; the event's digest for the first.
    previous: String,
    /// SHA-256 of the RFC 8785 form of `{event, seq, from, to, actor, reason,
    /// at, previous}`, `at` in milliseconds since 1970.
    hash: String,
}

/// An event's status and how it came to be.
#[derive(Serialize, JsonSchema)]
pub struct HistoryView {
    /// Our id of the event.
    id: Id,
    /// Its eventID.
    event_id: String,
    /// Its status.
    status: Status,
    /// Version, as in the `ETag`.
    version: i64,
    /// Whether the links are dense, follow one another, and end where the event
    /// and the audit trail say; false says that somebody tampered with them.
    intact: bool,
    /// What became of the status, oldest first.
    links: Vec<LinkView>,
}

impl HistoryView {
    /// Whether nobody tampered with it.
    pub const fn is_intact(&self) -> bool {
        self.intact
    }

    /// The history of `event`, every link computed anew; `audited` is what
    /// [`is_audited`] says of it.
    ///
    /// # Errors
    /// [`Problem::Internal`] when a link has no canonical form.
    pub fn new(
        stored: &Stored<StoredEvent>,
        mut transitions: Vec<Transition>,
        audited: bool,
    ) -> Result<Self, Problem> {
        let event = &stored.entity;
        transitions.sort_by_key(|transition| transition.seq);
        let recorded = Link::first(
            stored.id,
            event.recorded_as,
            event.recorded_by,
            stored.created_at,
            &event.digest,
        )?;
        let mut links = vec![LinkView {
            seq: 0,
            from: None,
            to: event.recorded_as,
            actor: event.recorded_by,
            reason: None,
            at: stored.created_at,
            previous: event.digest.clone(),
            hash: recorded.hash.clone(),
        }];
        let (mut last, mut status, mut intact) = (recorded, event.recorded_as, audited);
        for transition in transitions {
            let at = Timestamp::from_millisecond(transition.at).unwrap_or_default();
            let saying = Saying {
                event: stored.id,
                seq: last.seq + 1,
                from: Some(status),
                to: transition.to,
                actor: transition.actor,
                reason: Some(&transition.reason),
                at,
                previous: &last.hash,
            };
            // What is shown of it is what the hash is of.
            intact &= transition.from == status && transition.previous == last.hash;
            intact &= transition.hash == saying.hash()?;
            last = Link { seq: transition.seq, hash: transition.hash.clone() };
            status = transition.to;
            links.push(LinkView {
                seq: transition.seq,
                from: Some(transition.from),
                to: transition.to,
                actor: transition.actor,
                reason: Some(transition.reason),
                at,
                previous: transition.previous,
                hash: transition.hash,
            });
        }
        intact &= last == event.history && status == event.status;
        Ok(Self {
            id: stored.id,
            event_id: event.event_id.clone(),
            status: event.status,
            version: stored.version,
            intact,
            links,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Status; 6] = [
        Status::Draft,
        Status::Submitted,
        Status::Verified,
        Status::Disputed,
        Status::Closed,
        Status::Voided,
    ];

    #[test]
    fn nothing_follows_the_end_and_nothing_becomes_a_draft_again() {
        for from in ALL {
            assert!(!from.next().contains(&Status::Draft) && !from.next().contains(&from));
            let ends = matches!(from, Status::Closed | Status::Voided);
            assert_eq!(from.next().is_empty(), ends, "{from:?}");
            assert!(ends || from.next().contains(&Status::Voided));
        }
    }

    fn event() -> Stored<StoredEvent> {
        let id = Id::from_u128(1);
        let at = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
        let by = Id::from_u128(2);
        Stored {
            id,
            version: 1,
            created_at: at,
            updated_at: at,
            entity: StoredEvent {
                event_id: "urn:x:1".into(),
                generated: false,
                identity: "urn:x:1".into(),
                event_time: at,
                keys: vec![],
                digest: "d".into(),
                document: "{}".into(),
                context: "[]".into(),
                status: Status::Submitted,
                recorded_as: Status::Submitted,
                recorded_by: by,
                history: Link::first(id, Status::Submitted, by, at, "d").unwrap(),
            },
        }
    }

    /// A history of moves, and the event after them.
    fn moved(moves: &[Status]) -> (Stored<StoredEvent>, Vec<Transition>) {
        let mut event = event();
        let mut transitions = Vec::new();
        for to in moves {
            let last = event.entity.history.clone();
            let saying = Saying {
                event: event.id,
                seq: last.seq + 1,
                from: Some(event.entity.status),
                to: *to,
                actor: Id::from_u128(3),
                reason: Some("because"),
                at: event.created_at,
                previous: &last.hash,
            };
            let hash = saying.hash().unwrap();
            transitions.push(Transition {
                event_id: event.id,
                seq: last.seq + 1,
                from: event.entity.status,
                to: *to,
                actor: Id::from_u128(3),
                reason: "because".into(),
                at: event.created_at.as_millisecond(),
                previous: last.hash.clone(),
                hash: hash.clone(),
            });
            event.entity.history = Link { seq: last.seq + 1, hash };
            event.entity.status = *to;
        }
        (event, transitions)
    }

    #[test]
    fn every_change_of_a_history_shows() {
        let moves = [Status::Disputed, Status::Verified, Status::Closed];
        let intact = |event: &Stored<StoredEvent>, transitions| {
            HistoryView::new(event, transitions, true).unwrap().intact
        };
        let (event, transitions) = moved(&moves);
        assert!(intact(&event, transitions.clone()));
        let mut shuffled = transitions.clone();
        shuffled.reverse();
        assert!(intact(&event, shuffled));
        for index in 0..3 {
            let mut missing = transitions.clone();
            missing.remove(index);
            assert!(!intact(&event, missing));
            let mut reworded = transitions.clone();
            reworded[index].reason = "why not".into();
            assert!(!intact(&event, reworded));
            let mut elsewhere = transitions.clone();
            elsewhere[index].actor = Id::from_u128(9);
            assert!(!intact(&event, elsewhere));
            let mut came_from = transitions.clone();
            came_from[index].from = Status::Closed;
            assert!(!intact(&event, came_from));
            let mut followed = transitions.clone();
            followed[index].previous = "another".into();
            assert!(!intact(&event, followed));
        }
        let mut other = event.clone();
        other.entity.digest = "e".into();
        assert!(!intact(&other, transitions.clone()));
        let mut other = event;
        other.entity.status = Status::Verified;
        assert!(!intact(&other, transitions));
    }
}
