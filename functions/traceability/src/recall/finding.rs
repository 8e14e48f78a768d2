//! What a recall found: the lots that are affected, where their goods went, and
//! what is still there. A snapshot: nothing changes it afterwards.
//!
//! It names partners by reference and holds no name, phone or address of them,
//! so that what is erased of a customer is gone from here too.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use keystone::Problem;
use keystone::tenant::{Entity, Id, Part, Tenant, schema};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::Batch;
use crate::epcis::epc::lot_key;
use crate::event::StoredEvent;
use crate::ledger::{LINES, Limit, NAMED};
use crate::movement::{Amounts, Movement, NotCounted, Role, not_counted};
use crate::partner;
use crate::parts::parts_among;
use crate::product::Product;
use crate::trace::{BACK, DEPTH, FORWARD, Period, Walk};

/// Most lots, links and dispatched lots that a finding holds, so that it fits
/// a document of the database and an answer of a function. Links are left out
/// first: they explain, and nobody is told because of them.
pub const PARTS: usize = 12_000;

/// An exact amount in kilograms (`KGM`), litres (`LTR`) or pieces (`H87`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BaseAmount")]
pub struct Amount {
    /// Decimal number as text.
    #[schemars(with = "String")]
    pub value: Decimal,
    /// `KGM`, `LTR` or `H87`.
    pub unit: String,
}

impl Amount {
    /// The amount in words, as in `12.5 KGM`.
    pub fn words(&self) -> String {
        format!("{} {}", self.value, self.unit)
    }
}

/// The sums as amounts.
pub fn amounts(sums: &Amounts) -> Vec<Amount> {
    let all = sums.all();
    all.map(|(dimension, value)| Amount { value, unit: dimension.unit().into() }).collect()
}

/// On which side of the named lots a lot lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It was named, or what was named went into it.
    Affected,
    /// It went into what was named.
    Origin,
}

/// A lot that was found.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundLot {
    /// GS1 element string: `01/<GTIN-14>/10/<lot>`.
    pub lot: String,
    /// Affected, or an origin.
    pub side: Side,
    /// Steps away from the named lots.
    pub depth: u32,
    /// The batch, if it is one of ours.
    pub batch_id: Option<Id>,
    /// Name of the product, if it is one of ours.
    pub product: Option<String>,
    /// What arrived or was made.
    pub incoming: Vec<Amount>,
    /// What went into something else.
    pub consumed: Vec<Amount>,
    /// What went to customers.
    pub dispatched: Vec<Amount>,
    /// What was thrown away.
    pub wasted: Vec<Amount>,
    /// What is still there.
    pub stock: Vec<Amount>,
    /// Incoming less what went and what is there: what a count did not find,
    /// or, negative, what left or was found without having come.
    pub unaccounted: Vec<Amount>,
    /// GLNs of where it arrived or was made; of lots that are still there.
    pub places: Vec<String>,
    /// Whom it came from: ids of suppliers, or GS1 keys of parties.
    pub suppliers: Vec<String>,
}

/// That one lot went into another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FoundLink {
    /// The lot that went in.
    pub from: String,
    /// The lot that came out.
    pub to: String,
    /// How much went in, in all events, where that is known.
    #[schemars(with = "Option<String>")]
    pub quantity: Option<Decimal>,
    /// Its unit, as it was entered.
    pub unit: Option<String>,
    /// The event.
    pub event_id: Id,
}

/// Somebody whom affected goods went to.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// Id of a customer, or the GS1 key of a party; absent where a dispatch
    /// names nobody.
    pub recipient: Option<String>,
    /// What they got.
    pub lots: Vec<SentLot>,
}

impl Recipient {
    /// The customer, if it is one of ours.
    pub fn customer(&self) -> Option<Id> {
        self.recipient.as_deref().and_then(|text| text.parse().ok())
    }
}

