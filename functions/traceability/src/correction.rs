//! What an error declaration withdraws (EPCIS 2.0 §7.4.1.2). It repeats the
//! eventID of the event that it declares wrong. From its own recording on, what
//! that event said of lots no longer holds; docs/adr/0024 has the reasons.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use keystone::http::Call;
use keystone::tenant::{Filter, Id, Stored, Tenant, WriteTx};
use keystone::{FieldError, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::capture::record_one;
use crate::epcis::document::read_bare;
use crate::epcis::epc::{is_item, is_single};
use crate::epcis::json::Json;
use crate::event::{Known, StoredEvent};
use crate::movement::Stocks;
use crate::posting::Posting;
use crate::status::Status;
use crate::trace::{AmountView, amounts};

/// How many events one query looks for; see [`crate::capture`].
const LOOKED_UP: usize = 64;
/// Most lines that one request takes back: no single event has more.
const TAKEN: usize = 20_000;
/// Most events that a declaration names as right.
const CORRECTIONS: u32 = 50;

/// The lines that take back what withdrawn events said, where a declaration or
/// the event that it is about is among the `new` events: they may come in either
/// order. `known` is what was recorded under their eventIDs before, `lines` what
/// the new events say of lots.
///
/// # Errors
/// 422 naming the list of events when together they take back more than
/// [`TAKEN`] lines; 503 when the database does not answer.
pub async fn taken_back(
    tx: &mut WriteTx<'_>,
    known: &[(Id, Known)],
    new: &[(Id, StoredEvent)],
    lines: &[(Id, Posting)],
) -> Result<Vec<Posting>, Problem> {
    // What was withdrawn before stays so.
    let before: HashSet<&str> = known
        .iter()
        .filter(|(_, known)| known.is_declaration())
        .map(|(_, known)| known.event_id.as_str())
        .collect();
    let mut declarations: HashMap<&str, Id> = HashMap::new();
    for (id, known) in known.iter().filter(|(_, known)| known.is_declaration()) {
        declarations.entry(&known.event_id).or_insert(*id);
    }
    for (id, event) in new.iter().filter(|(_, event)| event.is_declaration()) {
        declarations.entry(&event.event_id).or_insert(*id);
    }
    if declarations.is_empty() {
        return Ok(Vec::new());
    }
    let by_event: HashMap<Id, Id> = new
        .iter()
        .filter(|(_, event)| !event.is_declaration())
        .filter_map(|(id, event)| Some((*id, *declarations.get(&*event.event_id)?)))
        .collect();
    let mut taken: Vec<Posting> = lines
        .iter()
        .filter_map(|(_, line)| Some(line.withdrawn(*by_event.get(&line.event_id)?)))
        .collect();
    let recorded: HashMap<Id, Id> = known
        .iter()
        .filter(|(_, known)| !known.is_declaration() && !before.contains(&*known.event_id))
        .filter_map(|(id, known)| Some((*id, *declarations.get(&*known.event_id)?)))
        .collect();
    let ids: Vec<String> = recorded.keys().map(Id::to_string).collect();
    for some in ids.chunks(LOOKED_UP) {
        let filter = Filter::all().any("event_id", some.to_vec());
        let room = i64::try_from(room(&taken)?).unwrap_or(i64::MAX);
        let found = tx.parts::<Posting>(filter, room.saturating_add(1)).await?;
        taken.extend(
            found
                .iter()
                .filter_map(|(_, line)| Some(line.withdrawn(*recorded.get(&line.event_id)?))),
        );
    }
    room(&taken)?;
    Ok(taken)
}

/// How many lines a request may take back beside these.
fn room(taken: &[Posting]) -> Result<usize, Problem> {
    let lines: usize = taken.iter().map(|posting| posting.lot.keys().len()).sum();
    TAKEN.checked_sub(lines).ok_or_else(|| {
        let message = format!(
            "The events that are declared wrong moved things in more than {TAKEN} lines of the \
             ledger: declare fewer of them in one document."
        );
        Problem::invalid("/epcisBody/eventList", message)
    })
}

/// Of these events those that were believed at `as_of`: without what had been
/// withdrawn by then, and without the declarations.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn believed(
    tenant: &Tenant,
    mut events: Vec<Stored<StoredEvent>>,
    as_of: Timestamp,
) -> Result<Vec<Stored<StoredEvent>>, Problem> {
    events.retain(|event| !event.entity.is_declaration());
    let keys: Vec<String> =
        events.iter().map(|event| format!("id:{}", event.entity.event_id)).collect();
    let mut withdrawn = HashSet::new();
    for some in keys.chunks(LOOKED_UP) {
        let filter = Filter::all().any("keys", some.to_vec()).made_until(as_of);
        let found = tenant.parts::<Known>(filter, i64::MAX).await?;
        let declared = found.into_iter().filter(|(_, known)| known.is_declaration());
        withdrawn.extend(declared.map(|(_, known)| known.event_id));
    }
    events.retain(|event| !withdrawn.contains(&event.entity.event_id));
    Ok(events)
}

