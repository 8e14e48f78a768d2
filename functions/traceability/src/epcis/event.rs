//! The five kinds of EPCIS events (EPCIS 2.0 §7.4), read by the rules of GS1's
//! JSON schema and stricter where docs/adr/0017 says so.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::canonical::digest_of;
use super::document::contexts_of;
use super::epc::{self, Named};
use super::json::{Json, write_items, write_members};
use super::read::{
    self, Errors, Extension, Members, amount, choice, distinct, pointer, text, time, uri, word,
};
use super::sensor::{self, SensorReport};
use super::vocabulary::{BIZ_STEP, BIZ_TRANSACTION, DISPOSITION, ERROR_REASON, SOURCE_DESTINATION};
use crate::ledger::LINKS;
use crate::moment;

/// Kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EventType {
    /// Something happened to things.
    ObjectEvent,
    /// Things were put into something, or taken out.
    AggregationEvent,
    /// Things were linked with business transactions.
    TransactionEvent,
    /// Things were made into other things.
    TransformationEvent,
    /// Things were attached to something, or detached.
    AssociationEvent,
}

impl EventType {
    /// All kinds by their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ObjectEvent", Self::ObjectEvent),
        ("AggregationEvent", Self::AggregationEvent),
        ("TransactionEvent", Self::TransactionEvent),
        ("TransformationEvent", Self::TransformationEvent),
        ("AssociationEvent", Self::AssociationEvent),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// How an event bears on the things that it names (EPCIS 2.0 §7.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// They came to be, or were put in.
    Add,
    /// They were seen.
    Observe,
    /// They ceased to be, or were taken out.
    Delete,
}

impl Action {
    /// All actions by their names.
    pub const ALL: [(&'static str, Self); 3] =
        [("ADD", Self::Add), ("OBSERVE", Self::Observe), ("DELETE", Self::Delete)];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// How much of a class: of a product or a lot (EPCIS 2.0 §7.3.3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantityElement {
    /// Key of the class; see [`epc::key`].
    pub class: String,
    /// How much, exactly; unknown if absent.
    pub quantity: Option<Decimal>,
    /// Code of UN/ECE Recommendation 20; pieces if absent.
    pub unit: Option<String>,
}

/// What an event is about. Things are named by their keys; see [`epc::key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// EPCIS 2.0 §7.4.2.
    Object {
        /// Things.
        epcs: Vec<String>,
        /// Amounts of classes.
        quantities: Vec<QuantityElement>,
    },
    /// EPCIS 2.0 §7.4.3 and, for associations, §7.4.6.
    Containment {
        /// What holds them.
        parent: Option<String>,
        /// What is held.
        children: Vec<String>,
        /// Amounts of classes that are held.
        quantities: Vec<QuantityElement>,
    },
    /// EPCIS 2.0 §7.4.4.
    Transaction {
        /// What holds them.
        parent: Option<String>,
        /// Things.
        epcs: Vec<String>,
        /// Amounts of classes.
        quantities: Vec<QuantityElement>,
    },
    /// EPCIS 2.0 §7.4.5.
    Transformation {
        /// Things that went in.
        inputs: Vec<String>,
        /// Amounts of classes that went in.
        input_quantities: Vec<QuantityElement>,
        /// Things that came out.
        outputs: Vec<String>,
        /// Amounts of classes that came out.
        output_quantities: Vec<QuantityElement>,
        /// Name of a transformation that takes several events.
        transformation: Option<String>,
    },
}

/// Who or where something came from or goes to (EPCIS 2.0 §7.3.5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// In which capacity.
    pub kind: String,
    /// Key of the party or place.
    pub key: String,
}

/// A business document that an event belongs to (EPCIS 2.0 §7.3.5.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// What kind of document, if it is said.
    pub kind: Option<String>,
    /// Its identifier.
    pub id: String,
}