/// A lot that somebody got, also in units that were shipped.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SentLot {
    /// GS1 element string of the lot.
    pub lot: String,
    /// How much, in all dispatches.
    pub dispatched: Vec<Amount>,
    /// When the last of it left.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_at: Timestamp,
    /// GS1 element strings of the units that it was in, where those were shipped.
    #[serde(default)]
    pub within: Vec<String>,
}

/// The finding of a recall, under the recall's id, in the tenant's append-only
/// database.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Lots, nearest first.
    pub lots: Vec<FoundLot>,
    /// What went into what.
    pub links: Vec<FoundLink>,
    /// Whom affected goods went to.
    pub recipients: Vec<Recipient>,
}

impl Entity for Finding {
    const COLLECTION: &'static schema::Collection = &schema::RECALL_FINDINGS;
    const RESOURCE: &'static str = "recall_finding";
    const PERSONAL: &'static [&'static str] = &[];
}

/// What was found.
#[derive(Serialize, JsonSchema)]
pub struct FindingView {
    /// Lots, nearest first.
    lots: Vec<FoundLot>,
    /// What went into what.
    links: Vec<FoundLink>,
    /// Whom affected goods went to, by reference.
    recipients: Vec<Recipient>,
}

impl From<Finding> for FindingView {
    fn from(Finding { lots, links, recipients }: Finding) -> Self {
        Self { lots, links, recipients }
    }
}

/// The ledger of all affected lots, without the units that they were in, in one
/// unit of measure: incoming = consumed + dispatched + wasted + stock +
/// unaccounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MassBalance {
    /// `KGM`, `LTR` or `H87`.
    pub unit: String,
    /// What arrived or was made.
    #[schemars(with = "String")]
    pub incoming: Decimal,
    /// What went into something else.
    #[schemars(with = "String")]
    pub consumed: Decimal,
    /// What went to customers.
    #[schemars(with = "String")]
    pub dispatched: Decimal,
    /// What was thrown away.
    #[schemars(with = "String")]
    pub wasted: Decimal,
    /// What is still there.
    #[schemars(with = "String")]
    pub stock: Decimal,
    /// Incoming less what went and what is there: what a count did not find,
    /// or, negative, what left or was found without having come.
    #[schemars(with = "String")]
    pub unaccounted: Decimal,
}

/// What was found, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RecallSummary")]
pub struct Summary {
    /// Affected lots, the named ones included.
    pub lots: u32,
    /// Lots that the named ones were made of, if asked for.
    pub origins: u32,
    /// Customers and other parties that affected goods went to.
    pub recipients: u32,
    /// Whether affected goods left to nobody who is named.
    pub unnamed_recipient: bool,
    /// Whether the trace ended where its limit is, and not where the goods do.
    pub truncated: bool,
    /// Which bounds were met.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// Queries that the trace took.
    pub queries: u32,
    /// The mass balance of the affected lots, one for each unit.
    pub balance: Vec<MassBalance>,
    /// What of their movements is in none of these sums.
    #[serde(default)]
    pub not_counted: Vec<NotCounted>,
}

