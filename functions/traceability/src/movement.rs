//! What events say of lots: the ledger from which stock, trace and mass
//! balance are read. docs/adr/0019 has the reasons.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use keystone::Problem;
use keystone::tenant::{Id, WriteTx, stored_time};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::epcis::epc::{gln_of, is_asset, is_item, is_logistic_unit};
use crate::epcis::event::{Action, Event, EventType, Party, QuantityElement, What};
use crate::epcis::quantity::{Dimension, to_base};
use crate::ledger::{LINES, LOOKED_UP, Ledger, Limit, NAMED, NESTED};

/// What became of a lot in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It came from somebody.
    Received,
    /// It was made.
    Produced,
    /// It went into something else.
    Consumed,
    /// It went to somebody.
    Dispatched,
    /// It was thrown away.
    Wasted,
    /// More was counted than there should be.
    Found,
    /// Less was counted than there should be.
    Missing,
    /// It was put into something else, which holds it as it is.
    Packed,
    /// It was taken out of something.
    Unpacked,
    /// All that was in it was taken out.
    Emptied,
    /// Something was put into it; said of what is used again.
    Filled,
    /// Its possession was taken over: an arrival, unless that was told as one.
    Accepted,
    /// It set off: a dispatch, unless that was told as one.
    Departed,
    /// That it was dispatched is taken back.
    Unshipped,
    /// Single items of it were named with their lot; they are its `others`.
    Itemised,
    /// The lot of a single item was named; it is the only one of its `others`.
    OfLot,
    /// A partner made it, at a place of theirs. Derived when the ledger is read, and
    /// never kept.
    MadeElsewhere,
    /// It went into something else at a place of a partner's. Derived, too.
    UsedElsewhere,
    /// A partner tells that it arrived there from us: a dispatch, unless that was
    /// told as one. Derived, too.
    Reached,
    /// A partner tells that they accepted it from us. Derived, too.
    Taken,
}

impl Role {
    /// The role in words, for reports; of those that change the stock.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Produced => "produced",
            Self::Consumed => "consumed",
            Self::Dispatched => "dispatched",
            Self::Wasted => "wasted",
            Self::Found => "found",
            Self::Missing => "missing",
            _ => "other",
        }
    }

    /// Whether it tells of a journey.
    pub const fn travels(self) -> bool {
        matches!(
            self,
            Self::Received
                | Self::Accepted
                | Self::Dispatched
                | Self::Departed
                | Self::Unshipped
                | Self::Reached
                | Self::Taken
        )
    }

    /// What it does to the stock: 1 more, -1 less, 0 nothing.
    pub const fn sign(self) -> i8 {
        match self {
            Self::Received | Self::Produced | Self::Found => 1,
            Self::Consumed | Self::Dispatched | Self::Wasted | Self::Missing => -1,
            // What some of them say stands under other roles when the ledger is read.
            Self::Packed
            | Self::Unpacked
            | Self::Emptied
            | Self::Filled
            | Self::Accepted
            | Self::Departed
            | Self::Unshipped
            | Self::Itemised
            | Self::OfLot
            | Self::MadeElsewhere
            | Self::UsedElsewhere
            | Self::Reached
            | Self::Taken => 0,
        }
    }
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Movement<L = String> {
    /// The event that says so.
    pub event_id: Id,
    /// Key of the lot; see [`crate::epcis::epc::key`].
    pub lot: L,
    /// What became of it.
    pub role: Role,
    /// How much; unknown if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<Decimal>,
    /// Unit, UN/ECE Recommendation 20.
    pub unit: String,
    /// Whom it came from or went to: `urn:uuid:` and the id of a supplier or
    /// customer, or the key of a party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The keys of all others that the event names on that side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parties: Vec<String>,
    /// When.
    #[serde(with = "stored_time")]
    pub at: Timestamp,
    /// The lots on the other side, where one became another, or what it was put
    /// into or taken out of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// The transformation of which the event tells only a part, so that other
    /// events name lots on the other side too (EPCIS 2.0 §7.4.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformation: Option<String>,
    /// GLN of where it is afterwards; of what left, of where it was until then. What
    /// happens at somebody else's place may be none of our business; see
    /// [`crate::places`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// GLN of the place that the event names at the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_place: Option<String>,
    /// GLN of where it is afterwards, of what left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub afterwards: Option<String>,
    /// The error declaration that takes back what the event said; the line then
    /// repeats that line of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_by: Option<Id>,
    /// The unit that it was in, where an event says it of that only. Such a line
    /// is derived when the ledger is read, and never kept; see
    /// [`crate::contents`].
    #[serde(skip)]
    pub within: Option<String>,
    /// Until when it was in what it was packed into, if it was taken out. Derived,
    /// too.
    #[serde(skip)]
    pub until: Option<Timestamp>,
    /// Whether it went from one place of ours to another. Derived, too.
    #[serde(skip)]
    pub internal: bool,
    /// Whether it happened at a place of a partner's. Derived, too.
    #[serde(skip)]
    pub elsewhere: bool,
}

