//! The query parameters of EPCIS 2.0 (§8.2.7.1) over what events are found by.

use jiff::Timestamp;
use keystone::http::Request;
use keystone::tenant::{Filter, Id, Order, Part, Stored, Tenant};
use keystone::{FieldError, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::correction::believed;
use crate::epcis::document::moment_of;
use crate::epcis::epc;
use crate::epcis::event::{Action, EventType};
use crate::epcis::vocabulary::{BIZ_STEP, DISPOSITION, ERROR_REASON, Vocabulary};
use crate::event::StoredEvent;

/// Events on a page unless the client says otherwise.
const PAGE: i64 = 30;
/// Most values of one parameter.
const VALUES: usize = 50;
/// Most bytes of events on a page; an answer of a function has at most 6 MB, and
/// escaped for it a text of quotes is twice as long.
const PAGE_BYTES: usize = 2_900_000;

/// By which time events are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum OrderBy {
    /// When they happened.
    EventTime,
    /// When they were recorded.
    RecordTime,
}

/// The direction of the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Direction {
    /// Latest first.
    Desc,
    /// Earliest first.
    Asc,
}

/// Which events to show. Several values of a parameter stand between `|`; any
/// of them fits. Identifiers may be EPC URNs, GS1 Digital Link URIs, or for a
/// whole product the pattern `urn:epc:idpat:sgtin:<company>.<item>.*`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EventQuery {
    /// Kinds of events.
    #[serde(rename = "eventType")]
    #[schemars(length(min = 1, max = 4096))]
    event_type: Option<String>,
    /// Happened then or later.
    #[serde(rename = "GE_eventTime")]
    #[schemars(length(min = 1, max = 64))]
    ge_event_time: Option<String>,
    /// Happened before.
    #[serde(rename = "LT_eventTime")]
    #[schemars(length(min = 1, max = 64))]
    lt_event_time: Option<String>,
    /// Recorded then or later.
    #[serde(rename = "GE_recordTime")]
    #[schemars(length(min = 1, max = 64))]
    ge_record_time: Option<String>,
    /// Recorded before.
    #[serde(rename = "LT_recordTime")]
    #[schemars(length(min = 1, max = 64))]
    lt_record_time: Option<String>,
    /// Actions.
    #[serde(rename = "EQ_action")]
    #[schemars(length(min = 1, max = 4096))]
    eq_action: Option<String>,
    /// Business steps, by short name or URI.
    #[serde(rename = "EQ_bizStep")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_step: Option<String>,
    /// Dispositions, by short name or URI.
    #[serde(rename = "EQ_disposition")]
    #[schemars(length(min = 1, max = 4096))]
    eq_disposition: Option<String>,
    /// Places at which they happened.
    #[serde(rename = "EQ_readPoint")]
    #[schemars(length(min = 1, max = 4096))]
    eq_read_point: Option<String>,
    /// Places at which things are afterwards.
    #[serde(rename = "EQ_bizLocation")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_location: Option<String>,
    /// eventIDs.
    #[serde(rename = "EQ_eventID")]
    #[schemars(length(min = 1, max = 4096))]
    eq_event_id: Option<String>,
    /// transformationIDs.
    #[serde(rename = "EQ_transformationID")]
    #[schemars(length(min = 1, max = 4096))]
    eq_transformation_id: Option<String>,
    /// Things in epcList or childEPCs.
    #[serde(rename = "MATCH_epc")]
    #[schemars(length(min = 1, max = 4096))]
    match_epc: Option<String>,
    /// parentID.
    #[serde(rename = "MATCH_parentID")]
    #[schemars(length(min = 1, max = 4096))]
    match_parent_id: Option<String>,
    /// Things in inputEPCList.
    #[serde(rename = "MATCH_inputEPC")]
    #[schemars(length(min = 1, max = 4096))]
    match_input_epc: Option<String>,
    /// Things in outputEPCList.
    #[serde(rename = "MATCH_outputEPC")]
    #[schemars(length(min = 1, max = 4096))]
    match_output_epc: Option<String>,
    /// Things anywhere.
    #[serde(rename = "MATCH_anyEPC")]
    #[schemars(length(min = 1, max = 4096))]
    match_any_epc: Option<String>,
    /// Products or lots in quantityList or childQuantityList.
    #[serde(rename = "MATCH_epcClass")]
    #[schemars(length(min = 1, max = 4096))]
    match_epc_class: Option<String>,
    /// Products or lots in inputQuantityList.
    #[serde(rename = "MATCH_inputEPCClass")]
    #[schemars(length(min = 1, max = 4096))]
    match_input_epc_class: Option<String>,
    /// Products or lots in outputQuantityList.
    #[serde(rename = "MATCH_outputEPCClass")]
    #[schemars(length(min = 1, max = 4096))]
    match_output_epc_class: Option<String>,
    /// Products or lots anywhere.
    #[serde(rename = "MATCH_anyEPCClass")]
    #[schemars(length(min = 1, max = 4096))]
    match_any_epc_class: Option<String>,
    /// Business documents, of any kind.
    #[serde(rename = "EQ_bizTransaction")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction: Option<String>,
    /// Bills of lading.
    #[serde(rename = "EQ_bizTransaction_bol")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_bol: Option<String>,
    /// Certificates.
    #[serde(rename = "EQ_bizTransaction_cert")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_cert: Option<String>,
    /// Despatch advices.
    #[serde(rename = "EQ_bizTransaction_desadv")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_desadv: Option<String>,
    /// Invoices.
    #[serde(rename = "EQ_bizTransaction_inv")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_inv: Option<String>,
    /// Pedigrees.
    #[serde(rename = "EQ_bizTransaction_pedigree")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_pedigree: Option<String>,
    /// Purchase orders.
    #[serde(rename = "EQ_bizTransaction_po")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_po: Option<String>,
    /// Purchase order confirmations.
    #[serde(rename = "EQ_bizTransaction_poc")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_poc: Option<String>,
    /// Production orders.
    #[serde(rename = "EQ_bizTransaction_prodorder")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_prodorder: Option<String>,
    /// Receiving advices.
    #[serde(rename = "EQ_bizTransaction_recadv")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_recadv: Option<String>,
    /// Return merchandise authorisations.
    #[serde(rename = "EQ_bizTransaction_rma")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_rma: Option<String>,
    /// Test procedures.
    #[serde(rename = "EQ_bizTransaction_testprd")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_testprd: Option<String>,
    /// Test results.
    #[serde(rename = "EQ_bizTransaction_testres")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_testres: Option<String>,
    /// Upstream events.
    #[serde(rename = "EQ_bizTransaction_upevt")]
    #[schemars(length(min = 1, max = 4096))]
    eq_biz_transaction_upevt: Option<String>,
    /// Who had them, where they came from.
    #[serde(rename = "EQ_source_possessing_party")]
    #[schemars(length(min = 1, max = 4096))]
    eq_source_possessing_party: Option<String>,
    /// Who owned them, where they came from.
    #[serde(rename = "EQ_source_owning_party")]
    #[schemars(length(min = 1, max = 4096))]
    eq_source_owning_party: Option<String>,
    /// Places that they came from.
    #[serde(rename = "EQ_source_location")]
    #[schemars(length(min = 1, max = 4096))]
    eq_source_location: Option<String>,
    /// Who has them, where they went to.
    #[serde(rename = "EQ_destination_possessing_party")]
    #[schemars(length(min = 1, max = 4096))]
    eq_destination_possessing_party: Option<String>,
    /// Who owns them, where they went to.
    #[serde(rename = "EQ_destination_owning_party")]
    #[schemars(length(min = 1, max = 4096))]
    eq_destination_owning_party: Option<String>,
    /// Places that they went to.
    #[serde(rename = "EQ_destination_location")]
    #[schemars(length(min = 1, max = 4096))]
    eq_destination_location: Option<String>,
    /// States that hold from then on.
    #[serde(rename = "EQ_persistentDisposition_set")]
    #[schemars(length(min = 1, max = 4096))]
    eq_persistent_disposition_set: Option<String>,
    /// States that no longer hold.
    #[serde(rename = "EQ_persistentDisposition_unset")]
    #[schemars(length(min = 1, max = 4096))]
    eq_persistent_disposition_unset: Option<String>,
    /// Reasons of error declarations.
    #[serde(rename = "EQ_errorReason")]
    #[schemars(length(min = 1, max = 4096))]
    eq_error_reason: Option<String>,
    /// eventIDs that error declarations name as right.
    #[serde(rename = "EQ_correctiveEventID")]
    #[schemars(length(min = 1, max = 4096))]
    eq_corrective_event_id: Option<String>,
    /// What sensors measured, as in the report's `type`.
    #[serde(rename = "EQ_type")]
    #[schemars(length(min = 1, max = 4096))]
    eq_type: Option<String>,
    /// Places at which they happened, or of which that place is a part: one with the
    /// same GLN and an extension.
    #[serde(rename = "WD_readPoint")]
    #[schemars(length(min = 1, max = 4096))]
    wd_read_point: Option<String>,
    /// Places at which things are afterwards, or of which that place is a part.
    #[serde(rename = "WD_bizLocation")]
    #[schemars(length(min = 1, max = 4096))]
    wd_biz_location: Option<String>,
    /// Whether only error declarations are wanted; no other value than `true`.
    #[serde(rename = "EXISTS_errorDeclaration")]
    exists_error_declaration: Option<Exists>,
    /// By which time they are ordered; `eventTime` unless given.
    #[serde(rename = "orderBy")]
    order_by: Option<OrderBy>,
    /// The direction of the order; `DESC` unless given.
    #[serde(rename = "orderDirection")]
    order_direction: Option<Direction>,
    /// At most this many; 30 unless given.
    #[serde(rename = "perPage")]
    #[schemars(range(min = 1, max = 100))]
    per_page: Option<i64>,
    /// At most this many in all, on one page; the first in the order. Not with
    /// `as_of`.
    #[serde(rename = "eventCountLimit")]
    #[schemars(range(min = 1, max = 100))]
    event_count_limit: Option<i64>,
    /// That more than this many are refused; not with `eventCountLimit` or `as_of`.
    #[serde(rename = "maxEventCount")]
    #[schemars(range(min = 1, max = 10_000))]
    max_event_count: Option<i64>,
    /// As it was known then: what was recorded by then, without what an error
    /// declaration had withdrawn by then, and without those declarations.
    #[schemars(length(min = 1, max = 64))]
    as_of: Option<String>,
    /// Where the page before ended: from its `Link` header.
    #[serde(rename = "nextPageToken")]
    #[schemars(length(min = 1, max = 100))]
    next_page_token: Option<String>,
}