/// Finds what is affected by the lots with these keys, by what was taken of them
/// in the `period` if there is one, and with `upstream` what they were made of.
///
/// # Errors
/// 422 when it is more than [`PARTS`]; 503 when the database does not answer.
pub async fn trace(
    tenant: &Tenant,
    lots: &[String],
    period: Option<Period>,
    upstream: bool,
) -> Result<(Finding, Summary), Problem> {
    let (mut forward, mut back) = (Walk::default(), Walk::default());
    forward.within = period.map(|period| (lots.iter().cloned().collect(), period));
    let mut source = tenant;
    forward.go(&mut source, lots, FORWARD, DEPTH).await?;
    if upstream {
        back.go(&mut source, lots, BACK, DEPTH).await?;
    }
    for walk in [&mut forward, &mut back] {
        partner::join(tenant, walk.lines.values_mut().flatten()).await?;
    }
    let mut recipients = recipients(&forward);
    let sent: usize = recipients.iter().map(|one| one.lots.len()).sum();
    let parts = forward.depth.len() + back.depth.len() + sent;
    if parts > PARTS {
        return Err(too_many());
    }
    if lots.iter().any(|lot| !forward.depth.contains_key(lot)) {
        let message = format!(
            "Their ledger has more than {LINES} lines, or names more than {NAMED} other lots: name \
             fewer lots."
        );
        return Err(Problem::invalid("/lots", message));
    }
    let mut found: Vec<FoundLot> = Vec::new();
    for (walk, side) in [(&forward, Side::Affected), (&back, Side::Origin)] {
        for (lot, depth) in &walk.depth {
            if side == Side::Affected || !forward.depth.contains_key(lot) {
                let ledger = walk.lines.get(lot).map_or(&[][..], Vec::as_slice);
                found.push(found_lot(lot, side, *depth, ledger));
            }
        }
    }
    let mut limits = &forward.ledger.limits | &back.ledger.limits;
    let truncated = !limits.is_empty();
    let links = links(&[&forward, &back]).filter(|links| parts + links.len() <= PARTS);
    if links.is_none() {
        limits.insert(Limit::FindingLinks);
    }
    let named = name(tenant, &mut found).await?;
    let located = locate(tenant, &mut found, &forward).await?;
    if !(named && located) {
        limits.insert(Limit::Names);
    }
    let goods = forward.lines.iter().filter(|(lot, _)| !forward.held.contains_key(*lot));
    let not_counted = not_counted(goods.flat_map(|(_, lines)| lines));
    found.sort_by(|a, b| (a.side as u8, a.depth, &a.lot).cmp(&(b.side as u8, b.depth, &b.lot)));
    recipients.sort_by(|a, b| a.recipient.cmp(&b.recipient));
    let count = |side: Side| number(found.iter().filter(|lot| lot.side == side).count());
    let summary = Summary {
        lots: count(Side::Affected),
        origins: count(Side::Origin),
        recipients: number(recipients.iter().filter(|one| one.recipient.is_some()).count()),
        unnamed_recipient: recipients.iter().any(|one| one.recipient.is_none()),
        truncated: truncated || limits.contains(&Limit::Names),
        limits: limits.into_iter().collect(),
        queries: forward.ledger.queries + back.ledger.queries,
        balance: balance(&found, &forward.held.keys().collect()),
        not_counted,
    };
    Ok((Finding { lots: found, links: links.unwrap_or_default(), recipients }, summary))
}