/// States that stay when the disposition changes (EPCIS 2.0 §7.4.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Persistent {
    /// Those that hold from now on.
    pub set: Vec<String>,
    /// Those that no longer hold.
    pub unset: Vec<String>,
}

/// A statement that an event was wrong (EPCIS 2.0 §7.4.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorDeclaration {
    /// When it was declared.
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
    /// Events that say what is right.
    pub corrected_by: Vec<String>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its kind.
    pub kind: EventType,
    /// When it happened.
    pub time: Timestamp,
    /// Its eventID, as the document gives it.
    pub event_id: Option<String>,
    /// That another event was wrong, whose eventID this one repeats.
    pub error: Option<ErrorDeclaration>,
    /// How it bears on things.
    pub action: Option<Action>,
    /// Short name or URI of the business step.
    pub biz_step: Option<String>,
    /// Short name or URI of the state that things are in afterwards.
    pub disposition: Option<String>,
    /// Key of the place at which it happened.
    pub read_point: Option<String>,
    /// Key of the place at which things are afterwards.
    pub biz_location: Option<String>,
    /// Business documents that it belongs to.
    pub transactions: Vec<Transaction>,
    /// States that come or go and stay.
    pub persistent: Persistent,
    /// Where things came from.
    pub sources: Vec<Party>,
    /// Where things go.
    pub destinations: Vec<Party>,
    /// What sensors reported.
    pub reports: Vec<SensorReport>,
    /// What it is about.
    pub what: What,
    /// The lots that it states of single items, in their identifiers
    /// ([`epc::Named::lot`]) or as master data of what comes to be: key of each
    /// item, and key of its lot.
    pub lots: BTreeMap<String, String>,
    /// Its JSON without `@context` and `recordTime`, all extensions kept.
    pub text: String,
    /// Its JSON-LD contexts as a JSON array.
    pub context: String,
    /// The same for all spellings of the same event; see [`digest_of`].
    pub digest: String,
}

/// Longest event, in bytes of its JSON without blanks.
const LENGTH: usize = 256 * 1024;

/// Members that every kind has.
const COMMON: [&str; 8] = [
    "@context",
    "type",
    "eventTime",
    "recordTime",
    "eventTimeZoneOffset",
    "eventID",
    "certificationInfo",
    "errorDeclaration",
];
/// Members that every kind has beside [`COMMON`] and its own.
const BUSINESS: [&str; 8] = [
    "bizStep",
    "disposition",
    "readPoint",
    "bizLocation",
    "bizTransactionList",
    "sourceList",
    "destinationList",
    "sensorElementList",
];

impl Event {
    /// Reads an event at the pointer `at` of a document with these contexts.
    pub fn read(json: &Json, at: &str, contexts: &[Json], errors: &mut Errors) -> Option<Self> {
        let before = errors.0.len();
        let event = Self::parse(json, at, contexts, errors)?;
        (errors.0.len() == before).then_some(event)
    }

