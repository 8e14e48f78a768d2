//! What went into production against what came out of it: the mass balance of
//! the transformations that a lot came out of, or went into.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::epcis::quantity::{Dimension, to_base};
use crate::ledger::Limit;
use crate::movement::{Movement, Role};

/// The mass balance around a lot: input = output + unaccounted, over all inputs
/// and outputs of the transformations, other lots among them.
#[derive(Default, Serialize, JsonSchema)]
pub struct Production {
    /// Of the transformations that it came out of; absent where they are more
    /// than can be read.
    pub made: Option<Yield>,
    /// Of those that it went into; absent where they are more than can be read.
    pub used: Option<Yield>,
    /// Which bounds were met, if one of them is absent.
    pub limits: Vec<Limit>,
}

/// What went in and what came out of some transformations.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Yield {
    /// How many transformations.
    transformations: usize,
    /// What can be compared, by unit. Amounts are converted within mass, volume
    /// and pieces, and compared where a transformation has both sides in one of
    /// them.
    compared: Vec<Compared>,
    /// What cannot, and is in no number of `compared`.
    not_compared: Vec<NotCompared>,
}

/// Input against output in one unit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Compared {
    /// `KGM`, `LTR` or `H87`.
    unit: &'static str,
    /// What went in.
    #[schemars(with = "String")]
    input: Decimal,
    /// What came out.
    #[schemars(with = "String")]
    output: Decimal,
    /// Input less output: what was lost on the way or became waste there; or,
    /// negative, what came out without having gone in, such as water.
    #[schemars(with = "String")]
    unaccounted: Decimal,
    /// `unaccounted` as a share of the input, in percent to two decimals; absent
    /// where nothing went in.
    #[schemars(with = "Option<String>")]
    unaccounted_percent: Option<Decimal>,
}

/// Why an amount is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "NotComparedReason")]
enum Reason {
    /// The event gives none.
    NoAmount,
    /// The unit is none of mass, volume or pieces that is known here.
    UnknownUnit,
    /// The other side of the transformation has none in this dimension: litres of
    /// milk are no kilograms of cheese.
    OtherDimension,
}

/// Amounts that cannot be compared, for one reason.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NotCompared {
    /// `input` or `output`.
    side: &'static str,
    /// Why.
    reason: Reason,
    /// The unit, as it was entered.
    unit: String,
    /// How much, in that unit; absent where the events give no amount.
    #[schemars(with = "Option<String>")]
    quantity: Option<Decimal>,
    /// Of how many lots.
    lots: usize,
}

/// Amounts that cannot be compared, by side, reason and unit.
type Rest<'l> = BTreeMap<(&'static str, Reason, &'l str), Left<'l>>;
/// How much, as far as that is known, and of which lots.
type Left<'l> = (Option<Decimal>, BTreeSet<&'l str>);

impl Yield {
    /// Of transformations with these lines each.
    pub fn of(transformations: &[Vec<Movement>]) -> Self {
        let mut sums: BTreeMap<Dimension, (Decimal, Decimal)> = BTreeMap::new();
        let mut rest = Rest::new();
        for lines in transformations {
            add(lines, &mut sums, &mut rest);
        }
        Self {
            transformations: transformations.len(),
            compared: sums.into_iter().map(compared).collect(),
            not_compared: rest.into_iter().map(not_compared).collect(),
        }
    }
}