/// That a member is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Exists {
    /// It is.
    True,
}

/// A parameter that names something: its name, roles and value.
type Identified<'q> = (&'static str, &'static [&'static str], &'q Option<String>);

/// The roles of things, and of products and lots in quantity lists.
pub(crate) const ANY_THING: &[&str] = &["epc", "parent", "in", "out"];
pub(crate) const ANY_CLASS: &[&str] = &["class", "inclass", "outclass"];

/// How a pattern of EPCs begins that is none of one product.
const PATTERN: &str = "urn:epc:idpat:";

/// That an event fits.
#[derive(Deserialize)]
pub(crate) struct Fitting {}

impl Part for Fitting {
    type Of = StoredEvent;
    const FIELDS: &'static [&'static str] = &["version"];
}

/// A page of events.
pub struct Found {
    /// The events.
    pub events: Vec<Stored<StoredEvent>>,
    /// The token of the next page, if there is one.
    pub next: Option<String>,
}

impl EventQuery {
    /// The query of a request.
    ///
    /// # Errors
    /// 422 naming every wrong parameter.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        request.query()
    }

    /// The events of `tenant` that fit.
    ///
    /// # Errors
    /// 422 naming every wrong parameter, or `maxEventCount` where more fit; 503
    /// when the database does not answer.
    pub async fn run(&self, tenant: &Tenant) -> Result<Found, Problem> {
        let filter = self.filter()?;
        if let Some(most) = self.max_event_count {
            let fitting = tenant.parts::<Fitting>(filter.clone(), most + 1).await?.len();
            if i64::try_from(fitting).is_ok_and(|fitting| fitting > most) {
                let message = "More events than that fit: ask for fewer.";
                return Err(Problem::invalid("maxEventCount", message));
            }
        }
        let order = Order {
            time: (self.order_by != Some(OrderBy::RecordTime)).then_some("event_time"),
            descending: self.order_direction != Some(Direction::Asc),
        };
        let after = self.next_page_token.as_deref().map(position).transpose()?;
        let limit = self.event_count_limit.or(self.per_page).unwrap_or(PAGE);
        let mut events: Vec<Stored<StoredEvent>> =
            tenant.list_by(filter, order, after, limit + 1).await?;
        let mut bytes = 0;
        let fitting = events
            .iter()
            .take(usize::try_from(limit).unwrap_or(1))
            .take_while(|event| {
                bytes += event.entity.document.len() + event.entity.context.len();
                bytes <= PAGE_BYTES
            })
            .count();
        let whole = i64::try_from(fitting).is_ok_and(|fitting| fitting == limit);
        let more = events.len() > fitting;
        if self.event_count_limit.is_some() && more && !whole {
            let message = "Events of that number do not fit an answer: ask for fewer.";
            return Err(Problem::invalid("eventCountLimit", message));
        }
        let more = more && self.event_count_limit.is_none();
        events.truncate(fitting);
        let next = events
            .last()
            .filter(|_| more)
            .map(|last| format!("{}.{}", last.entity.event_time.as_millisecond(), last.id));
        if let Some(as_of) = self.as_of.as_deref().and_then(moment_of) {
            events = believed(tenant, events, as_of).await?;
        }
        Ok(Found { events, next })
    }

    /// The parameters that name things, lots, places, parties and documents, with
    /// the roles in which those stand in keys.
    fn identified(&self) -> Vec<Identified<'_>> {
        vec![
            ("MATCH_epc", &["epc"], &self.match_epc),
            ("MATCH_parentID", &["parent"], &self.match_parent_id),
            ("MATCH_inputEPC", &["in"], &self.match_input_epc),
            ("MATCH_outputEPC", &["out"], &self.match_output_epc),
            ("MATCH_anyEPC", ANY_THING, &self.match_any_epc),
            ("MATCH_epcClass", &["class"], &self.match_epc_class),
            ("MATCH_inputEPCClass", &["inclass"], &self.match_input_epc_class),
            ("MATCH_outputEPCClass", &["outclass"], &self.match_output_epc_class),
            ("MATCH_anyEPCClass", ANY_CLASS, &self.match_any_epc_class),
            ("EQ_readPoint", &["read"], &self.eq_read_point),
            ("EQ_bizLocation", &["place"], &self.eq_biz_location),
            ("EQ_bizTransaction", &["transaction"], &self.eq_biz_transaction),
            ("EQ_bizTransaction_bol", &["transaction-bol"], &self.eq_biz_transaction_bol),
            ("EQ_bizTransaction_cert", &["transaction-cert"], &self.eq_biz_transaction_cert),
            ("EQ_bizTransaction_desadv", &["transaction-desadv"], &self.eq_biz_transaction_desadv),
            ("EQ_bizTransaction_inv", &["transaction-inv"], &self.eq_biz_transaction_inv),
            (
                "EQ_bizTransaction_pedigree",
                &["transaction-pedigree"],
                &self.eq_biz_transaction_pedigree,
            ),
            ("EQ_bizTransaction_po", &["transaction-po"], &self.eq_biz_transaction_po),
            ("EQ_bizTransaction_poc", &["transaction-poc"], &self.eq_biz_transaction_poc),
            (
                "EQ_bizTransaction_prodorder",
                &["transaction-prodorder"],
                &self.eq_biz_transaction_prodorder,
            ),
            ("EQ_bizTransaction_recadv", &["transaction-recadv"], &self.eq_biz_transaction_recadv),
            ("EQ_bizTransaction_rma", &["transaction-rma"], &self.eq_biz_transaction_rma),
            (
                "EQ_bizTransaction_testprd",
                &["transaction-testprd"],
                &self.eq_biz_transaction_testprd,
            ),
            (
                "EQ_bizTransaction_testres",
                &["transaction-testres"],
                &self.eq_biz_transaction_testres,
            ),
            ("EQ_bizTransaction_upevt", &["transaction-upevt"], &self.eq_biz_transaction_upevt),
            (
                "EQ_source_possessing_party",
                &["source-possessing_party"],
                &self.eq_source_possessing_party,
            ),
            ("EQ_source_owning_party", &["source-owning_party"], &self.eq_source_owning_party),
            ("EQ_source_location", &["source-location"], &self.eq_source_location),
            (
                "EQ_destination_possessing_party",
                &["destination-possessing_party"],
                &self.eq_destination_possessing_party,
            ),
            (
                "EQ_destination_owning_party",
                &["destination-owning_party"],
                &self.eq_destination_owning_party,
            ),
            ("EQ_destination_location", &["destination-location"], &self.eq_destination_location),
            ("WD_readPoint", &["read"], &self.wd_read_point),
            ("WD_bizLocation", &["place"], &self.wd_biz_location),
        ]
    }

    /// The conditions, those that few events fulfil first.
    fn filter(&self) -> Result<Filter, Problem> {
        let mut errors = Vec::new();
        let mut conditions: Vec<Vec<String>> = Vec::new();
        let mut add = |values: Option<Vec<String>>| conditions.extend(values);
        add(plain("EQ_eventID", "id", self.eq_event_id.as_deref(), &mut errors));
        add(plain(
            "EQ_transformationID",
            "transformation",
            self.eq_transformation_id.as_deref(),
            &mut errors,
        ));
        for (name, roles, value) in self.identified() {
            add(identifiers(name, roles, value.as_deref(), &mut errors));
        }
        for (name, role, value) in [
            ("EQ_correctiveEventID", "corrected", &self.eq_corrective_event_id),
            ("EQ_type", "sensor", &self.eq_type),
        ] {
            add(plain(name, role, value.as_deref(), &mut errors));
        }
        for (name, role, vocabulary, value) in [
            (
                "EQ_persistentDisposition_set",
                "set",
                &DISPOSITION,
                &self.eq_persistent_disposition_set,
            ),
            (
                "EQ_persistentDisposition_unset",
                "unset",
                &DISPOSITION,
                &self.eq_persistent_disposition_unset,
            ),
            ("EQ_errorReason", "reason", &ERROR_REASON, &self.eq_error_reason),
        ] {
            add(words(name, role, vocabulary, value.as_deref(), &mut errors));
        }
        if self.exists_error_declaration.is_some() {
            add(Some(vec!["declaration:error".into()]));
        }
        if self.event_count_limit.is_some() && self.max_event_count.is_some() {
            errors.push(FieldError::new("maxEventCount", "Not together with eventCountLimit."));
        }
        if self.event_count_limit.is_some() && self.per_page.is_some() {
            errors.push(FieldError::new("eventCountLimit", "Not together with perPage."));
        }
        // They count before it is known what was believed then.
        for (name, given) in
            [("eventCountLimit", self.event_count_limit), ("maxEventCount", self.max_event_count)]
        {
            if given.is_some() && self.as_of.is_some() {
                errors.push(FieldError::new(name, "Not together with as_of."));
            }
        }
        add(words("EQ_bizStep", "step", &BIZ_STEP, self.eq_biz_step.as_deref(), &mut errors));
        let disposition = self.eq_disposition.as_deref();
        add(words("EQ_disposition", "disposition", &DISPOSITION, disposition, &mut errors));
        let types: Vec<&str> = EventType::ALL.iter().map(|(name, _)| *name).collect();
        add(among("eventType", "type", &types, self.event_type.as_deref(), &mut errors));
        let actions: Vec<&str> = Action::ALL.iter().map(|(name, _)| *name).collect();
        add(among("EQ_action", "action", &actions, self.eq_action.as_deref(), &mut errors));

        let mut filter = Filter::all();
        for (name, value, with) in [
            (
                "GE_eventTime",
                &self.ge_event_time,
                from_event_time as fn(Filter, Timestamp) -> Filter,
            ),
            ("LT_eventTime", &self.lt_event_time, before_event_time),
            ("GE_recordTime", &self.ge_record_time, Filter::made_from),
            ("LT_recordTime", &self.lt_record_time, Filter::made_before),
            ("as_of", &self.as_of, Filter::made_until),
        ] {
            match value.as_deref().map(moment_of) {
                Some(Some(at)) => filter = with(filter, at),
                Some(None) => errors.push(FieldError::new(
                    name,
                    "Must be a moment such as 2027-01-31T12:00:00.000+01:00.",
                )),
                None => {}
            }
        }
        if !errors.is_empty() {
            return Err(Problem::Invalid(errors));
        }
        Ok(conditions.into_iter().fold(filter, |filter, values| filter.any("keys", values)))
    }
}

