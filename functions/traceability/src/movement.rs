//! What events say of lots: the ledger from which stock, trace and mass
//! balance are read. docs/adr/0019 has the reasons.

use std::collections::BTreeMap;

use jiff::Timestamp;
use keystone::Problem;
use keystone::tenant::{Entity, Filter, Id, Part, WriteTx, schema, stored_time};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::epcis::event::{Action, Event, Party, QuantityElement, What};
use crate::epcis::quantity::{Dimension, to_base};

/// What became of a lot in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Role {
    /// Whether there is more of the lot afterwards.
    pub const fn adds(self) -> bool {
        matches!(self, Self::Received | Self::Produced)
    }
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Movement {
    /// The event that says so.
    pub event_id: Id,
    /// Key of the lot; see [`crate::epcis::epc::key`].
    pub lot: String,
    /// What became of it.
    pub role: Role,
    /// How much; unknown if absent.
    pub quantity: Option<Decimal>,
    /// Unit, UN/ECE Recommendation 20.
    pub unit: String,
    /// Whom it came from or went to: `urn:uuid:` and the id of a supplier or
    /// customer, or the key of a party.
    pub partner: Option<String>,
    /// When.
    #[serde(with = "stored_time")]
    pub at: Timestamp,
    /// The lots on the other side, where one became another.
    pub others: Vec<String>,
}

impl Entity for Movement {
    const COLLECTION: &'static schema::Collection = &schema::LOT_MOVEMENTS;
    const RESOURCE: &'static str = "lot_movement";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Part for Movement {
    type Of = Self;
    const FIELDS: &'static [&'static str] =
        &["event_id", "lot", "role", "quantity", "unit", "partner", "at", "others"];
}

/// The unit of an amount that names none (EPCIS 2.0 §7.3.3.3).
const PIECES: &str = "H87";

/// What an event says of lots. An error declaration says nothing of them.
pub fn of_event(event: &Event, event_id: Id) -> Vec<Movement> {
    if event.error.is_some() {
        return Vec::new();
    }
    let line =
        |element: &QuantityElement, role, partner: Option<&String>, others: &[String]| Movement {
            event_id,
            lot: element.class.clone(),
            role,
            quantity: element.quantity,
            unit: element.unit.clone().unwrap_or_else(|| PIECES.into()),
            partner: partner.cloned(),
            at: event.time,
            others: others.to_vec(),
        };
    match &event.what {
        What::Object { quantities, .. } => {
            let step = event.biz_step.as_deref().unwrap_or_default();
            let (role, partner) = match (step, event.action) {
                ("receiving" | "accepting", _) => (Role::Received, partner(&event.sources)),
                ("shipping", _) => (Role::Dispatched, partner(&event.destinations)),
                ("commissioning" | "creating_class_instance", Some(Action::Add)) => {
                    (Role::Produced, None)
                }
                ("destroying" | "decommissioning", _) => (Role::Wasted, None),
                _ => return Vec::new(),
            };
            quantities.iter().map(|element| line(element, role, partner, &[])).collect()
        }
        What::Transformation { inputs, input_quantities, outputs, output_quantities, .. } => {
            let whole = |keys: &[String]| -> Vec<QuantityElement> {
                let element = |key: &String| QuantityElement {
                    class: key.clone(),
                    quantity: Some(Decimal::ONE),
                    unit: None,
                };
                keys.iter().map(element).collect()
            };
            let consumed = [input_quantities.clone(), whole(inputs)].concat();
            let produced = [output_quantities.clone(), whole(outputs)].concat();
            let keys = |side: &[QuantityElement]| -> Vec<String> {
                side.iter().map(|element| element.class.clone()).collect()
            };
            let (before, after) = (keys(&consumed), keys(&produced));
            let consumed = consumed.iter().map(|one| line(one, Role::Consumed, None, &after));
            let produced = produced.iter().map(|one| line(one, Role::Produced, None, &before));
            consumed.chain(produced).collect()
        }
        What::Containment { .. } | What::Transaction { .. } => Vec::new(),
    }
}

/// Who has or owns the goods at the other end.
fn partner(parties: &[Party]) -> Option<&String> {
    ["possessing_party", "owning_party", "location"]
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

/// Most lines of one lot that are added up.
const LINES: i64 = 100_000;

/// What is left of a lot, as a transaction sees it.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn stock(tx: &mut WriteTx<'_>, lot: &str) -> Result<Amounts, Problem> {
    let lines = tx.parts::<Movement>(Filter::all().eq("lot", lot), LINES).await?;
    let mut stock = Amounts::default();
    for (_, line) in lines {
        if line.role.adds() { stock.add(&line) } else { stock.take(&line) }
    }
    Ok(stock)
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
            ("shipping", "OBSERVE", Some(Role::Dispatched)),
            ("commissioning", "ADD", Some(Role::Produced)),
            ("destroying", "DELETE", Some(Role::Wasted)),
            ("inspecting", "OBSERVE", None),
        ] {
            let found = lines(&serde_json::json!({
                "type": "ObjectEvent", "action": action, "bizStep": step,
                "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
                "quantityList": [{ "epcClass": MILK, "quantity": 10, "uom": "LTR" }],
                "sourceList": [{ "type": "owning_party", "source": "urn:epc:id:pgln:4000001.00005" }],
            }));
            assert_eq!(found.first().map(|line| line.role), role, "{step}");
            let from = (role == Some(Role::Received)).then(|| "417/4000001000050".to_owned());
            assert_eq!(found.first().and_then(|line| line.partner.clone()), from, "{step}");
        }
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