    fn parse(json: &Json, at: &str, contexts: &[Json], errors: &mut Errors) -> Option<Self> {
        let Json::Object(members) = json else {
            errors.note(at, "Must be of type object.");
            return None;
        };
        let kind = if let Some(kind) = json.get("type") {
            choice(&EventType::ALL)(kind, &pointer(at, "type"), errors)
        } else {
            errors.note(&pointer(at, "type"), "This field is required.");
            None
        };
        // Of an unknown kind, what every event has is judged all the same.
        let kinds = EventType::ALL.iter().map(|(_, one)| *one);
        let own = kinds.filter(|one| kind.is_none_or(|kind| kind == *one)).flat_map(own_members);
        let known: Vec<&str> = COMMON.iter().chain(&BUSINESS).chain(own).copied().collect();
        let event = Members::of(json, at, &known, Extension::Uris, errors)?;

        let when = event.required("eventTime", errors).and_then(|(v, at)| time(v, &at, errors));
        event.optional("recordTime", errors, time);
        if let Some((offset, at)) = event.required("eventTimeZoneOffset", errors)
            && !text(offset, &at, errors).is_none_or(is_offset)
        {
            errors.note(&at, "Must be an offset such as +02:00.");
        }
        let contexts = contexts_of(&event, contexts, errors);
        let event_id = event.optional("eventID", errors, uri).map(str::to_owned);
        let error = event.optional("errorDeclaration", errors, error_declaration);
        if error.is_some() && event.get("eventID").is_none() {
            let at = pointer(at, "eventID");
            errors.note(&at, "An error declaration has the eventID of the event that was wrong.");
        }
        if let Some((info, at)) = event.get("certificationInfo") {
            match info {
                Json::Array(_) => drop(event.list("certificationInfo", errors, uri)),
                one => drop(uri(one, &at, errors)),
            }
        }
        let kind = kind?;
        let action = match kind {
            EventType::TransformationEvent => None,
            _ => event
                .required("action", errors)
                .and_then(|(value, at)| choice(&Action::ALL)(value, &at, errors)),
        };
        let lot_number =
            if known.contains(&"ilmd") { ilmd(&event, kind, action, errors) } else { None };
        let persistent = event
            .optional("persistentDisposition", errors, persistent_disposition)
            .unwrap_or_default();
        let transactions = event.list("bizTransactionList", errors, biz_transaction);
        let reports = event.list("sensorElementList", errors, sensor::element);
        let mut lots = BTreeMap::new();
        let what = what(&event, kind, action, &mut lots, errors);
        if let Some(number) = lot_number {
            name_lot(number, &what, &mut lots);
        }
        bound_links(&what, &event.at, errors);
        let biz_step = event.optional("bizStep", errors, word(&BIZ_STEP));
        let disposition = event.optional("disposition", errors, word(&DISPOSITION));
        let read_point = event.optional("readPoint", errors, place);
        let biz_location = event.optional("bizLocation", errors, place);
        let sources = parties(&event, "sourceList", "source", errors);
        let destinations = parties(&event, "destinationList", "destination", errors);

        let kept = || members.iter().filter(|(name, _)| name != "@context" && name != "recordTime");
        let mut text = String::new();
        write_members(kept(), &mut text);
        if text.len() > LENGTH {
            errors.note(at, format!("Must have at most {LENGTH} bytes."));
        }
        // With an eventID that we gave it is still the same event.
        let digest = digest_of(kept().filter(|(name, _)| name != "eventID"), &contexts);
        let mut context = String::new();
        write_items(&contexts, &mut context);
        Some(Self {
            kind,
            time: when?,
            event_id,
            error,
            action,
            biz_step,
            disposition,
            read_point,
            biz_location,
            transactions,
            persistent,
            sources,
            destinations,
            reports: reports.into_iter().flatten().collect(),
            what,
            lots,
            text,
            context,
            digest,
        })
    }

    /// What is wrong with its times at `now`: each member after a slash, and what
    /// it must be.
    pub fn wrong_times(&self, now: Timestamp) -> Vec<(&'static str, &'static str)> {
        let declared = self.error.as_ref().map(|error| error.at);
        [("/eventTime", Some(self.time)), ("/errorDeclaration/declarationTime", declared)]
            .into_iter()
            .filter_map(|(member, at)| Some((member, moment::wrong(at?, now)?)))
            .collect()
    }

    /// How many things, parties, business documents and other events it names.
    pub fn named(&self) -> usize {
        let things = match &self.what {
            What::Object { epcs, quantities }
            | What::Containment { children: epcs, quantities, .. }
            | What::Transaction { epcs, quantities, .. } => epcs.len() + quantities.len(),
            What::Transformation {
                inputs, input_quantities, outputs, output_quantities, ..
            } => inputs.len() + input_quantities.len() + outputs.len() + output_quantities.len(),
        };
        let corrected = self.error.as_ref().map_or(0, |error| error.corrected_by.len());
        things + self.sources.len() + self.destinations.len() + self.transactions.len() + corrected
    }

