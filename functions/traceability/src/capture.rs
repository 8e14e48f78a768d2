//! Capture of EPCIS documents: many events in one audited transaction.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use keystone::http::Call;
use keystone::tenant::{Entity, Filter, Id, Stored, WriteTx, schema};
use keystone::{FieldError, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::correction::taken_back;
use crate::epcis::document::{Entry, Errors};
use crate::event::{Known, StoredEvent};
use crate::movement::of_event;
use crate::posting::{Posting, posted};
use crate::status::Status;

/// How many eventIDs one query looks for. Some servers compare every document
/// with every value that a query names, so a few short queries are quicker
/// than a long one.
const LOOKED_UP: usize = 64;
/// Most error declarations with one eventID: whoever asks for what is recorded under
/// it reads them all. Requests at once may each add their last one.
const DECLARATIONS: usize = 100;
/// Most errors that a capture job keeps.
const ERRORS_KEPT: usize = 100;

/// What becomes of a document in which an event cannot be captured
/// (EPCIS 2.0 §12.6.2, header `GS1-Capture-Error-Behaviour`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorBehaviour {
    /// Nothing of it is captured.
    Rollback,
    /// Its other events are captured.
    Proceed,
}

impl ErrorBehaviour {
    /// Reads the header.
    ///
    /// # Errors
    /// 422 naming the header when it is neither.
    pub fn of_header(value: Option<&str>) -> Result<Self, Problem> {
        match value {
            None | Some("rollback") => Ok(Self::Rollback),
            Some("proceed") => Ok(Self::Proceed),
            Some(_) => Err(Problem::invalid(
                "GS1-Capture-Error-Behaviour",
                "Must be one of: rollback, proceed.",
            )),
        }
    }
}

/// Why an event was not captured.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventError {
    /// JSON pointer into the document.
    pub field: String,
    /// What it must be, or what is there already.
    pub message: String,
    /// The event's eventID, if it has one.
    #[serde(rename = "eventID")]
    pub event_id: Option<String>,
}

/// A capture as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    behaviour: ErrorBehaviour,
    /// Events in the document.
    received: i64,
    /// Events that were recorded.
    captured: i64,
    /// Events that had been recorded before.
    known: i64,
    errors: Vec<EventError>,
}

impl Entity for Capture {
    const COLLECTION: &'static schema::Collection = &schema::CAPTURES;
    const RESOURCE: &'static str = "capture";
    const PERSONAL: &'static [&'static str] = &[];
}

/// A capture job (EPCIS 2.0 §12.6.3). The work is done when it is answered, in
/// the request's own transaction, so a job is never seen running.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaptureView {
    /// Id.
    #[serde(rename = "captureID")]
    capture_id: Id,
    /// When the document was received.
    #[schemars(with = "String", extend("format" = "date-time"))]
    created_at: Timestamp,
    /// When the work was done.
    #[schemars(with = "String", extend("format" = "date-time"))]
    finished_at: Timestamp,
    /// Whether the work goes on.
    running: bool,
    /// Whether every event is recorded now.
    success: bool,
    /// What becomes of a document with an event that cannot be captured.
    capture_error_behaviour: ErrorBehaviour,
    /// Events in the document.
    received: i64,
    /// Events that were recorded.
    captured: i64,
    /// Events that had been recorded before, with the same content.
    known: i64,
    /// What was wrong, at most 100.
    errors: Vec<EventError>,
}

impl CaptureView {
    /// The view of `stored`.
    pub fn new(stored: &Stored<Capture>) -> Self {
        let capture = stored.entity.clone();
        Self {
            capture_id: stored.id,
            created_at: stored.created_at,
            finished_at: stored.updated_at,
            running: false,
            success: capture.errors.is_empty(),
            capture_error_behaviour: capture.behaviour,
            received: capture.received,
            captured: capture.captured,
            known: capture.known,
            errors: capture.errors,
        }
    }
}