fn from_event_time(filter: Filter, at: Timestamp) -> Filter {
    filter.from("event_time", at)
}

fn before_event_time(filter: Filter, at: Timestamp) -> Filter {
    filter.before("event_time", at)
}

/// Reads `<milliseconds>.<id>`.
fn position(token: &str) -> Result<(Timestamp, Id), Problem> {
    token
        .split_once('.')
        .and_then(|(at, id)| {
            Some((Timestamp::from_millisecond(at.parse().ok()?).ok()?, id.parse().ok()?))
        })
        .ok_or_else(|| Problem::invalid("nextPageToken", "Use the token of the page before."))
}

/// The values of a parameter.
fn values<'v>(
    name: &str,
    value: Option<&'v str>,
    errors: &mut Vec<FieldError>,
) -> Option<Vec<&'v str>> {
    let values: Vec<&str> = value?.split('|').collect();
    if values.len() > VALUES {
        errors.push(FieldError::new(name, format!("Must have at most {VALUES} values.")));
        return None;
    }
    Some(values)
}

fn plain(
    name: &str,
    role: &str,
    value: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<Vec<String>> {
    let values = values(name, value, errors)?;
    Some(values.into_iter().map(|value| format!("{role}:{value}")).collect())
}

fn words(
    name: &str,
    role: &str,
    vocabulary: &Vocabulary,
    value: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<Vec<String>> {
    let values = values(name, value, errors)?;
    Some(values.into_iter().map(|value| format!("{role}:{}", vocabulary.short(value))).collect())
}

fn among(
    name: &str,
    role: &str,
    options: &[&str],
    value: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<Vec<String>> {
    let values = values(name, value, errors)?;
    if !values.iter().all(|value| options.contains(value)) {
        errors.push(FieldError::new(name, format!("Must be one of: {}.", options.join(", "))));
    }
    Some(values.into_iter().map(|value| format!("{role}:{value}")).collect())
}

/// Identifiers in their roles; that of a product also stands for all its
/// things and lots, and that of a place, where it is asked for, for its parts.
fn identifiers(
    name: &str,
    roles: &[&str],
    value: Option<&str>,
    errors: &mut Vec<FieldError>,
) -> Option<Vec<String>> {
    let values = values(name, value, errors)?;
    let mut keys = Vec::with_capacity(values.len() * roles.len());
    for value in values {
        match epc::key(value) {
            // A class may be given as a pattern in an event; a thing is not.
            Ok(key) if key.starts_with(PATTERN) && roles.iter().all(|r| ANY_THING.contains(r)) => {
                let message =
                    "Must not be a pattern but of one product: its serial number alone may be `*`.";
                errors.push(FieldError::new(name, message));
                return None;
            }
            Ok(key) => {
                for role in roles {
                    keys.push(format!("{role}:{key}"));
                    let within = name.starts_with("WD_") && epc::gln_of(&key).is_some();
                    if epc::is_product(&key) || within {
                        keys.push(format!("{role}:{key}/*"));
                    }
                }
            }
            Err(wrong) => {
                errors.push(FieldError::new(name, format!("Must be {}.", wrong.in_words())));
                return None;
            }
        }
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(json: serde_json::Value) -> Result<Filter, Problem> {
        serde_json::from_value::<EventQuery>(json).unwrap().filter()
    }

    #[test]
    fn the_same_thing_is_the_same_condition() {
        let filter = |value: &str| {
            format!("{:?}", query(serde_json::json!({ "MATCH_anyEPCClass": value })).unwrap())
        };
        assert_eq!(
            filter("urn:epc:class:lgtin:0614141.077777.987"),
            filter("https://id.gs1.org/01/00614141777778/10/987")
        );
        assert_eq!(
            filter("urn:epc:idpat:sgtin:4012345.066666.*"),
            filter("https://id.gs1.org/01/04012345666663")
        );
        // A class may be a pattern, which is found as it is; of a thing it would find none.
        let pattern = "urn:epc:idpat:sgtin:4012345.*.*";
        assert!(filter(pattern).contains(pattern));
        for name in ["MATCH_epc", "MATCH_anyEPC", "MATCH_parentID"] {
            let Err(Problem::Invalid(errors)) = query(serde_json::json!({ name: pattern })) else {
                panic!("{name} takes a pattern")
            };
            assert_eq!(errors[0].field, name);
        }
        assert!(
            filter("https://id.gs1.org/01/04012345666663").contains("class:01/04012345666663/*")
        );
    }

    #[test]
    fn every_wrong_parameter_is_named() {
        let wrong = query(serde_json::json!({
            "eventType": "ObjectEvent|NoEvent",
            "EQ_action": "add",
            "GE_eventTime": "yesterday",
            "LT_recordTime": "2020-01-01",
            "MATCH_epc": "urn:epc:id:sgtin:1.2.3",
            "EQ_bizStep": "a|".repeat(60),
        }));
        let Err(Problem::Invalid(errors)) = wrong else { panic!("accepted") };
        let mut fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            ["EQ_action", "EQ_bizStep", "GE_eventTime", "LT_recordTime", "MATCH_epc", "eventType"]
        );
    }

    #[test]
    fn a_token_that_is_not_ours_is_refused() {
        assert!(position("1700000000000.01890000-0000-7000-8000-000000000000").is_ok());
        for token in ["", ".", "1", "x.01890000-0000-7000-8000-000000000000", "1.x"] {
            assert!(position(token).is_err(), "{token}");
        }
    }
}