    /// All that the event is found by, each as `<role>:<key>`; see
    /// docs/adr/0017.
    pub fn keys(&self, event_id: &str) -> Vec<String> {
        let mut keys = BTreeSet::new();
        let mut add = |role: &str, key: &str| {
            keys.insert(format!("{role}:{key}"));
        };
        add("id", event_id);
        add("type", self.kind.name());
        for (role, value) in [
            ("action", self.action.map(Action::name)),
            ("step", self.biz_step.as_deref()),
            ("disposition", self.disposition.as_deref()),
            ("read", self.read_point.as_deref()),
            ("place", self.biz_location.as_deref()),
        ] {
            if let Some(value) = value {
                add(role, value);
            }
        }
        for (side, parties) in [("source", &self.sources), ("destination", &self.destinations)] {
            for party in parties {
                add(&format!("{side}-{}", party.kind), &party.key);
            }
        }
        for Transaction { kind, id } in &self.transactions {
            add("transaction", id);
            if let Some(kind) = kind {
                add(&format!("transaction-{kind}"), id);
            }
        }
        for (role, words) in [("set", &self.persistent.set), ("unset", &self.persistent.unset)] {
            for word in words {
                add(role, word);
            }
        }
        for report in &self.reports {
            add("sensor", &report.kind);
        }
        if let Some(error) = &self.error {
            add("declaration", "error");
            for (role, words) in
                [("reason", error.reason.as_slice()), ("corrected", &error.corrected_by)]
            {
                for word in words {
                    add(role, word);
                }
            }
        }
        // A place within a place, such as a dock, is found by the whole too.
        for (role, place) in [("read", &self.read_point), ("place", &self.biz_location)] {
            if let Some((whole, _)) = place.as_deref().and_then(|place| place.split_once("/254/")) {
                add(role, &format!("{whole}/*"));
            }
        }
        // A thing is found by itself and by its product.
        let mut things = |role: &str, epcs: &[String]| {
            for key in epcs {
                add(role, key);
                if let Some(product) = epc::product_of(key) {
                    add(role, &format!("{product}/*"));
                }
            }
        };
        let of = |list: &[QuantityElement]| -> Vec<String> {
            list.iter().map(|element| element.class.clone()).collect()
        };
        match &self.what {
            What::Object { epcs, quantities } => {
                things("epc", epcs);
                things("class", &of(quantities));
            }
            What::Containment { parent, children, quantities }
            | What::Transaction { parent, epcs: children, quantities } => {
                things("parent", parent.as_slice());
                things("epc", children);
                things("class", &of(quantities));
            }
            What::Transformation {
                inputs,
                input_quantities,
                outputs,
                output_quantities,
                transformation,
            } => {
                things("in", inputs);
                things("inclass", &of(input_quantities));
                things("out", outputs);
                things("outclass", &of(output_quantities));
                if let Some(id) = transformation {
                    add("transformation", id);
                }
            }
        }
        keys.into_iter().collect()
    }
}

/// The members that a kind of event has beside those of every event.
fn own_members(kind: EventType) -> &'static [&'static str] {
    match kind {
        EventType::ObjectEvent => {
            &["action", "epcList", "quantityList", "persistentDisposition", "ilmd"]
        }
        EventType::AggregationEvent | EventType::AssociationEvent => {
            &["action", "parentID", "childEPCs", "childQuantityList"]
        }
        EventType::TransactionEvent => &["action", "parentID", "epcList", "quantityList"],
        EventType::TransformationEvent => &[
            "inputEPCList",
            "inputQuantityList",
            "outputEPCList",
            "outputQuantityList",
            "transformationID",
            "persistentDisposition",
            "ilmd",
        ],
    }
}