impl Movement {
    /// A line that says nothing more: no amount, in pieces, and nobody and no place.
    pub fn new(event_id: Id, lot: &str, role: Role, at: Timestamp) -> Self {
        Self {
            event_id,
            lot: lot.to_owned(),
            role,
            quantity: None,
            unit: PIECES.to_owned(),
            partner: None,
            parties: Vec::new(),
            at,
            others: Vec::new(),
            transformation: None,
            place: None,
            other_place: None,
            afterwards: None,
            withdrawn_by: None,
            within: None,
            until: None,
            internal: false,
            elsewhere: false,
        }
    }

    /// The amount in the unit of its dimension, or, where that unit is not known
    /// here, in its own.
    pub fn amount(&self) -> (String, Option<Decimal>) {
        match self.quantity.and_then(|quantity| to_base(quantity, &self.unit)) {
            Some((dimension, amount)) => (dimension.unit().to_owned(), Some(amount)),
            None => (self.unit.clone(), self.quantity),
        }
    }
}

impl<L> Movement<L> {
    /// The same of another lot, and the lot.
    pub fn of<M>(self, lot: M) -> (L, Movement<M>) {
        let Self {
            event_id,
            lot: before,
            role,
            quantity,
            unit,
            partner,
            parties,
            at,
            others,
            transformation,
            place,
            other_place,
            afterwards,
            withdrawn_by,
            within,
            until,
            internal,
            elsewhere,
        } = self;
        let line = Movement {
            event_id,
            lot,
            role,
            quantity,
            unit,
            partner,
            parties,
            at,
            others,
            transformation,
            place,
            other_place,
            afterwards,
            withdrawn_by,
            within,
            until,
            internal,
            elsewhere,
        };
        (before, line)
    }
}

impl<L: Clone> Movement<L> {
    /// The line that takes this one back, by this error declaration.
    #[must_use]
    pub fn withdrawn(&self, declaration: Id) -> Self {
        Self { withdrawn_by: Some(declaration), ..self.clone() }
    }
}

/// The unit of an amount that names none (EPCIS 2.0 §7.3.3.3).
const PIECES: &str = "H87";

/// What holds at `as_of`, now if absent, of lines with their ids: what was
/// recorded by then (an id begins with that time) and not yet withdrawn. All
/// lines of a lot must be among them.
pub fn in_force(lines: Vec<(Id, Movement)>, as_of: Option<Timestamp>) -> Vec<Movement> {
    let mut lines: Vec<Movement> = lines
        .into_iter()
        .filter(|(id, _)| as_of.is_none_or(|as_of| id.made_at() <= as_of))
        .map(|(_, line)| line)
        .collect();
    let withdrawn: BTreeSet<Id> =
        lines.iter().filter(|line| line.withdrawn_by.is_some()).map(|line| line.event_id).collect();
    lines.retain(|line| !withdrawn.contains(&line.event_id));
    lines
}

/// What an event says of lots. An error declaration says nothing of them.
pub fn of_event(event: &Event, event_id: Id) -> Vec<Movement> {
    if event.error.is_some() {
        return Vec::new();
    }
    let mut lines = moves(event, event_id);
    lines.extend(stated(event, event_id));
    lines
}

/// What an event says of which lot single items are of: once for the lot, from
/// which its stock and its customers are found, and once for each item, from
/// which its origin is.
fn stated(event: &Event, event_id: Id) -> Vec<Movement> {
    let line = |lot: &str, role, number: usize, others| Movement {
        quantity: Some(number.into()),
        others,
        ..Movement::new(event_id, lot, role, event.time)
    };
    let mut items: BTreeMap<&String, Vec<String>> = BTreeMap::new();
    for (item, lot) in &event.lots {
        items.entry(lot).or_default().push(item.clone());
    }
    let of_items =
        event.lots.iter().map(|(item, lot)| line(item, Role::OfLot, 1, vec![lot.clone()]));
    let of_items: Vec<Movement> = of_items.collect();
    let of_lots =
        items.into_iter().map(|(lot, items)| line(lot, Role::Itemised, items.len(), items));
    of_lots.chain(of_items).collect()
}