/// Why an event was wrong (CBV 2.0 §7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Reason {
    /// It did not happen.
    DidNotOccur,
    /// It happened, but not as it was said.
    IncorrectData,
}

/// An event to be declared wrong.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeclaration {
    /// Why.
    reason: Reason,
    /// eventIDs of the events that say what is right; they are recorded first.
    #[serde(default)]
    #[schemars(length(max = CORRECTIONS), inner(length(min = 1, max = 1024)))]
    corrective_event_ids: Vec<String>,
}

/// What became of a declaration.
#[derive(Serialize, JsonSchema)]
pub struct Declared {
    /// Our id of the declaration.
    id: Id,
    /// The eventID of the event that it withdraws.
    event_id: String,
    /// Lots of which more has left now than has come. The truth is recorded all
    /// the same; nothing more can be taken of them until what is missing is
    /// entered. Empty where more is known of them than can be added up.
    overdrawn: Vec<Overdrawn>,
}

/// A lot of which more has left than has come.
#[derive(Serialize, JsonSchema)]
struct Overdrawn {
    /// GS1 element string of the lot.
    lot: String,
    /// What is left; negative.
    left: Vec<AmountView>,
}

impl NewDeclaration {
    /// Declares `event` wrong, under the id `id`.
    ///
    /// # Errors
    /// 409 when it is withdrawn already or is a declaration itself; 422 naming
    /// every corrective event that is not there.
    pub async fn record(
        &self,
        tx: &mut WriteTx<'_>,
        call: &Call,
        event: &Stored<StoredEvent>,
        id: Id,
    ) -> Result<Declared, Problem> {
        let key = format!("id:{}", event.entity.event_id);
        let known = tx.parts::<Known>(Filter::all().eq("keys", key), i64::MAX).await?;
        if known.iter().any(|(_, known)| known.is_declaration()) {
            return Err(Problem::Conflict("The event has been declared wrong already.".into()));
        }
        self.check(tx, event).await?;
        let (declaration, errors) = read_bare(&self.document(event, call.now())?);
        // The event may have been as long as an event can be.
        let declaration = declaration.ok_or(Problem::Invalid(errors.0))?;
        let by = call.principal().user();
        let declaration = StoredEvent::new(declaration, id, by, call.now(), Status::Submitted)?;
        record_one(tx, call, id, &declaration, &[]).await?;
        let said = Filter::all().eq("event_id", event.id.to_string());
        let said = tx.parts::<Posting>(said, i64::MAX).await?;
        // A single thing is no stock: that it left is known, and not that it came. An
        // item is of its lot's.
        let moved = said.iter().flat_map(|(_, line)| line.lot.keys()).cloned();
        let (singles, mut lots): (BTreeSet<String>, BTreeSet<String>) =
            moved.partition(|lot| is_single(lot));
        let items: Vec<String> = singles.into_iter().filter(|key| is_item(key)).collect();
        for some in items.chunks(LOOKED_UP) {
            let of_lot = Filter::all().any("lot", some.to_vec()).eq("role", "of_lot");
            let found = tx.parts::<Posting>(of_lot, i64::MAX).await?;
            lots.extend(found.into_iter().flat_map(|(_, line)| line.others));
        }
        let stocks = match Stocks::read(tx, &lots).await {
            Ok(stocks) => stocks,
            // A lot that cannot be added up keeps nobody from withdrawing an event.
            Err(Problem::Conflict(_)) => {
                return Ok(Declared { id, event_id: declaration.event_id, overdrawn: Vec::new() });
            }
            Err(problem) => return Err(problem),
        };
        let left = lots.into_iter().map(|lot| (stocks.left(&lot), lot));
        let overdrawn = overdrawn(left.map(|(left, lot)| (lot, left)).collect());
        Ok(Declared { id, event_id: declaration.event_id, overdrawn })
    }