/// That more is affected than a recall holds.
fn too_many() -> Problem {
    let message = format!(
        "More than {PARTS} lots and dispatched lots are affected: name fewer lots, or the period \
         in which what is followed was taken of them, and start a recall for each other period."
    );
    Problem::invalid("/period", message)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn found_lot(lot: &str, side: Side, depth: u32, lines: &[Movement]) -> FoundLot {
    let sum = |fits: fn(Role) -> bool| {
        let mut sum = Amounts::default();
        lines.iter().filter(|line| fits(line.role)).for_each(|line| sum.add(line));
        amounts(&sum)
    };
    // What was counted says what is there, and nothing of where it went.
    let counted = |role: Role| matches!(role, Role::Found | Role::Missing);
    let (mut booked, mut left) = (Amounts::default(), Amounts::default());
    for line in lines {
        left.count(line);
        if !counted(line.role) {
            booked.count(line);
        }
    }
    let there = |amount: Amount| Amount { value: amount.value.max(Decimal::ZERO), ..amount };
    let stock: Vec<Amount> = amounts(&left).into_iter().map(there).collect();
    let booked = amounts(&booked);
    let unaccounted = stock.iter().map(|there| {
        let booked = booked.iter().find(|amount| amount.unit == there.unit);
        let booked = booked.map_or(Decimal::ZERO, |amount| amount.value);
        Amount { value: booked - there.value, unit: there.unit.clone() }
    });
    let unaccounted = unaccounted.collect();
    let suppliers: BTreeSet<String> = lines
        .iter()
        .filter(|line| line.role == Role::Received)
        .filter_map(|line| line.partner.as_deref().map(reference))
        .collect();
    FoundLot {
        lot: lot.to_owned(),
        side,
        depth,
        batch_id: None,
        product: None,
        incoming: sum(|role| matches!(role, Role::Received | Role::Produced)),
        consumed: sum(|role| role == Role::Consumed),
        dispatched: sum(|role| role == Role::Dispatched),
        wasted: sum(|role| role == Role::Wasted),
        stock,
        unaccounted,
        places: Vec::new(),
        suppliers: suppliers.into_iter().collect(),
    }
}

/// The id of one of our partners, or the key of another.
fn reference(partner: &str) -> String {
    partner.strip_prefix("urn:uuid:").unwrap_or(partner).to_owned()
}

/// Who got what of the goods. The units that these were in are no goods: what is
/// in them stands for itself, with the unit beside it.
fn recipients(walk: &Walk) -> Vec<Recipient> {
    type Sent<'l> = (Amounts, Timestamp, BTreeSet<&'l String>);
    let mut all: BTreeMap<Option<String>, BTreeMap<&str, Sent<'_>>> = BTreeMap::new();
    let goods = walk.lines.iter().filter(|(lot, _)| !walk.held.contains_key(*lot));
    let left = |line: &&Movement| line.role == Role::Dispatched && walk.follows(line);
    for line in goods.flat_map(|(_, lines)| lines).filter(left) {
        let lots = all.entry(line.partner.as_deref().map(reference)).or_default();
        let (sum, last, within) =
            lots.entry(&line.lot).or_insert((Amounts::default(), line.at, BTreeSet::new()));
        sum.add(line);
        *last = line.at.max(*last);
        within.extend(&line.within);
    }
    let sent = |(lot, (sum, last_at, within)): (&str, Sent<'_>)| SentLot {
        lot: lot.to_owned(),
        dispatched: amounts(&sum),
        last_at,
        within: within.into_iter().cloned().collect(),
    };
    all.into_iter()
        .map(|(recipient, lots)| Recipient {
            recipient,
            lots: lots.into_iter().map(sent).collect(),
        })
        .collect()
}

/// The links of the walks; `None` when they are more than a finding holds.
fn links(walks: &[&Walk]) -> Option<Vec<FoundLink>> {
    let mut all = BTreeMap::new();
    for walk in walks {
        all.extend(walk.edges(PARTS)?);
    }
    let link = |((from, to, event_id, unit), quantity)| FoundLink {
        from,
        to,
        quantity,
        unit: Some(unit),
        event_id,
    };
    Some(all.into_iter().map(link).collect())
}

/// The balance of the goods among these lots, `units` being what others were in.
fn balance(lots: &[FoundLot], units: &BTreeSet<&String>) -> Vec<MassBalance> {
    type Member = fn(&mut MassBalance) -> &mut Decimal;
    let mut balance: BTreeMap<String, MassBalance> = BTreeMap::new();
    // A pallet is no goods: what is on it stands for itself.
    let goods = |lot: &&FoundLot| lot.side == Side::Affected && !units.contains(&lot.lot);
    for lot in lots.iter().filter(goods) {
        let parts: [(&[Amount], Member); 6] = [
            (&lot.incoming, |sums| &mut sums.incoming),
            (&lot.consumed, |sums| &mut sums.consumed),
            (&lot.dispatched, |sums| &mut sums.dispatched),
            (&lot.wasted, |sums| &mut sums.wasted),
            (&lot.stock, |sums| &mut sums.stock),
            (&lot.unaccounted, |sums| &mut sums.unaccounted),
        ];
        for (amounts, member) in parts {
            for amount in amounts {
                let sums = balance.entry(amount.unit.clone()).or_insert_with(|| MassBalance {
                    unit: amount.unit.clone(),
                    incoming: Decimal::ZERO,
                    consumed: Decimal::ZERO,
                    dispatched: Decimal::ZERO,
                    wasted: Decimal::ZERO,
                    stock: Decimal::ZERO,
                    unaccounted: Decimal::ZERO,
                });
                let sum = member(sums);
                *sum = (*sum + amount.value).normalize();
            }
        }
    }
    balance.into_values().collect()
}