/// What the event is about, with the rules of its kind.
fn what(
    event: &Members<'_>,
    kind: EventType,
    action: Option<Action>,
    lots: &mut BTreeMap<String, String>,
    errors: &mut Errors,
) -> What {
    let at = event.at.as_str();
    let filled = |name: &str| {
        event
            .get(name)
            .is_some_and(|(list, _)| matches!(list, Json::Array(items) if !items.is_empty()))
    };
    let there = |name: &str| event.get(name).is_some();
    let deletes = action == Some(Action::Delete);
    let mut things = |name: &str, errors: &mut Errors| -> Vec<String> {
        event.list(name, errors, |item, at, errors| {
            let Named { key, lot } = read::thing(item, at, errors)?;
            if let Some(lot) = lot
                && lots.insert(key.clone(), lot.clone()).is_some_and(|other| other != lot)
            {
                errors.note(at, "Is of another lot elsewhere in this event.");
            }
            Some(key)
        })
    };
    match kind {
        EventType::ObjectEvent => {
            distinct(event, "epcList", errors);
            let sensed = filled("sensorElementList") && there("readPoint");
            if !there("epcList") && !filled("quantityList") && !sensed {
                let message = "One of epcList, quantityList, and sensorElementList with readPoint \
                               is required.";
                errors.note(&pointer(at, "epcList"), message);
            }
            What::Object {
                epcs: things("epcList", errors),
                quantities: event.list("quantityList", errors, quantity_element),
            }
        }
        EventType::AggregationEvent | EventType::AssociationEvent => {
            if !filled("childEPCs") && !filled("childQuantityList") && !deletes {
                errors.note(
                    &pointer(at, "childEPCs"),
                    "One of childEPCs and childQuantityList is required.",
                );
            }
            // An association always has one; an aggregation unless it was only
            // seen (EPCIS 2.0 §7.4.3).
            let seen = kind == EventType::AggregationEvent
                && matches!(action, Some(Action::Observe) | None);
            if !seen {
                event.required("parentID", errors);
            }
            What::Containment {
                parent: event.optional("parentID", errors, read::epc),
                children: things("childEPCs", errors),
                quantities: event.list("childQuantityList", errors, quantity_element),
            }
        }
        EventType::TransactionEvent => {
            if let Some((list, at)) = event.required("bizTransactionList", errors)
                && matches!(list, Json::Array(items) if items.is_empty())
            {
                errors.note(&at, "Must have at least 1 items.");
            }
            if !there("epcList") && !filled("quantityList") && !deletes {
                errors
                    .note(&pointer(at, "epcList"), "One of epcList and quantityList is required.");
            }
            What::Transaction {
                parent: event.optional("parentID", errors, read::epc),
                epcs: things("epcList", errors),
                quantities: event.list("quantityList", errors, quantity_element),
            }
        }
        EventType::TransformationEvent => {
            distinct(event, "inputEPCList", errors);
            distinct(event, "outputEPCList", errors);
            let inputs = filled("inputEPCList") || filled("inputQuantityList");
            let outputs = filled("outputEPCList") || filled("outputQuantityList");
            let in_parts = there("transformationID") && (inputs || outputs);
            if !in_parts && !inputs {
                errors.note(
                    &pointer(at, "inputEPCList"),
                    "One of inputEPCList and inputQuantityList is required.",
                );
            }
            if !in_parts && !outputs {
                errors.note(
                    &pointer(at, "outputEPCList"),
                    "One of outputEPCList and outputQuantityList is required.",
                );
            }
            What::Transformation {
                inputs: things("inputEPCList", errors),
                input_quantities: event.list("inputQuantityList", errors, quantity_element),
                outputs: things("outputEPCList", errors),
                output_quantities: event.list("outputQuantityList", errors, quantity_element),
                transformation: event.optional("transformationID", errors, uri).map(str::to_owned),
            }
        }
    }
}

