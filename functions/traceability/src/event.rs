//! Events as they are kept: what was said, what it is found by, and its
//! status. docs/adr/0017 has the reasons.

use jiff::Timestamp;
use keystone::Problem;
use keystone::tenant::{Entity, Filter, Id, Part, Stored, Tenant, WriteTx, schema, stored_time};
use serde::{Deserialize, Serialize};

use crate::epcis::document::CONTEXT;
use crate::epcis::epc;
use crate::epcis::event::Event;
use crate::epcis::json::{Json, write_text};
use crate::status::{Link, Status};

/// An event as it is stored. When it was recorded is when it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredEvent {
    /// Its eventID; that of the event that it withdraws for an error
    /// declaration.
    pub event_id: String,
    /// Whether the eventID is ours, because it came without one.
    pub generated: bool,
    /// What makes it the same event: the eventID, and for an error declaration
    /// its digest too.
    pub identity: String,
    /// When it happened.
    #[serde(with = "stored_time")]
    pub event_time: Timestamp,
    /// All that it is found by.
    pub keys: Vec<String>,
    /// SHA-256 of what it says.
    pub digest: String,
    /// Its JSON with all numbers as they were written, without `@context` and
    /// `recordTime`.
    pub document: String,
    /// Its JSON-LD contexts.
    pub context: String,
    /// Its status.
    pub status: Status,
    /// The status with which it was recorded.
    pub recorded_as: Status,
    /// The user who recorded it.
    pub recorded_by: Id,
    /// The last link of its history.
    pub history: Link,
}

impl Entity for StoredEvent {
    const COLLECTION: &'static schema::Collection = &schema::EVENTS;
    const RESOURCE: &'static str = "event";
    const PERSONAL: &'static [&'static str] = &[];
}

/// What tells whether an event is there already.
#[derive(Debug, Deserialize)]
pub struct Known {
    /// See [`StoredEvent::identity`].
    pub identity: String,
    /// See [`StoredEvent::digest`].
    pub digest: String,
    /// See [`StoredEvent::event_id`].
    pub event_id: String,
}

impl Part for Known {
    type Of = StoredEvent;
    const FIELDS: &'static [&'static str] = &["identity", "digest", "event_id"];
}

impl Known {
    /// Whether it declares an event wrong.
    pub fn is_declaration(&self) -> bool {
        self.identity != self.event_id
    }
}

/// What makes an event the same event; `None` if it has no eventID.
pub fn identity(event: &Event) -> Option<String> {
    let id = event.event_id.as_ref()?;
    Some(match event.error {
        Some(_) => format!("{id} {}", event.digest),
        None => id.clone(),
    })
}

impl StoredEvent {
    /// Whether it declares an event wrong.
    pub fn is_declaration(&self) -> bool {
        self.identity != self.event_id
    }

    /// The event under this id, recorded by `by` at `now`.
    ///
    /// # Errors
    /// [`Problem::Internal`] when its history cannot be begun.
    pub fn new(
        event: Event,
        id: Id,
        by: Id,
        now: Timestamp,
        status: Status,
    ) -> Result<Self, Problem> {
        let identity = identity(&event);
        let event_id = event.event_id.clone().unwrap_or_else(|| format!("urn:uuid:{id}"));
        Ok(Self {
            keys: event.keys(&event_id),
            generated: identity.is_none(),
            identity: identity.unwrap_or_else(|| event_id.clone()),
            event_time: event.time,
            history: Link::first(id, status, by, now, &event.digest)?,
            digest: event.digest,
            document: event.text,
            context: event.context,
            status,
            recorded_as: status,
            recorded_by: by,
            event_id,
        })
    }
}

/// The event with this id: ours, or its eventID. Of an event and its error
/// declarations, which have the same, it is the event, if it is there.
///
/// # Errors
/// 404 when there is none.
pub async fn find(tenant: &Tenant, id: &str) -> Result<Stored<StoredEvent>, Problem> {
    let found = if let Ok(id) = id.parse::<Id>() {
        tenant.get(id).await?
    } else {
        let id = identifier(id)?;
        match tenant.find(Filter::all().eq("identity", id.clone())).await? {
            Some(event) => Some(event),
            None => tenant.find(declaration_of(&id)).await?,
        }
    };
    found.ok_or(Problem::NotFound)
}