#[derive(Deserialize)]
struct BatchPart {
    lot_number: String,
    product_id: Id,
}

impl Part for BatchPart {
    type Of = Batch;
    const FIELDS: &'static [&'static str] = &["lot_number", "product_id"];
}

#[derive(Deserialize)]
struct ProductPart {
    gtin: String,
    name: String,
}

impl Part for ProductPart {
    type Of = Product;
    const FIELDS: &'static [&'static str] = &["gtin", "name"];
}

#[derive(Deserialize)]
struct EventPart {
    keys: Vec<String>,
}

impl Part for EventPart {
    type Of = StoredEvent;
    const FIELDS: &'static [&'static str] = &["keys"];
}

/// Adds batch and product to lots that are ours; whether to all of them.
async fn name(tenant: &Tenant, lots: &mut [FoundLot]) -> Result<bool, Problem> {
    let number = |lot: &FoundLot| lot.lot.split_once("/10/").map(|(_, number)| number.to_owned());
    let numbers = lots.iter().filter_map(number).collect();
    let (batches, whole) = parts_among::<BatchPart>(tenant, "lot_number", numbers).await?;
    let products = batches.iter().map(|(_, batch)| batch.product_id.to_string()).collect();
    let (products, _) = parts_among::<ProductPart>(tenant, "_id", products).await?;
    let products: BTreeMap<Id, ProductPart> = products.into_iter().collect();
    let mut known = BTreeMap::new();
    for (id, batch) in batches {
        if let Some(product) = products.get(&batch.product_id) {
            known.insert(lot_key(&product.gtin, &batch.lot_number), (id, &product.name));
        }
    }
    for lot in lots {
        if let Some((id, name)) = known.get(&lot.lot) {
            lot.batch_id = Some(*id);
            lot.product = Some((*name).clone());
        }
    }
    Ok(whole)
}