/// Notes a transformation of more links than a trace can follow: each line of
/// the ledger names all that is on the other side.
fn bound_links(what: &What, at: &str, errors: &mut Errors) {
    let What::Transformation { inputs, input_quantities, outputs, output_quantities, .. } = what
    else {
        return;
    };
    let came_in = inputs.len() + input_quantities.len();
    let came_out = outputs.len() + output_quantities.len();
    if came_in * came_out > LINKS {
        let message = format!(
            "What went in times what came out must be at most {LINKS}; record the transformation \
             in several events with one transformationID."
        );
        errors.note(&pointer(at, "outputQuantityList"), message);
    }
}

fn is_offset(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['+', '-']) else { return false };
    let Some((hours, minutes)) = rest.split_once(':') else { return false };
    let number = |text: &str| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u8>().ok()).flatten()
    };
    match (number(hours), number(minutes)) {
        (Some(hours), Some(minutes)) => hours <= 13 && minutes <= 59 || hours == 14 && minutes == 0,
        _ => false,
    }
}

fn error_declaration(json: &Json, at: &str, errors: &mut Errors) -> Option<ErrorDeclaration> {
    let known = ["declarationTime", "reason", "correctiveEventIDs"];
    let declaration = Members::of(json, at, &known, Extension::Uris, errors)?;
    let declared = declaration.required("declarationTime", errors);
    Some(ErrorDeclaration {
        at: declared.and_then(|(value, at)| time(value, &at, errors))?,
        reason: declaration.optional("reason", errors, word(&ERROR_REASON)),
        corrected_by: declaration.list("correctiveEventIDs", errors, |value, at, errors| {
            uri(value, at, errors).map(str::to_owned)
        }),
    })
}

/// The names under which ILMD may have the lot number (CBV 2.0 §9.2; GS1 Web
/// Vocabulary).
const LOT_NUMBER: [&str; 5] = [
    "cbvmda:lotNumber",
    "urn:epcglobal:cbv:mda:lotNumber",
    "https://ref.gs1.org/cbv/mda/lotNumber",
    "gs1:hasBatchLotNumber",
    "https://gs1.org/voc/hasBatchLotNumber",
];

/// Master data of what comes to be: only where something does. Gives the lot
/// number, if it has one.
fn ilmd<'j>(
    event: &Members<'j>,
    kind: EventType,
    action: Option<Action>,
    errors: &mut Errors,
) -> Option<&'j str> {
    let (data, at) = event.get("ilmd")?;
    if kind == EventType::ObjectEvent && action != Some(Action::Add) {
        errors.note(&at, "Is for the action ADD only.");
    }
    let data = Members::of(data, &at, &[], Extension::Uris, errors)?;
    let number = LOT_NUMBER.iter().find_map(|name| data.optional(name, errors, text))?;
    Some(number).filter(|number| !number.is_empty())
}

/// Gives the items that come to be the lot of their master data, unless their
/// identifier states it.
fn name_lot(number: &str, what: &What, lots: &mut BTreeMap<String, String>) {
    let (What::Object { epcs: made, .. } | What::Transformation { outputs: made, .. }) = what
    else {
        return;
    };
    for item in made.iter().filter(|key| epc::is_item(key)) {
        if let Some(product) = epc::product_of(item) {
            lots.entry(item.clone()).or_insert_with(|| format!("{product}/10/{number}"));
        }
    }
}

fn persistent_disposition(json: &Json, at: &str, errors: &mut Errors) -> Option<Persistent> {
    let known = ["set", "unset"];
    let disposition = Members::of(json, at, &known, Extension::None, errors)?;
    if disposition.get("set").is_none() && disposition.get("unset").is_none() {
        errors.note(&pointer(at, "set"), "One of set and unset is required.");
    }
    let [set, unset] = known.map(|name| {
        if let Some((Json::Array(items), at)) = disposition.get(name)
            && items.is_empty()
        {
            errors.note(&at, "Must have at least 1 items.");
        }
        distinct(&disposition, name, errors);
        disposition.list(name, errors, word(&DISPOSITION))
    });
    Some(Persistent { set, unset })
}