/// An event that is ready to be recorded, with its place in the document and
/// what it says of lots.
struct Ready {
    index: usize,
    id: Id,
    event: StoredEvent,
    lines: Vec<(Id, Posting)>,
}

/// Events that are ready to be recorded, and what is wrong with the others.
pub struct Batch {
    behaviour: ErrorBehaviour,
    received: usize,
    events: Vec<Ready>,
    errors: Vec<EventError>,
}

impl Batch {
    /// Takes up the entries of a document for `call`; `envelope` is what is
    /// wrong around them.
    ///
    /// # Errors
    /// 422 naming every wrong field when the envelope is wrong, or when nothing
    /// of the document is to be captured because of an event.
    pub fn new(
        call: &Call,
        entries: Vec<Entry>,
        behaviour: ErrorBehaviour,
        envelope: Errors,
    ) -> Result<Self, Problem> {
        let received = entries.len();
        let broken = !envelope.0.is_empty();
        let (mut events, mut wrong) = (Vec::with_capacity(received), envelope.0);
        for (index, entry) in entries.into_iter().enumerate() {
            let event = entry.event.filter(|event| {
                let times = event.wrong_times(call.now());
                wrong.extend(times.iter().map(|(member, message)| {
                    FieldError::new(format!("/epcisBody/eventList/{index}{member}"), *message)
                }));
                times.is_empty()
            });
            if let Some(event) = event {
                let id = call.new_id()?;
                let by = call.principal().user();
                let lines = posted(call, of_event(&event, id))?;
                let event = StoredEvent::new(event, id, by, call.now(), Status::Submitted)?;
                events.push(Ready { index, id, event, lines });
            }
            wrong.extend(entry.errors.0);
        }
        wrong.truncate(ERRORS_KEPT);
        if broken || behaviour == ErrorBehaviour::Rollback && !wrong.is_empty() {
            return Err(Problem::Invalid(wrong));
        }
        let unnamed = |FieldError { field, message }| EventError { field, message, event_id: None };
        let errors = wrong.into_iter().map(unnamed).collect();
        Ok(Self { behaviour, received, events, errors })
    }

    /// Records what is new of it, and the job under `id`.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn record(
        &self,
        tx: &mut WriteTx<'_>,
        call: &Call,
        id: Id,
    ) -> Result<Stored<Capture>, Problem> {
        let recorded = known(tx, self.events.iter().map(|ready| &ready.event)).await?;
        let mut there: HashMap<&str, &str> =
            recorded.iter().map(|(_, known)| (&*known.identity, &*known.digest)).collect();
        let mut declared = Declared::of(&recorded);
        let (mut new, mut moved) = (Vec::new(), Vec::new());
        let (mut known, mut errors) = (0, self.errors.clone());
        for Ready { index, id, event, lines } in &self.events {
            let message = match there.get(event.identity.as_str()) {
                Some(digest) if *digest == event.digest => {
                    known += 1;
                    continue;
                }
                Some(_) => ANOTHER.to_owned(),
                None if event.is_declaration() && !declared.takes(&event.event_id) => too_often(),
                None => {
                    there.insert(&event.identity, &event.digest);
                    new.push((*id, event.clone()));
                    moved.extend(lines.iter().cloned());
                    continue;
                }
            };
            if errors.len() < ERRORS_KEPT {
                errors.push(EventError {
                    field: format!("/epcisBody/eventList/{index}/eventID"),
                    message,
                    event_id: Some(event.event_id.clone()),
                });
            }
        }
        if self.behaviour == ErrorBehaviour::Rollback && !errors.is_empty() {
            new.clear();
            moved.clear();
        }
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let capture = Capture {
            behaviour: self.behaviour,
            received: count(self.received),
            captured: count(new.len()),
            known,
            errors,
        };
        for line in taken_back(tx, &recorded, &new, &moved).await? {
            moved.push((call.new_id()?, line));
        }
        tx.insert_many(new).await?;
        tx.insert_many(moved).await?;
        Ok(tx.insert(id, capture).await?)
    }
}