/// What an event says of where things went.
fn moves(event: &Event, event_id: Id) -> Vec<Movement> {
    let say = Say { event, event_id };
    match &event.what {
        What::Object { epcs, quantities } => {
            if let Some(role) = journey(event) {
                return say.journey(role, epcs, quantities);
            }
            let role = match (event.biz_step.as_deref().unwrap_or_default(), event.action) {
                ("commissioning" | "creating_class_instance", Some(Action::Add)) => Role::Produced,
                ("destroying" | "decommissioning", _) => Role::Wasted,
                ("stock_taking" | "cycle_counting", Some(Action::Add)) => Role::Found,
                ("stock_taking" | "cycle_counting", Some(Action::Delete)) => Role::Missing,
                _ => return Vec::new(),
            };
            let items: Vec<String> = epcs.iter().filter(|key| is_item(key)).cloned().collect();
            let all = [quantities.clone(), whole(event, &items)].concat();
            all.iter().map(|element| say.line(element, role, &[])).collect()
        }
        What::Transformation {
            inputs,
            input_quantities,
            outputs,
            output_quantities,
            transformation,
        } => {
            let consumed = [input_quantities.clone(), whole(event, inputs)].concat();
            let produced = [output_quantities.clone(), whole(event, outputs)].concat();
            let keys = |side: &[QuantityElement]| -> Vec<String> {
                side.iter().map(|element| element.class.clone()).collect()
            };
            let (before, after) = (keys(&consumed), keys(&produced));
            let consumed = consumed.iter().map(|one| say.line(one, Role::Consumed, &after));
            let produced = produced.iter().map(|one| say.line(one, Role::Produced, &before));
            let named = |line| Movement { transformation: transformation.clone(), ..line };
            consumed.chain(produced).map(named).collect()
        }
        What::Containment { parent, children, quantities } => {
            let packed = parent.iter().flat_map(|parent| say.packing(parent, children, quantities));
            let mut lines: Vec<Movement> = packed.collect();
            if let Some(role) = journey(event) {
                // What is taken out on the way goes on without what it was in, and what is
                // put in leaves with that, and with what was in it before.
                let leaves = !matches!(role, Role::Received | Role::Accepted);
                let packed = leaves && lines.iter().any(|line| line.role == Role::Packed);
                let held = children.iter().filter(|_| !packed);
                let holder = parent.iter().filter(|_| event.action != Some(Action::Delete));
                let things: Vec<String> = held.chain(holder).cloned().collect();
                let quantities = if packed { &[][..] } else { quantities };
                lines.extend(say.journey(role, &things, quantities));
            }
            lines
        }
        // That goods no longer belong to a document moves nothing.
        What::Transaction { .. } if event.action == Some(Action::Delete) => Vec::new(),
        What::Transaction { parent, epcs, quantities } => {
            let things: Vec<String> = epcs.iter().chain(parent).cloned().collect();
            let role = journey(event);
            role.map(|role| say.journey(role, &things, quantities)).unwrap_or_default()
        }
    }
}

/// What becomes of things in a step that events of any kind may tell (CBV 2.0
/// §7.1).
fn journey(event: &Event) -> Option<Role> {
    Some(match event.biz_step.as_deref()? {
        "receiving" => Role::Received,
        "accepting" => Role::Accepted,
        "shipping" => Role::Dispatched,
        "departing" => Role::Departed,
        "void_shipping" => Role::Unshipped,
        _ => return None,
    })
}

/// Makes the lines of one event.
struct Say<'e> {
    event: &'e Event,
    event_id: Id,
}

impl Say<'_> {
    fn line(&self, element: &QuantityElement, role: Role, others: &[String]) -> Movement {
        let event = self.event;
        let leaves = matches!(role, Role::Dispatched | Role::Departed | Role::Unshipped);
        let arrives = matches!(role, Role::Received | Role::Accepted);
        let gln = |place: &Option<String>| place.as_deref().and_then(gln_of).map(str::to_owned);
        let (read_point, afterwards) = (gln(&event.read_point), gln(&event.biz_location));
        let (side, place, afterwards) = if leaves {
            let from = || partner(&event.sources).and_then(|key| gln_of(key)).map(str::to_owned);
            (&event.destinations[..], read_point.or_else(from), afterwards)
        } else {
            let side = if arrives { &event.sources[..] } else { &[] };
            (side, afterwards.or(read_point), None)
        };
        let partner = partner(side).cloned();
        let of_kind = |kind| side.iter().filter(move |party| party.kind == kind);
        let of_other_kind = side.iter().filter(|party| !PARTIES.contains(&party.kind.as_str()));
        let mut seen: BTreeSet<&str> = partner.as_deref().into_iter().collect();
        let parties = PARTIES.into_iter().flat_map(of_kind).chain(of_other_kind);
        let parties = parties.filter(|party| seen.insert(&party.key));
        let parties = parties.map(|party| party.key.clone()).collect();
        let location = side.iter().find(|party| party.kind == "location");
        let other_place = location.and_then(|party| gln_of(&party.key)).map(str::to_owned);
        Movement {
            quantity: element.quantity,
            unit: element.unit.clone().unwrap_or_else(|| PIECES.into()),
            parties,
            partner,
            others: others.to_vec(),
            place,
            other_place,
            afterwards,
            ..Movement::new(self.event_id, &element.class, role, event.time)
        }
    }

    /// What comes, goes, or does not go after all.
    fn journey(
        &self,
        role: Role,
        epcs: &[String],
        quantities: &[QuantityElement],
    ) -> Vec<Movement> {
        let things = if matches!(role, Role::Received | Role::Accepted) {
            // Items, whose lot any event may state, and what holds others.
            let counts = |key: &&String| is_item(key) || is_logistic_unit(key);
            whole(self.event, &epcs.iter().filter(counts).cloned().collect::<Vec<_>>())
        } else {
            moved(self.event, epcs)
        };
        let all = [quantities, &things].concat();
        all.iter().map(|element| self.line(element, role, &[])).collect()
    }

    /// What is put into something, or taken out of it; what is attached to
    /// something is not in it.
    fn packing(
        &self,
        parent: &String,
        children: &[String],
        quantities: &[QuantityElement],
    ) -> Vec<Movement> {
        let role = match (self.event.kind, self.event.action) {
            (EventType::AggregationEvent, Some(Action::Add)) => Role::Packed,
            (EventType::AggregationEvent, Some(Action::Delete)) => Role::Unpacked,
            _ => return Vec::new(),
        };
        let all = |role| {
            let all = QuantityElement { class: parent.clone(), quantity: None, unit: None };
            self.line(&all, role, &[])
        };
        let held = [quantities, &moved(self.event, children)].concat();
        // Who takes out without saying what takes out all (EPCIS 2.0 §7.4.3).
        if held.is_empty() && role == Role::Unpacked {
            return vec![all(Role::Emptied)];
        }
        let holder = std::slice::from_ref(parent);
        let mut lines: Vec<Movement> =
            held.iter().map(|element| self.line(element, role, holder)).collect();
        // What is filled again at a site of ours is here, and what was in it is gone.
        let filled = all(Role::Filled);
        if role == Role::Packed && is_asset(parent) && filled.place.is_some() {
            lines.push(filled);
        }
        lines
    }
}