/// As [`find`], as a transaction sees it.
///
/// # Errors
/// 404 when there is none.
pub async fn find_in(tx: &mut WriteTx<'_>, id: &str) -> Result<Stored<StoredEvent>, Problem> {
    let found = if let Ok(id) = id.parse::<Id>() {
        tx.get(id).await?
    } else {
        let id = identifier(id)?;
        match tx.find(Filter::all().eq("identity", id.clone())).await? {
            Some(event) => Some(event),
            None => tx.find(declaration_of(&id)).await?,
        }
    };
    found.ok_or(Problem::NotFound)
}

fn declaration_of(event_id: &str) -> Filter {
    Filter::all().eq("keys", format!("id:{event_id}"))
}

/// Reads an identifier from a path, such as an eventID. One with slashes is
/// escaped twice, since gateways undo one escape before they look for the route.
///
/// # Errors
/// 404 when it is none, or longer than any.
pub(crate) fn identifier(id: &str) -> Result<String, Problem> {
    let id = if id.contains(':') { id.to_owned() } else { epc::unescaped(id).unwrap_or_default() };
    if id.is_empty() || id.len() > 1024 { Err(Problem::NotFound) } else { Ok(id) }
}

/// An event as JSON-LD with what the server knows of it, under `context` if
/// it stands alone.
pub fn to_json(stored: &Stored<StoredEvent>, context: Option<&str>) -> String {
    let event = &stored.entity;
    let mut out = String::with_capacity(event.document.len() + 256);
    out.push('{');
    if let Some(context) = context {
        out.push_str("\"@context\":");
        out.push_str(context);
        out.push(',');
    }
    let members = event.document.get(1..).unwrap_or("}");
    out.push_str(members.strip_suffix('}').unwrap_or(members));
    // What has no eventID of its own is known by ours.
    if event.generated {
        out.push_str(",\"eventID\":");
        write_text(&event.event_id, &mut out);
    }
    out.push_str(",\"recordTime\":");
    write_text(&stored.created_at.to_string(), &mut out);
    out.push('}');
    out
}

/// A query's answer (EPCIS 2.0 §8.2.7).
pub fn query_document(events: &[Stored<StoredEvent>], now: Timestamp) -> String {
    let results = "\"queryResults\":{\"queryName\":\"SimpleEventQuery\",\"resultsBody\":{";
    envelope("EPCISQueryDocument", (results, "}}"), events, now)
}

/// A document with these events, which can be captured elsewhere (EPCIS 2.0
/// §9.3).
pub fn document(events: &[Stored<StoredEvent>], now: Timestamp) -> String {
    envelope("EPCISDocument", ("", ""), events, now)
}

/// Events with one context, or each with its own, in their envelope; `around`
/// stands around the list of them.
fn envelope(
    kind: &str,
    around: (&str, &str),
    events: &[Stored<StoredEvent>],
    now: Timestamp,
) -> String {
    let standard = {
        let mut out = String::new();
        Json::Array(vec![Json::Text(CONTEXT.into())]).write(&mut out);
        out
    };
    let first = events.first().map_or(standard.as_str(), |event| event.entity.context.as_str());
    let shared = events.iter().all(|event| event.entity.context == first);
    let mut out = String::from("{\"@context\":");
    out.push_str(if shared { first } else { &standard });
    out.push_str(",\"type\":");
    write_text(kind, &mut out);
    out.push_str(",\"schemaVersion\":\"2.0\",\"creationDate\":");
    write_text(&now.to_string(), &mut out);
    out.push_str(",\"epcisBody\":{");
    out.push_str(around.0);
    out.push_str("\"eventList\":[");
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(&to_json(event, (!shared).then_some(event.entity.context.as_str())));
    }
    out.push(']');
    out.push_str(around.1);
    out.push_str("}}");
    out
}