    async fn check(
        &self,
        tx: &mut WriteTx<'_>,
        event: &Stored<StoredEvent>,
    ) -> Result<(), Problem> {
        let filter = Filter::all().any("identity", self.corrective_event_ids.clone());
        let found = tx.parts::<Known>(filter, i64::MAX).await?;
        let there: HashSet<&str> = found.iter().map(|(_, known)| &*known.identity).collect();
        let wrong = self.corrective_event_ids.iter().enumerate().filter_map(|(index, given)| {
            let message = if *given == event.entity.event_id {
                "Is the event that is declared wrong."
            } else if there.contains(given.as_str()) {
                return None;
            } else {
                "There is no such event."
            };
            Some(FieldError::new(format!("/corrective_event_ids/{index}"), message))
        });
        let wrong: Vec<FieldError> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(Problem::Invalid(wrong)) }
    }

    /// The event again, with the declaration in it.
    fn document(&self, event: &Stored<StoredEvent>, now: Timestamp) -> Result<Json, Problem> {
        let text = |value: &str| Json::Text(value.to_owned());
        let entity = &event.entity;
        let Json::Object(mut members) = Json::read(&entity.document)? else {
            return Err(Problem::Internal);
        };
        members.retain(|(name, _)| name != "eventID");
        let reason = match self.reason {
            Reason::DidNotOccur => "did_not_occur",
            Reason::IncorrectData => "incorrect_data",
        };
        let mut declaration = vec![
            ("declarationTime".to_owned(), text(&now.to_string())),
            ("reason".to_owned(), text(reason)),
        ];
        if !self.corrective_event_ids.is_empty() {
            let ids = self.corrective_event_ids.iter().map(|id| text(id)).collect();
            declaration.push(("correctiveEventIDs".to_owned(), Json::Array(ids)));
        }
        members.push(("@context".to_owned(), Json::read(&entity.context)?));
        members.push(("eventID".to_owned(), text(&entity.event_id)));
        members.push(("errorDeclaration".to_owned(), Json::Object(declaration)));
        Ok(Json::Object(members))
    }
}

fn overdrawn(stocks: BTreeMap<String, crate::movement::Amounts>) -> Vec<Overdrawn> {
    stocks
        .into_iter()
        .filter_map(|(lot, stock)| {
            let mut left = amounts(&stock);
            left.retain(|amount| amount.value.is_sign_negative() && !amount.value.is_zero());
            (!left.is_empty()).then_some(Overdrawn { lot, left })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::movement::{Movement, Role};
    use crate::posting::Lots;

    #[test]
    fn what_one_request_takes_back_has_an_end() {
        let of = |lots: usize| {
            let line = Movement::new(Id::from_u128(1), "", Role::Received, Timestamp::UNIX_EPOCH);
            let (_, posting) = line.of(Lots::from(vec![String::new(); lots]));
            posting
        };
        assert!(matches!(room(&[]), Ok(TAKEN)));
        assert!(matches!(room(&[of(TAKEN - 1), of(1)]), Ok(0)));
        assert!(matches!(room(&[of(TAKEN - 1), of(2)]), Err(Problem::Invalid(_))));
    }
}