/// Single things as amounts: those whose lot the event states as so many pieces
/// of it, each thing once, and each other as one of itself.
fn whole(event: &Event, keys: &[String]) -> Vec<QuantityElement> {
    let mut amounts: BTreeMap<&String, Decimal> = BTreeMap::new();
    for key in keys.iter().collect::<BTreeSet<_>>() {
        *amounts.entry(event.lots.get(key).unwrap_or(key)).or_default() += Decimal::ONE;
    }
    amounts.into_iter().map(|(class, amount)| pieces(class, amount)).collect()
}

/// Single things that move, with what may be in them: those whose lot the event
/// states count for it, and stand for themselves too, since what was packed into
/// one is known to be in it and not in its lot.
fn moved(event: &Event, keys: &[String]) -> Vec<QuantityElement> {
    let stated: BTreeSet<&String> =
        keys.iter().filter(|key| event.lots.contains_key(*key)).collect();
    let themselves = stated.into_iter().map(|key| pieces(key, Decimal::ONE));
    whole(event, keys).into_iter().chain(themselves).collect()
}

fn pieces(class: &str, amount: Decimal) -> QuantityElement {
    QuantityElement { class: class.to_owned(), quantity: Some(amount), unit: None }
}

/// Kinds of sources and destinations (CBV 2.0 §7.4.2), the one that counts most
/// first: who has the goods, who owns them, where they are.
pub const PARTIES: [&str; 3] = ["possessing_party", "owning_party", "location"];

/// Who has or owns the goods at the other end.
fn partner(parties: &[Party]) -> Option<&String> {
    PARTIES
        .iter()
        .find_map(|kind| parties.iter().find(|party| party.kind == *kind))
        .map(|party| &party.key)
}

/// Sums of amounts, each dimension for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<Dimension, Decimal>);

impl Amounts {
    /// Adds a line; one whose amount or unit is not known adds nothing.
    pub fn add(&mut self, line: &Movement) {
        self.put(line, true);
    }

    /// Takes a line away again.
    pub fn take(&mut self, line: &Movement) {
        self.put(line, false);
    }

    /// Adds or takes a line away, as its role says.
    pub fn count(&mut self, line: &Movement) {
        match line.role.sign() {
            1 => self.add(line),
            -1 => self.take(line),
            _ => {}
        }
    }

    fn put(&mut self, line: &Movement, plus: bool) {
        let base = line.quantity.and_then(|quantity| to_base(quantity, &line.unit));
        let Some((dimension, amount)) = base else { return };
        let sum = self.0.entry(dimension).or_default();
        *sum = if plus { *sum + amount } else { *sum - amount };
    }

    /// The sum of a dimension.
    pub fn of(&self, dimension: Dimension) -> Decimal {
        self.0.get(&dimension).copied().unwrap_or_default()
    }

    /// The sums with their units.
    pub fn all(&self) -> impl Iterator<Item = (Dimension, Decimal)> {
        self.0.iter().map(|(dimension, amount)| (*dimension, amount.normalize()))
    }
}