fn biz_transaction(json: &Json, at: &str, errors: &mut Errors) -> Option<Transaction> {
    let transaction = Members::of(json, at, &["type", "bizTransaction"], Extension::None, errors)?;
    let kind = transaction.optional("type", errors, word(&BIZ_TRANSACTION));
    let (id, at) = transaction.required("bizTransaction", errors)?;
    let id = read::epc(id, &at, errors)?;
    Some(Transaction { kind, id })
}

fn parties(event: &Members<'_>, list: &str, member: &str, errors: &mut Errors) -> Vec<Party> {
    event.list(list, errors, |item, at, errors| {
        let party = Members::of(item, at, &["type", member], Extension::None, errors)?;
        let kind = party.required("type", errors);
        let kind = kind.and_then(|(value, at)| word(&SOURCE_DESTINATION)(value, &at, errors));
        let id = party.required(member, errors);
        let key = id.and_then(|(value, at)| read::epc(value, &at, errors));
        Some(Party { kind: kind?, key: key? })
    })
}

fn place(json: &Json, at: &str, errors: &mut Errors) -> Option<String> {
    let place = Members::of(json, at, &["id"], Extension::Any, errors)?;
    let (id, at) = place.required("id", errors)?;
    read::epc(id, &at, errors)
}

fn quantity_element(json: &Json, at: &str, errors: &mut Errors) -> Option<QuantityElement> {
    let known = ["epcClass", "quantity", "uom"];
    let element = Members::of(json, at, &known, Extension::None, errors)?;
    let class = element.required("epcClass", errors);
    let unit = element.optional("uom", errors, |value, at, errors| {
        let unit = text(value, at, errors)?;
        let code = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        if matches!(unit.len(), 2 | 3) && unit.bytes().all(code) {
            return Some(unit.to_owned());
        }
        errors.note(at, "Must be a code of UN/ECE Recommendation 20, such as KGM.");
        None
    });
    let quantity = element.optional("quantity", errors, amount);
    let (class, at) = class?;
    Some(QuantityElement { class: read::epc(class, &at, errors)?, quantity, unit })
}

#[cfg(test)]
mod tests {
    use crate::epcis::document::read_bare;
    use crate::epcis::json::Json;

    fn items(epcs: &[&str]) -> serde_json::Value {
        serde_json::json!({
            "type": "ObjectEvent", "action": "OBSERVE", "eventID": "urn:x:1",
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
            "epcList": epcs,
        })
    }

    #[test]
    fn who_declares_an_event_wrong_names_it() {
        let mut event = items(&["urn:epc:id:sgtin:4012345.011111.7"]);
        event["errorDeclaration"] =
            serde_json::json!({ "declarationTime": "2026-03-02T08:00:00Z" });
        let wrong = |event: &serde_json::Value| {
            let (_, errors) = read_bare(&Json::read(&event.to_string()).unwrap());
            errors.0.into_iter().map(|error| error.field).collect::<Vec<_>>()
        };
        assert_eq!(wrong(&event), [""; 0]);
        event.as_object_mut().unwrap().remove("eventID");
        assert_eq!(wrong(&event), ["/eventID"]);
        event.as_object_mut().unwrap().remove("errorDeclaration");
        assert_eq!(wrong(&event), [""; 0], "it gets one of ours");
    }