fn not_compared(
    ((side, reason, unit), (quantity, lots)): ((&'static str, Reason, &str), Left<'_>),
) -> NotCompared {
    NotCompared {
        side,
        reason,
        unit: unit.to_owned(),
        quantity: quantity.map(|quantity| quantity.normalize()),
        lots: lots.len(),
    }
}

/// Adds the two sides of one transformation to what is compared, and to the rest
/// what is not.
fn add<'l>(
    lines: &'l [Movement],
    sums: &mut BTreeMap<Dimension, (Decimal, Decimal)>,
    rest: &mut Rest<'l>,
) {
    let base = |line: &Movement| line.quantity.and_then(|amount| to_base(amount, &line.unit));
    let on = |role: Role| -> BTreeSet<Dimension> {
        let side = lines.iter().filter(|line| line.role == role);
        side.filter_map(base).map(|(dimension, _)| dimension).collect()
    };
    let both = &on(Role::Consumed) & &on(Role::Produced);
    for line in lines {
        let side = match line.role {
            Role::Consumed => "input",
            Role::Produced => "output",
            _ => continue,
        };
        let reason = match base(line) {
            Some((dimension, amount)) if both.contains(&dimension) => {
                let (input, output) = sums.entry(dimension).or_default();
                *(if line.role == Role::Consumed { input } else { output }) += amount;
                continue;
            }
            Some(_) => Reason::OtherDimension,
            None if line.quantity.is_some() => Reason::UnknownUnit,
            None => Reason::NoAmount,
        };
        let (sum, lots) = rest.entry((side, reason, &line.unit)).or_default();
        if let Some(quantity) = line.quantity {
            *sum = Some(sum.unwrap_or_default() + quantity);
        }
        lots.insert(&line.lot);
    }
}

fn compared((dimension, (input, output)): (Dimension, (Decimal, Decimal))) -> Compared {
    let unaccounted = input - output;
    let share = unaccounted.checked_mul(Decimal::ONE_HUNDRED);
    let share = share.and_then(|all| all.checked_div(input)).filter(|_| input > Decimal::ZERO);
    Compared {
        unit: dimension.unit(),
        input: input.normalize(),
        output: output.normalize(),
        unaccounted: unaccounted.normalize(),
        unaccounted_percent: share.map(|share| share.round_dp(2).normalize()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::tests::line;

    fn flow(lot: &str, role: Role, quantity: &str, unit: &str) -> Movement {
        Movement { quantity: quantity.parse().ok(), unit: unit.into(), ..line(1, lot, role) }
    }

    #[test]
    fn kilograms_in_are_kilograms_out_and_what_is_unaccounted_for() {
        use Role::{Consumed, Produced};
        let first = vec![
            flow("flour", Consumed, "1.25", "TNE"),
            flow("salt", Consumed, "20000.5", "GRM"),
            flow("water", Consumed, "700", "LTR"),
            flow("yeast", Consumed, "3", "CT"),
            flow("love", Consumed, "", "KGM"),
            flow("bread", Produced, "1200.1", "KGM"),
            flow("boxes", Produced, "12", "H87"),
        ];
        let second = vec![flow("rye", Consumed, "10", "KGM"), flow("bread", Produced, "10", "KGM")];
        let shown = serde_json::to_value(Yield::of(&[first, second])).unwrap();
        let expected = json!({
            "transformations": 2,
            "compared": [{
                "unit": "KGM", "input": "1280.0005", "output": "1210.1",
                "unaccounted": "69.9005", "unaccounted_percent": "5.46",
            }],
            "not_compared": [
                { "side": "input", "reason": "no_amount", "unit": "KGM", "quantity": null, "lots": 1 },
                { "side": "input", "reason": "unknown_unit", "unit": "CT", "quantity": "3", "lots": 1 },
                { "side": "input", "reason": "other_dimension", "unit": "LTR", "quantity": "700", "lots": 1 },
                { "side": "output", "reason": "other_dimension", "unit": "H87", "quantity": "12", "lots": 1 },
            ],
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn litres_of_milk_are_no_kilograms_of_cheese() {
        let vat = vec![
            flow("milk", Role::Consumed, "100", "LTR"),
            flow("cheese", Role::Produced, "10", "KGM"),
        ];
        let of = Yield::of(&[vat]);
        assert!(of.compared.is_empty());
        assert_eq!(of.not_compared.len(), 2);
        assert!(Yield::of(&[]).not_compared.is_empty());
    }
}