/// Movements whose amounts no sum has, since none is given or its unit is not
/// known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotCounted {
    /// `received`, `produced`, `consumed`, `dispatched`, `wasted`, `found` or
    /// `missing`.
    #[schemars(with = "String")]
    pub role: Role,
    /// The unit, as it was entered.
    pub unit: String,
    /// How much, in a unit that is not known here; absent where the events give
    /// no amount.
    #[schemars(with = "Option<String>")]
    pub quantity: Option<Decimal>,
    /// How many movements.
    pub movements: u32,
}

/// Which of these lines change the stock and are in no sum.
pub fn not_counted<'l>(lines: impl Iterator<Item = &'l Movement>) -> Vec<NotCounted> {
    let mut all: BTreeMap<(Role, &str, bool), NotCounted> = BTreeMap::new();
    for line in lines.filter(|line| line.role.sign() != 0) {
        if line.quantity.and_then(|quantity| to_base(quantity, &line.unit)).is_some() {
            continue;
        }
        let given = line.quantity.is_some();
        let sum = all.entry((line.role, &line.unit, given)).or_insert_with(|| NotCounted {
            role: line.role,
            unit: line.unit.clone(),
            quantity: given.then_some(Decimal::ZERO),
            movements: 0,
        });
        sum.movements = sum.movements.saturating_add(1);
        sum.quantity = sum.quantity.zip(line.quantity).and_then(|(sum, one)| sum.checked_add(one));
    }
    all.into_values().collect()
}

/// What is left of a lot, as a transaction sees it.
///
/// # Errors
/// 409 when its ledger is longer than can be added up; 503 when the database
/// does not answer.
pub async fn stock(tx: &mut WriteTx<'_>, lot: &str) -> Result<Amounts, Problem> {
    Ok(Stocks::read(tx, &BTreeSet::from([lot.to_owned()])).await?.left(lot))
}

/// What is left of lots, as a transaction sees it.
pub struct Stocks {
    ledgers: Vec<Ledger>,
    /// Of each lot which ledger it is in, and what is left at least.
    lots: BTreeMap<String, (usize, Amounts)>,
}

impl Stocks {
    /// Reads the ledger of these lots.
    ///
    /// # Errors
    /// As [`stock`].
    pub async fn read(tx: &mut WriteTx<'_>, lots: &BTreeSet<String>) -> Result<Self, Problem> {
        let lots: Vec<String> = lots.iter().cloned().collect();
        let mut all = Self { ledgers: Vec::new(), lots: BTreeMap::new() };
        for some in lots.chunks(LOOKED_UP) {
            if let Some(ledger) = readable(tx, some).await? {
                all.keep(ledger, some);
                continue;
            }
            // Together they are too many, but none may be by itself.
            for lot in some {
                let one = std::slice::from_ref(lot);
                let ledger = readable(tx, one).await?.ok_or_else(|| {
                    Problem::Conflict(format!(
                        "Of the lot {lot} more is recorded than can be added up ({LINES} lines, \
                         {NAMED} lots that they name, or units in more than {NESTED} others): \
                         nothing more can be taken of it. What is left needs another lot number."
                    ))
                })?;
                all.keep(ledger, one);
            }
        }
        Ok(all)
    }

    fn keep(&mut self, ledger: Ledger, lots: &[String]) {
        let index = self.ledgers.len();
        self.lots.extend(ledger.whole(lots).map(|(lot, lines)| (lot, (index, left(&lines)))));
        self.ledgers.push(ledger);
    }

    /// What is left of a lot that was asked for.
    pub fn left(&self, lot: &str) -> Amounts {
        self.lots.get(lot).map(|(_, left)| left.clone()).unwrap_or_default()
    }

    /// Takes a line from its lot if there is enough, and says what there is for it.
    /// Where it is too little it is looked at anew with the line: what a partner told
    /// of the same goods is there for it.
    pub fn take(&mut self, line: &Movement) -> Amounts {
        let Some((index, known)) = self.lots.get_mut(&line.lot) else { return Amounts::default() };
        let Some(ledger) = self.ledgers.get_mut(*index) else { return Amounts::default() };
        let base = line.quantity.and_then(|quantity| to_base(quantity, &line.unit));
        let fits = |there: &Amounts| base.is_none_or(|(unit, amount)| amount <= there.of(unit));
        let mut there = known.clone();
        ledger.add(line.clone());
        if fits(&there) {
            known.take(line);
            return there;
        }
        let anew = ledger.whole(std::slice::from_ref(&line.lot)).next();
        let anew = anew.map(|(_, lines)| left(&lines)).unwrap_or_default();
        let mut with_it = anew.clone();
        with_it.add(line);
        if fits(&with_it) {
            *known = anew;
            there = with_it;
        } else {
            ledger.forget_last(&line.lot);
        }
        there
    }
}

/// The ledger of these lots, if all that bears on their stock can be read.
async fn readable(tx: &mut WriteTx<'_>, lots: &[String]) -> Result<Option<Ledger>, Problem> {
    let mut ledger = Ledger::default();
    let read = ledger.read(tx, lots).await?;
    Ok(Some(ledger).filter(|ledger| read && !ledger.limits.contains(&Limit::Nesting)))
}