    #[test]
    fn a_transformation_has_no_more_links_than_can_be_followed() {
        let lots = |count: usize, of: &str| -> Vec<serde_json::Value> {
            let class = |n| format!("https://id.gs1.org/01/04012345666663/10/{of}{n}");
            let one = |n| serde_json::json!({ "epcClass": class(n), "quantity": 1 });
            (0..count).map(one).collect()
        };
        let wrong = |came_in, came_out| {
            let event = serde_json::json!({
                "type": "TransformationEvent", "eventID": "urn:x:1",
                "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
                "inputQuantityList": lots(came_in, "I"), "outputQuantityList": lots(came_out, "O"),
            });
            let (_, errors) = read_bare(&Json::read(&event.to_string()).unwrap());
            errors.0.into_iter().map(|error| error.field).collect::<Vec<_>>()
        };
        assert_eq!(wrong(1_000, 100), [""; 0]);
        assert_eq!(wrong(1_000, 101), ["/outputQuantityList"]);
    }

    #[test]
    fn an_item_is_found_by_its_serial_whether_its_lot_is_stated_or_not() {
        let read = |epc: &str| {
            let (event, errors) = read_bare(&Json::read(&items(&[epc]).to_string()).unwrap());
            assert_eq!(errors.0, vec![], "{epc}");
            event.unwrap()
        };
        let stated = read("https://id.gs1.org/01/04012345666663/10/A/21/7");
        let bare = read("https://id.gs1.org/01/04012345666663/21/7");
        assert_eq!(stated.keys("urn:x:1"), bare.keys("urn:x:1"));
        assert_eq!(stated.lots["01/04012345666663/21/7"], "01/04012345666663/10/A");
        // Who states the lot says more than who does not, or states another.
        let other = read("https://id.gs1.org/01/04012345666663/10/B/21/7");
        assert!(stated.digest != bare.digest && stated.digest != other.digest);
        assert_eq!(bare.digest, read("urn:epc:id:sgtin:4012345.066666.7").digest);
        // So does a link that gives a date of expiry, or another one.
        let expires = read("https://id.gs1.org/01/04012345666663/10/A/21/7?17=270131");
        let later = read("https://id.gs1.org/01/04012345666663/10/A/21/7?17=280131");
        assert_eq!(expires.keys("urn:x:1"), stated.keys("urn:x:1"));
        assert!(expires.digest != stated.digest && expires.digest != later.digest);
    }

    #[test]
    fn items_that_come_to_be_are_of_the_lot_of_their_master_data() {
        let made = |name: &str, number: serde_json::Value| {
            let mut event = items(&[
                "urn:epc:id:sgtin:4012345.066666.7",
                "https://id.gs1.org/01/04012345666663/10/B/21/8",
                "urn:epc:id:sscc:0614141.1234567890",
            ]);
            event["action"] = "ADD".into();
            event["ilmd"] = serde_json::json!({ name: number });
            read_bare(&Json::read(&event.to_string()).unwrap())
        };
        for name in super::LOT_NUMBER {
            let lots = made(name, "A".into()).0.unwrap().lots;
            let lots: Vec<(&str, &str)> = lots.iter().map(|(k, v)| (&**k, &**v)).collect();
            let lot_of_7 = ("01/04012345666663/21/7", "01/04012345666663/10/A");
            let lot_of_8 = ("01/04012345666663/21/8", "01/04012345666663/10/B");
            assert_eq!(lots, [lot_of_7, lot_of_8], "{name}");
        }
        assert_eq!(made("urn:x:lotNumber", "A".into()).0.unwrap().lots.len(), 1);
        let (_, errors) = made("cbvmda:lotNumber", 7.into());
        assert_eq!(errors.0[0].field, "/ilmd/cbvmda:lotNumber");
    }

    #[test]
    fn an_item_is_of_one_lot() {
        let epcs =
            ["A", "B"].map(|lot| format!("https://a.example/01/4012345666663/10/{lot}/21/7"));
        let event = items(&[&epcs[0], &epcs[1]]);
        let (_, errors) = read_bare(&Json::read(&event.to_string()).unwrap());
        assert_eq!(errors.0.len(), 1);
        assert_eq!(errors.0[0].field, "/epcList/1");
    }
}
