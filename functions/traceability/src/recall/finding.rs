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
use crate::contents::holders;
use crate::epcis::epc::lot_key;
use crate::event::StoredEvent;
use crate::ledger::{LINES, Limit};
use crate::movement::{Amounts, Movement, Role};
use crate::partner;
use crate::parts::parts_among;
use crate::product::Product;
use crate::trace::{BACK, DEPTH, FORWARD, Walk};

/// Most lots, links and dispatched lots that a finding holds, so that it fits
/// a document of the database and an answer of a function.
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

/// A lot that somebody got.
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
    /// Which bounds it met, if it is truncated.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// Queries that the trace took.
    pub queries: u32,
    /// The mass balance of the affected lots, one for each unit.
    pub balance: Vec<MassBalance>,
}

/// Finds what is affected by the lots with these keys, and with `upstream`
/// what they were made of.
///
/// # Errors
/// 422 when it is more than [`PARTS`]; 503 when the database does not answer.
pub async fn trace(
    tenant: &Tenant,
    lots: &[String],
    upstream: bool,
) -> Result<(Finding, Summary), Problem> {
    let (mut forward, mut back) = (Walk::default(), Walk::default());
    forward.go(tenant, lots, FORWARD, DEPTH).await?;
    if upstream {
        back.go(tenant, lots, BACK, DEPTH).await?;
    }
    for walk in [&mut forward, &mut back] {
        partner::join(tenant, walk.lines.values_mut().flatten()).await?;
    }
    let mut recipients = recipients(&forward);
    let sent: usize = recipients.iter().map(|one| one.lots.len()).sum();
    let links = links(&[&forward, &back])
        .filter(|links| forward.depth.len() + back.depth.len() + links.len() + sent <= PARTS);
    let links = links.ok_or_else(|| {
        let message = format!("More than {PARTS} lots, links and dispatched lots are affected.");
        Problem::invalid("/lots", message)
    })?;
    if lots.iter().any(|lot| !forward.depth.contains_key(lot)) {
        let message = format!("Their ledger has more than {LINES} lines: name fewer lots.");
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
    let named = name(tenant, &mut found).await?;
    let located = locate(tenant, &mut found, &forward).await?;
    if !(named && located) {
        limits.insert(Limit::Names);
    }
    found.sort_by(|a, b| (a.side as u8, a.depth, &a.lot).cmp(&(b.side as u8, b.depth, &b.lot)));
    recipients.sort_by(|a, b| a.recipient.cmp(&b.recipient));
    let count = |side: Side| number(found.iter().filter(|lot| lot.side == side).count());
    let summary = Summary {
        lots: count(Side::Affected),
        origins: count(Side::Origin),
        recipients: number(recipients.iter().filter(|one| one.recipient.is_some()).count()),
        unnamed_recipient: recipients.iter().any(|one| one.recipient.is_none()),
        truncated: !limits.is_empty(),
        limits: limits.into_iter().collect(),
        queries: forward.ledger.queries + back.ledger.queries,
        balance: balance(
            &found,
            &forward.lines.values().flat_map(|lines| holders(lines)).collect(),
        ),
    };
    Ok((Finding { lots: found, links, recipients }, summary))
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

fn recipients(walk: &Walk) -> Vec<Recipient> {
    let mut all: BTreeMap<Option<String>, BTreeMap<&str, (Amounts, Timestamp)>> = BTreeMap::new();
    for line in walk.lines.values().flatten().filter(|line| line.role == Role::Dispatched) {
        let lots = all.entry(line.partner.as_deref().map(reference)).or_default();
        let (sum, last) = lots.entry(&line.lot).or_insert((Amounts::default(), line.at));
        sum.add(line);
        *last = line.at.max(*last);
    }
    let sent = |(lot, (sum, last_at)): (&str, (Amounts, Timestamp))| SentLot {
        lot: lot.to_owned(),
        dispatched: amounts(&sum),
        last_at,
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
    let link = |((from, to, event_id), (quantity, unit))| FoundLink {
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
    use super::*;

    fn line(role: Role, quantity: &str, unit: &str, partner: Option<&str>) -> Movement {
        Movement {
            event_id: Id::from_u128(1),
            lot: "01/00614141777778/10/A".into(),
            role,
            quantity: Some(quantity.parse().unwrap()),
            unit: unit.into(),
            partner: partner.map(Into::into),
            at: Timestamp::UNIX_EPOCH,
            others: Vec::new(),
            transformation: None,
            withdrawn_by: None,
            within: None,
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