/// What is said of an eventID that is taken.
const ANOTHER: &str = "There is another event with this eventID.";

/// What is said of an event that is declared wrong once more than is kept.
fn too_often() -> String {
    format!("There are {DECLARATIONS} error declarations with this eventID: no more are kept.")
}

/// How many error declarations there are with each eventID.
struct Declared<'e>(HashMap<&'e str, usize>);

impl<'e> Declared<'e> {
    /// Of what is recorded.
    fn of(recorded: &'e [(Id, Known)]) -> Self {
        let mut count: HashMap<&str, usize> = HashMap::new();
        for (_, known) in recorded.iter().filter(|(_, known)| known.is_declaration()) {
            *count.entry(&known.event_id).or_default() += 1;
        }
        Self(count)
    }

    /// Counts one more, unless that is one too many.
    fn takes(&mut self, event_id: &'e str) -> bool {
        let count = self.0.entry(event_id).or_default();
        let fits = *count < DECLARATIONS;
        *count += usize::from(fits);
        fits
    }
}

/// What is recorded under the eventIDs of these events: events, and error
/// declarations about them, of which there are at most [`DECLARATIONS`] each.
async fn known<'e>(
    tx: &mut WriteTx<'_>,
    events: impl Iterator<Item = &'e StoredEvent>,
) -> Result<Vec<(Id, Known)>, Problem> {
    // An eventID that we gave is nobody else's.
    let given: BTreeSet<String> = events
        .filter(|event| !event.generated)
        .map(|event| format!("id:{}", event.event_id))
        .collect();
    let given: Vec<String> = given.into_iter().collect();
    let mut known = Vec::new();
    for some in given.chunks(LOOKED_UP) {
        let filter = Filter::all().any("keys", some.to_vec());
        known.extend(tx.parts::<Known>(filter, i64::MAX).await?);
    }
    Ok(known)
}

/// Records one event, or finds that it is recorded.
///
/// # Errors
/// 409 when its eventID is another event's, or it declares an event wrong that has
/// been so as often as is kept.
pub async fn record_one(
    tx: &mut WriteTx<'_>,
    call: &Call,
    id: Id,
    event: &StoredEvent,
    lines: &[(Id, Posting)],
) -> Result<Stored<StoredEvent>, Problem> {
    let recorded = known(tx, std::iter::once(event)).await?;
    match recorded.iter().find(|(_, known)| known.identity == event.identity) {
        Some((found, known)) if known.digest == event.digest => {
            tx.get(*found).await?.ok_or(Problem::Internal)
        }
        Some(_) => Err(Problem::Conflict(ANOTHER.into())),
        None if event.is_declaration() && !Declared::of(&recorded).takes(&event.event_id) => {
            Err(Problem::Conflict(too_often()))
        }
        None => {
            let mut moved = lines.to_vec();
            let new = [(id, event.clone())];
            for line in taken_back(tx, &recorded, &new, lines).await? {
                moved.push((call.new_id()?, line));
            }
            tx.insert_many(moved).await?;
            Ok(tx.insert(id, event.clone()).await?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_declared_wrong_so_often_and_no_more() {
        let known = |of: &str, number: usize| Known {
            identity: format!("{of} {number}"),
            digest: number.to_string(),
            event_id: of.into(),
        };
        let event = Known {
            identity: "urn:x:1".into(),
            digest: "event".into(),
            event_id: "urn:x:1".into(),
        };
        let before = (1..DECLARATIONS).map(|number| known("urn:x:1", number));
        let recorded = before.chain([event, known("urn:x:2", 1)]);
        let recorded: Vec<(Id, Known)> = recorded.map(|one| (Id::from_u128(1), one)).collect();
        let mut declared = Declared::of(&recorded);
        assert!(declared.takes("urn:x:1"));
        assert!(!declared.takes("urn:x:1"));
        assert!(declared.takes("urn:x:2") && declared.takes("urn:x:3"));
    }
}