/// What these lines leave.
fn left(lines: &[Movement]) -> Amounts {
    let mut sum = Amounts::default();
    for line in lines {
        sum.count(line);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epcis::document::read_bare;
    use crate::epcis::json::Json;

    fn lines(event: &serde_json::Value) -> Vec<Movement> {
        let (event, errors) = read_bare(&Json::read(&event.to_string()).unwrap());
        assert_eq!(errors.0, vec![]);
        of_event(&event.unwrap(), Id::from_u128(1))
    }

    const MILK: &str = "urn:epc:class:lgtin:0614141.077777.milk";
    const CHEESE: &str = "https://id.gs1.org/01/04012345666663/10/cheese";

    #[test]
    fn what_goes_in_and_what_comes_out_know_each_other() {
        let found = lines(&serde_json::json!({
            "type": "TransformationEvent",
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
            "inputQuantityList": [{ "epcClass": MILK, "quantity": 10, "uom": "LTR" }],
            "outputQuantityList": [{ "epcClass": CHEESE, "quantity": 1, "uom": "KGM" }],
        }));
        let said: Vec<(&str, Role, &str)> = found
            .iter()
            .map(|line| (line.lot.as_str(), line.role, line.others[0].as_str()))
            .collect();
        let (milk, cheese) = ("01/00614141777778/10/milk", "01/04012345666663/10/cheese");
        assert_eq!(said, [(milk, Role::Consumed, cheese), (cheese, Role::Produced, milk)]);
    }

    #[test]
    fn an_object_event_says_what_its_step_says() {
        for (step, action, role) in [
            ("receiving", "OBSERVE", Some(Role::Received)),
            ("accepting", "OBSERVE", Some(Role::Accepted)),
            ("shipping", "OBSERVE", Some(Role::Dispatched)),
            ("departing", "OBSERVE", Some(Role::Departed)),
            ("void_shipping", "DELETE", Some(Role::Unshipped)),
            ("commissioning", "ADD", Some(Role::Produced)),
            ("destroying", "DELETE", Some(Role::Wasted)),
            ("stock_taking", "ADD", Some(Role::Found)),
            ("stock_taking", "DELETE", Some(Role::Missing)),
            ("stock_taking", "OBSERVE", None),
            ("inspecting", "OBSERVE", None),
        ] {
            let found = lines(&serde_json::json!({
                "type": "ObjectEvent", "action": action, "bizStep": step,
                "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
                "quantityList": [{ "epcClass": MILK, "quantity": 10, "uom": "LTR" }],
                "sourceList": [{ "type": "owning_party", "source": "urn:epc:id:pgln:4000001.00005" }],
                "readPoint": { "id": "urn:epc:id:sgln:4012345.00001.0" },
                "bizLocation": { "id": "urn:epc:id:sgln:4012345.00002.dock" },
            }));
            assert_eq!(found.first().map(|line| line.role), role, "{step}");
            let arrives = matches!(role, Some(Role::Received | Role::Accepted));
            let from = arrives.then(|| "417/4000001000050".to_owned());
            assert_eq!(found.first().and_then(|line| line.partner.clone()), from, "{step}");
            let leaves = matches!(role, Some(Role::Dispatched | Role::Departed | Role::Unshipped));
            let place = if leaves { "4012345000016" } else { "4012345000023" };
            let found = found.first().and_then(|line| line.place.as_deref());
            assert_eq!(found, role.map(|_| place), "{step}");
        }
    }

    #[test]
    fn a_step_says_the_same_in_an_event_of_any_kind() {
        let (pallet, case) =
            ("urn:epc:id:sscc:0614141.1234567890", "urn:epc:id:sscc:0614141.0000000001");
        let (whole, part) = ("00/106141412345678908", "00/006141410000000012");
        let milk = "01/00614141777778/10/milk";
        let said = |kind: &str, step: &str, action: &str| -> Vec<(String, Role)> {
            let (things, amounts) = if kind == "TransactionEvent" {
                ("epcList", "quantityList")
            } else {
                ("childEPCs", "childQuantityList")
            };
            let found = lines(&serde_json::json!({
                "type": kind, "action": action, "bizStep": step, "parentID": pallet,
                "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
                "readPoint": { "id": "urn:epc:id:sgln:4012345.00001.0" },
                "bizTransactionList": [{ "bizTransaction": "urn:x:1" }],
                things: [case],
                amounts: [{ "epcClass": MILK, "quantity": 10, "uom": "LTR" }],
            }));
            found.into_iter().map(|line| (line.lot, line.role)).collect()
        };
        for (step, role) in [
            ("receiving", Role::Received),
            ("accepting", Role::Accepted),
            ("shipping", Role::Dispatched),
            ("departing", Role::Departed),
            ("void_shipping", Role::Unshipped),
        ] {
            let of = |things: &[&str], role| -> Vec<(String, Role)> {
                things.iter().map(|thing| ((*thing).to_owned(), role)).collect()
            };
            let moves = of(&[milk, part, whole], role);
            for kind in ["TransactionEvent", "AggregationEvent", "AssociationEvent"] {
                assert_eq!(said(kind, step, "OBSERVE"), moves, "{kind} {step}");
            }
            // It is linked with a document, or attached, and moves.
            assert_eq!(said("TransactionEvent", step, "ADD"), moves, "{step}");
            assert_eq!(said("AssociationEvent", step, "ADD"), moves, "{step}");
            // It is put into what moves, or moves without what it was in.
            let packed = of(&[milk, part], Role::Packed);
            let leaves = !matches!(role, Role::Received | Role::Accepted);
            let moves = if leaves { of(&[whole], role) } else { moves };
            assert_eq!(said("AggregationEvent", step, "ADD"), [packed, moves].concat(), "{step}");
            let (out, left) = (of(&[milk, part], Role::Unpacked), of(&[milk, part], role));
            assert_eq!(said("AggregationEvent", step, "DELETE"), [out, left.clone()].concat());
            assert_eq!(said("AssociationEvent", step, "DELETE"), left, "{step}");
            assert_eq!(said("TransactionEvent", step, "DELETE"), [], "{step}");
        }
        assert_eq!(said("TransactionEvent", "inspecting", "OBSERVE"), []);
    }

    #[test]
    fn what_was_withdrawn_counts_until_then() {
        let line = |event: u128| Movement {
            quantity: Some(Decimal::ONE),
            unit: "KGM".into(),
            ..Movement::new(
                Id::from_u128(event),
                "01/00614141777778/10/milk",
                Role::Received,
                Timestamp::UNIX_EPOCH,
            )
        };
        let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap();
        let made = |millis: i64| Id::first_of(at(millis));
        let lines = vec![
            (made(2000), line(1)),
            (made(2000), line(2)),
            (made(3000), line(1).withdrawn(Id::from_u128(9))),
        ];
        for (as_of, events) in [
            (Some(1999), &[][..]),
            (Some(2000), &[1, 2]),
            (Some(2999), &[1, 2]),
            (Some(3000), &[2]),
            (None, &[2]),
        ] {
            let found: Vec<Id> =
                in_force(lines.clone(), as_of.map(at)).iter().map(|line| line.event_id).collect();
            let expected: Vec<Id> = events.iter().map(|event| Id::from_u128(*event)).collect();
            assert_eq!(found, expected, "{as_of:?}");
        }
    }

    #[test]
    fn what_is_packed_is_neither_more_nor_less() {
        let pallet = "urn:epc:id:sscc:0614141.1234567890";
        for (action, role) in [("ADD", Role::Packed), ("DELETE", Role::Unpacked)] {
            let found = lines(&serde_json::json!({
                "type": "AggregationEvent", "action": action, "bizStep": "packing",
                "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
                "parentID": pallet,
                "childQuantityList": [{ "epcClass": MILK, "quantity": 10, "uom": "LTR" }],
            }));
            assert_eq!(found.len(), 1);
            assert_eq!(
                (found[0].role, found[0].others[0].as_str()),
                (role, "00/106141412345678908")
            );
            let mut sum = Amounts::default();
            sum.count(&found[0]);
            assert_eq!(sum, Amounts::default());
        }
        let shipped = lines(&serde_json::json!({
            "type": "ObjectEvent", "action": "OBSERVE", "bizStep": "shipping",
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
            "epcList": [pallet, "urn:epc:id:sgtin:4012345.011111.987"],
        }));
        let shipped: Vec<(&str, Role)> =
            shipped.iter().map(|line| (line.lot.as_str(), line.role)).collect();
        let thing = "01/04012345111118/21/987";
        let expected = [("00/106141412345678908", Role::Dispatched), (thing, Role::Dispatched)];
        assert_eq!(shipped, expected);
        let emptied = lines(&serde_json::json!({
            "type": "AggregationEvent", "action": "DELETE", "bizStep": "unpacking",
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
            "parentID": pallet,
        }));
        let emptied: Vec<(&str, Role)> =
            emptied.iter().map(|line| (line.lot.as_str(), line.role)).collect();
        assert_eq!(emptied, [("00/106141412345678908", Role::Emptied)]);
    }

    #[test]
    fn items_whose_lot_is_stated_are_pieces_of_it() {
        let item = |lot: &str, serial: u32| {
            format!("https://id.gs1.org/01/04012345666663/10/{lot}/21/{serial}")
        };
        let key = |serial: u32| format!("01/04012345666663/21/{serial}");
        let bare = "urn:epc:id:sgtin:4012345.066666.7";
        let said = |found: &[Movement]| -> Vec<(String, Role, String)> {
            let number = |line: &Movement| line.quantity.unwrap().to_string();
            let moved = |line: &&Movement| !matches!(line.role, Role::Itemised | Role::OfLot);
            let lines = found.iter().filter(moved);
            lines.map(|line| (line.lot.clone(), line.role, number(line))).collect()
        };
        let line = |lot: &str, role, number: &str| (lot.to_owned(), role, number.to_owned());
        let (a, b) = ("01/04012345666663/10/A", "01/04012345666663/10/B");
        for (step, action, role) in [
            ("shipping", "OBSERVE", Role::Dispatched),
            ("receiving", "OBSERVE", Role::Received),
            ("commissioning", "ADD", Role::Produced),
            ("destroying", "DELETE", Role::Wasted),
        ] {
            let found = lines(&serde_json::json!({
                "type": "ObjectEvent", "action": action, "bizStep": step,
                "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
                "epcList": [item("A", 1), item("B", 2), item("A", 3)],
            }));
            let mut expected = vec![line(a, role, "2"), line(b, role, "1")];
            // What is in a thing that leaves is known to be in that thing.
            if role == Role::Dispatched {
                expected.extend([1, 2, 3].map(|serial| line(&key(serial), role, "1")));
            }
            assert_eq!(said(&found), expected, "{step}");
        }
        let found = lines(&serde_json::json!({
            "type": "TransformationEvent",
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
            "inputEPCList": [item("A", 1), item("A", 2)],
            "outputEPCList": [item("B", 3), bare],
        }));
        assert_eq!(
            said(&found),
            [
                line(a, Role::Consumed, "2"),
                line(b, Role::Produced, "1"),
                line(&key(7), Role::Produced, "1"),
            ]
        );
        assert_eq!(found[0].others, [b, &key(7)]);
        assert_eq!(found[1].others, [a]);
        let packed = lines(&serde_json::json!({
            "type": "AggregationEvent", "action": "ADD",
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
            "parentID": "urn:epc:id:sscc:0614141.1234567890",
            "childEPCs": [item("A", 1), item("A", 2)],
        }));
        let itself = |serial: u32| line(&key(serial), Role::Packed, "1");
        assert_eq!(said(&packed), [line(a, Role::Packed, "2"), itself(1), itself(2)]);
    }

    #[test]
    fn who_names_the_lot_of_an_item_says_it_of_both() {
        let item = |lot: &str, serial: u32| {
            format!("https://id.gs1.org/01/04012345666663/10/{lot}/21/{serial}")
        };
        let found = lines(&serde_json::json!({
            "type": "ObjectEvent", "action": "OBSERVE", "bizStep": "inspecting",
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
            "epcList": [item("A", 1), item("A", 2), item("B", 3)],
        }));
        let said: Vec<(&str, Role, Vec<&str>)> = found
            .iter()
            .map(|line| (&*line.lot, line.role, line.others.iter().map(|o| &**o).collect()))
            .collect();
        let (a, b) = ("01/04012345666663/10/A", "01/04012345666663/10/B");
        let [one, two, three] = [1, 2, 3].map(|serial| format!("01/04012345666663/21/{serial}"));
        let expected = [
            (a, Role::Itemised, vec![&*one, &*two]),
            (b, Role::Itemised, vec![&*three]),
            (&*one, Role::OfLot, vec![a]),
            (&*two, Role::OfLot, vec![a]),
            (&*three, Role::OfLot, vec![b]),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_no_sum_has_is_said() {
        let line = |quantity: &str, unit: &str, role| Movement {
            quantity: quantity.parse().ok(),
            unit: unit.into(),
            ..crate::ledger::tests::line(1, "lot", role)
        };
        let lines = [
            line("3", "KGM", Role::Received),
            line("", "KGM", Role::Dispatched),
            line("", "KGM", Role::Dispatched),
            line("12", "CT", Role::Received),
            line("5", "CT", Role::Received),
            line("", "KGM", Role::Packed),
        ];
        let said = |role, unit: &str, quantity: Option<i64>, movements| NotCounted {
            role,
            unit: unit.into(),
            quantity: quantity.map(Decimal::from),
            movements,
        };
        let expected =
            [said(Role::Received, "CT", Some(17), 2), said(Role::Dispatched, "KGM", None, 2)];
        assert_eq!(not_counted(lines.iter()), expected);
    }

    #[test]
    fn amounts_add_up_exactly_whatever_their_unit() {
        let mut line = lines(&serde_json::json!({
            "type": "ObjectEvent", "action": "ADD", "bizStep": "commissioning",
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
            "quantityList": [{ "epcClass": MILK, "quantity": 0.1, "uom": "KGM" }],
        }))
        .remove(0);
        let mut sum = Amounts::default();
        for _ in 0..1000 {
            sum.add(&line);
        }
        assert_eq!(sum.of(Dimension::Mass), Decimal::from(100));
        line.unit = "GRM".into();
        line.quantity = Some(Decimal::from(99_999));
        sum.take(&line);
        assert_eq!(sum.of(Dimension::Mass), "0.001".parse().unwrap());
        assert_eq!(sum.of(Dimension::Volume), Decimal::ZERO);
    }
}