/// Adds to lots that are still there where they arrived or were made; whether to
/// all of them.
async fn locate(tenant: &Tenant, lots: &mut [FoundLot], walk: &Walk) -> Result<bool, Problem> {
    let is_there = |lot: &FoundLot| lot.stock.iter().any(|amount| amount.value > Decimal::ZERO);
    let came = |lot: &FoundLot| -> Vec<String> {
        let lines = walk.lines.get(&lot.lot).into_iter().flatten();
        lines.filter(|line| line.role.sign() > 0).map(|line| line.event_id.to_string()).collect()
    };
    let events = lots.iter().filter(|lot| is_there(lot)).flat_map(came).collect();
    let (events, whole) = parts_among::<EventPart>(tenant, "_id", events).await?;
    let places: BTreeMap<String, String> = events
        .into_iter()
        .filter_map(|(id, event)| {
            let gln = event.keys.iter().find_map(|key| key.strip_prefix("place:414/"))?;
            Some((id.to_string(), gln.to_owned()))
        })
        .collect();
    for lot in lots.iter_mut().filter(|lot| is_there(lot)) {
        let known: BTreeSet<&String> =
            came(lot).iter().filter_map(|event| places.get(event)).collect();
        lot.places = known.into_iter().cloned().collect();
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::epcis::document::read_bare;
    use crate::epcis::json::Json;
    use crate::ledger::tests::recorded;
    use crate::movement::of_event;
    use crate::recall::closing::Effectiveness;

    fn line(role: Role, quantity: &str, unit: &str, partner: Option<&str>) -> Movement {
        Movement {
            quantity: Some(quantity.parse().unwrap()),
            unit: unit.into(),
            partner: partner.map(Into::into),
            ..Movement::new(Id::from_u128(1), "01/00614141777778/10/A", role, Timestamp::UNIX_EPOCH)
        }
    }

    fn amount(value: &str, unit: &str) -> Amount {
        Amount { value: value.parse().unwrap(), unit: unit.into() }
    }

    #[test]
    fn the_ledger_of_a_lot_adds_up_in_each_unit() {
        let lines = [
            line(Role::Produced, "100.25", "KGM", None),
            line(Role::Dispatched, "99995", "GRM", Some("urn:uuid:x")),
            line(Role::Wasted, "0.25", "KGM", None),
            line(Role::Dispatched, "3", "H87", None),
        ];
        let found = found_lot("A", Side::Affected, 0, &lines);
        assert_eq!(found.stock, [amount("0.005", "KGM"), amount("0", "H87")]);
        assert_eq!(found.unaccounted, [amount("0", "KGM"), amount("-3", "H87")]);
        for sums in balance(std::slice::from_ref(&found), &BTreeSet::new()) {
            let out = sums.consumed + sums.dispatched + sums.wasted + sums.stock + sums.unaccounted;
            assert_eq!(sums.incoming, out, "{sums:?}");
        }
        // What holds others is no goods.
        assert_eq!(balance(&[found], &BTreeSet::from([&"A".to_owned()])), []);
    }

    const LOT: &str = "01/04012345666663/10/A";
    const ITEM: &str = "urn:epc:id:sgtin:4012345.066666.7";
    const PALLET: &str = "urn:epc:id:sscc:0614141.1234567890";
    const CRATE: &str = "urn:epc:id:grai:0614141.12345.400";
    const CONTAINER: &str = "urn:epc:id:grai:0614141.54321.1";

    /// What happens at this hour, with what every event has.
    fn event(hour: u8, more: serde_json::Value) -> serde_json::Value {
        let mut event = serde_json::json!({
            "type": "ObjectEvent", "action": "OBSERVE", "eventTimeZoneOffset": "+00:00",
            "eventTime": format!("2026-03-01T{hour:02}:00:00Z"),
        });
        let serde_json::Value::Object(more) = more else { panic!("an object") };
        event.as_object_mut().unwrap().extend(more);
        event
    }

    fn commissioned(hour: u8, item: &str, lot: &str) -> serde_json::Value {
        let ilmd = serde_json::json!({ "cbvmda:lotNumber": lot });
        event(
            hour,
            serde_json::json!({
                "action": "ADD", "bizStep": "commissioning", "epcList": [item], "ilmd": ilmd,
            }),
        )
    }

    fn shipped(hour: u8, thing: &str, to: &str) -> serde_json::Value {
        let to = serde_json::json!([{ "type": "possessing_party", "destination": to }]);
        event(
            hour,
            serde_json::json!({
                "bizStep": "shipping", "epcList": [thing], "destinationList": to,
            }),
        )
    }

    fn packed(hour: u8, action: &str, thing: &str, holder: &str) -> serde_json::Value {
        event(
            hour,
            serde_json::json!({
                "type": "AggregationEvent", "action": action, "parentID": holder, "childEPCs": [thing],
            }),
        )
    }

    /// The walk forward from the lot by what these events say.
    fn walk(events: &[serde_json::Value], within: Option<Period>) -> Walk {
        let mut lines = Vec::new();
        for (event, id) in events.iter().zip(1..) {
            let (event, errors) = read_bare(&Json::read(&event.to_string()).unwrap());
            assert_eq!(errors.0, vec![]);
            lines.extend(of_event(&event.unwrap(), Id::from_u128(id)));
        }
        let within = within.map(|period| (BTreeSet::from([LOT.to_owned()]), period));
        let mut walk = Walk { within, ..Walk::default() };
        let (mut kept, start) = (recorded(lines), [LOT.to_owned()]);
        walk.go(&mut kept, &start, FORWARD, DEPTH).now_or_never().unwrap().unwrap();
        walk
    }

    /// Who got how many pieces of which lot, in what.
    fn got(walk: &Walk) -> Vec<(String, String, String, Vec<String>)> {
        let of = |one: Recipient| {
            let name = one.recipient.unwrap_or_default();
            one.lots.into_iter().map(move |sent| {
                let amount = sent.dispatched.first().map_or("?".into(), Amount::words);
                (name.clone(), sent.lot, amount, sent.within)
            })
        };
        recipients(walk).into_iter().flat_map(of).collect()
    }

    fn pieces(to: &str, number: &str, within: &[&str]) -> (String, String, String, Vec<String>) {
        let within = within.iter().map(|unit| (*unit).to_owned()).collect();
        (to.to_owned(), LOT.to_owned(), format!("{number} H87"), within)
    }

    #[test]
    fn an_item_that_was_commissioned_with_its_lot_is_recalled_by_its_serial() {
        let events = [shipped(3, ITEM, "urn:x:shop"), commissioned(1, ITEM, "A")];
        assert_eq!(got(&walk(&events, None)), [pieces("urn:x:shop", "1", &[])]);
        let events = [
            commissioned(1, ITEM, "A"),
            packed(2, "ADD", ITEM, PALLET),
            shipped(3, PALLET, "urn:x:shop"),
        ];
        let found = walk(&events, None);
        assert_eq!(got(&found), [pieces("urn:x:shop", "1", &["00/106141412345678908"])]);
        let lot = found_lot(LOT, Side::Affected, 0, &found.lines[LOT]);
        assert_eq!(lot.stock, [amount("0", "H87")]);
        // That of another lot is not recalled with it.
        let events = [commissioned(1, ITEM, "B"), shipped(3, ITEM, "urn:x:shop")];
        assert_eq!(got(&walk(&events, None)), []);
    }

    #[test]
    fn a_crate_names_those_only_whom_it_took_the_goods_to() {
        let other = "urn:epc:id:sgtin:4012345.066666.8";
        let crate_key = "8003/00614141123452400";
        let journeys = |emptied: bool| {
            let mut events = vec![
                commissioned(1, ITEM, "A"),
                commissioned(1, other, "B"),
                shipped(2, CRATE, "urn:x:before"),
                packed(3, "ADD", ITEM, CRATE),
                packed(4, "ADD", CRATE, CONTAINER),
                shipped(5, CONTAINER, "urn:x:shop"),
                packed(6, "DELETE", CRATE, CONTAINER),
                packed(8, "ADD", other, CRATE),
                packed(9, "ADD", CRATE, PALLET),
                shipped(10, PALLET, "urn:x:other"),
                shipped(11, CONTAINER, "urn:x:elsewhere"),
            ];
            if emptied {
                events.push(packed(7, "DELETE", ITEM, CRATE));
            } else {
                let ours = serde_json::json!({ "id": "https://id.gs1.org/414/4000001000050" });
                events[7]["readPoint"] = ours;
            }
            events
        };
        // Somebody says that it was emptied, or it is filled again where we are.
        for emptied in [true, false] {
            let found = walk(&journeys(emptied), None);
            assert_eq!(got(&found), [pieces("urn:x:shop", "1", &[crate_key])], "{emptied}");
            let held: Vec<&str> = found.held.keys().map(String::as_str).collect();
            assert_eq!(held, [crate_key, "8003/006141415432121"], "{emptied}");
            assert!(!found.depth.contains_key("00/106141412345678908"), "{emptied}");
        }
    }

    #[test]
    fn a_pallet_is_not_counted_beside_the_cases_on_it() {
        let case = |serial: u8| format!("urn:epc:id:sgtin:4012345.066666.{serial}");
        let mut events = Vec::new();
        for serial in [1, 2] {
            events.push(commissioned(1, &case(serial), "A"));
            events.push(packed(2, "ADD", &case(serial), PALLET));
        }
        events.push(shipped(3, PALLET, "urn:x:shop"));
        let recipients = recipients(&walk(&events, None));
        let finding = Finding { recipients, ..Finding::default() };
        let goods = Effectiveness::new(&finding, &[]).goods;
        assert_eq!((goods.len(), goods[0].dispatched), (1, Decimal::TWO));
    }

    #[test]
    fn recalls_for_all_periods_find_what_one_would() {
        let other = "urn:epc:id:sgtin:4012345.066666.8";
        let events = [
            commissioned(1, ITEM, "A"),
            commissioned(1, other, "A"),
            shipped(3, ITEM, "urn:x:early"),
            packed(4, "ADD", other, PALLET),
            shipped(5, PALLET, "urn:x:late"),
        ];
        let hour = |hour: u8| format!("2026-03-01T{hour:02}:00:00Z").parse().unwrap();
        let during = |from, until| {
            let found = got(&walk(&events, Some(Period { from: hour(from), until: hour(until) })));
            found.into_iter().map(|(to, ..)| to).collect::<Vec<_>>()
        };
        assert_eq!(during(0, 5), ["urn:x:early"]);
        assert_eq!(during(5, 6), ["urn:x:late"]);
        assert_eq!(during(0, 6), ["urn:x:early", "urn:x:late"]);
        // What was made of it is followed to its end, whenever that is.
        let class = |lot: &str| {
            let class = format!("https://id.gs1.org/01/04012345666663/10/{lot}");
            serde_json::json!([{ "epcClass": class, "quantity": 1, "uom": "KGM" }])
        };
        let made = event(
            2,
            serde_json::json!({
                "inputQuantityList": class("A"), "outputQuantityList": class("C"),
            }),
        );
        let mut made = made;
        made["type"] = "TransformationEvent".into();
        made.as_object_mut().unwrap().remove("action");
        let mut left = shipped(9, ITEM, "urn:x:buyer");
        left["quantityList"] = class("C");
        left.as_object_mut().unwrap().remove("epcList");
        let period = Period { from: hour(1), until: hour(3) };
        let found = got(&walk(&[made, left], Some(period)));
        assert_eq!((found.len(), found[0].0.as_str()), (1, "urn:x:buyer"));
    }

    #[test]
    fn more_than_a_recall_holds_is_refused_with_what_narrows_it() {
        let Problem::Invalid(errors) = too_many() else { panic!("a wrong field") };
        assert_eq!(errors[0].field, "/period");
        assert!(errors[0].message.contains("start a recall for each other period"));
    }

    #[test]
    fn what_somebody_got_is_added_up_and_nobody_is_somebody_too() {
        let mut walk = Walk::default();
        let customer = "0197c1f0-0000-7000-8000-000000000001";
        let urn = format!("urn:uuid:{customer}");
        walk.lines.insert(
            "01/00614141777778/10/A".into(),
            vec![
                line(Role::Dispatched, "0.1", "KGM", Some(&urn)),
                line(Role::Dispatched, "200", "GRM", Some(&urn)),
                line(Role::Dispatched, "1", "KGM", None),
            ],
        );
        let found = recipients(&walk);
        let said: Vec<_> = found
            .iter()
            .map(|one| (one.recipient.as_deref(), &one.lots[0].dispatched[0]))
            .collect();
        let (kilo, part) = (amount("1", "KGM"), amount("0.3", "KGM"));
        assert_eq!(said, [(None, &kilo), (Some(customer), &part)]);
        assert_eq!(found[1].customer(), customer.parse().ok());
    }
}
