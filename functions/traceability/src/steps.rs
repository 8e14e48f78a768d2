//! What several steps say of the same goods, counted once: who receives goods
//! also accepts them, what is shipped also departs, and a shipment may be taken
//! back (CBV 2.0 §7.1). docs/adr/0036 has the reasons.

use rust_decimal::Decimal;

use crate::movement::{Movement, Role};

/// A line that counts, with how much of it the other step has not told yet.
struct Told {
    line: Movement,
    step: Role,
    unit: String,
    open: Decimal,
}

impl Told {
    /// Whether another line may speak of the same goods. What arrives comes from
    /// one side, whatever it is called; what leaves may go to several.
    fn may_be(&self, kind: Role, unit: &str, partner: Option<&String>) -> bool {
        let known = self.line.partner.as_ref();
        let same = kind == Role::Received || known.is_none() || partner.is_none();
        self.unit == unit && (same || known == partner)
    }
}

/// The lines of one lot, each of them an arrival, a dispatch or something else,
/// and none twice.
pub fn settled(mut lines: Vec<Movement>) -> Vec<Movement> {
    let second =
        |line: &Movement| matches!(line.role, Role::Accepted | Role::Departed | Role::Unshipped);
    if !lines.iter().any(second) {
        return lines;
    }
    // What is taken back at the moment at which it was said comes after it.
    lines.sort_by_key(|line| (line.at, line.role == Role::Unshipped, line.event_id));
    let mut told: Vec<Told> = Vec::with_capacity(lines.len());
    for line in lines {
        match line.role {
            Role::Received => tell(&mut told, line, Role::Received, Role::Accepted),
            Role::Accepted => tell(&mut told, line, Role::Received, Role::Received),
            Role::Dispatched => tell(&mut told, line, Role::Dispatched, Role::Departed),
            Role::Departed => tell(&mut told, line, Role::Dispatched, Role::Dispatched),
            Role::Unshipped => take_back(&mut told, &line),
            step => {
                let (unit, _) = line.amount();
                told.push(Told { line, step, unit, open: Decimal::ZERO });
            }
        }
    }
    told.into_iter().map(|one| one.line).collect()
}

/// Adds what a line of `kind` says beyond what the step `twin` told of the same
/// goods. A partner whom that did not name stays named.
fn tell(told: &mut Vec<Told>, line: Movement, kind: Role, twin: Role) {
    let (unit, amount) = line.amount();
    let (mut left, mut named, mut known) = (amount, false, false);
    for one in told.iter_mut() {
        let open = one.step == twin && one.open > Decimal::ZERO;
        if !open || !one.may_be(kind, &unit, line.partner.as_ref()) {
            continue;
        }
        let same = left.unwrap_or(one.open).min(one.open);
        one.open -= same;
        (known, named) = (true, named || one.line.partner == line.partner);
        left = Some(left.unwrap_or(same) - same);
        if left == Some(Decimal::ZERO) {
            break;
        }
    }
    let step = line.role;
    let open = left.unwrap_or_default();
    if !known {
        told.push(Told { line: Movement { role: kind, ..line }, step, unit, open });
    } else if open > Decimal::ZERO || line.partner.is_some() && !named {
        let line = Movement { role: kind, quantity: left, unit: unit.clone(), ..line };
        told.push(Told { line, step, unit, open });
    }
}

/// Takes back what was dispatched, the last of it first. Where it is not said how
/// much, it is not known what of the last dispatch has left.
fn take_back(told: &mut Vec<Told>, line: &Movement) {
    let (unit, mut left) = line.amount();
    for one in told.iter_mut().rev() {
        let has_left = one.line.role == Role::Dispatched;
        if !has_left || !one.may_be(Role::Dispatched, &unit, line.partner.as_ref()) {
            continue;
        }
        let Some(taken) = left else {
            one.line.quantity = None;
            break;
        };
        let Some(sent) = one.line.amount().1 else { continue };
        let same = taken.min(sent);
        one.line.quantity = Some((sent - same).normalize());
        one.line.unit.clone_from(&unit);
        one.open = one.open.min(sent - same);
        left = Some(taken - same);
        if sent == same {
            one.step = Role::Unshipped;
        }
        if taken == same {
            break;
        }
    }
    told.retain(|one| one.step != Role::Unshipped);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::line;
    use jiff::Timestamp;

    use Role::{Accepted, Departed, Dispatched, Received, Unshipped};

    /// What counts of these lines, in the order in which they happened.
    fn said(lines: &[(Role, &str, &str)]) -> Vec<(Role, String, String)> {
        let line = |(at, (role, amount, partner)): (i64, &(Role, &str, &str))| Movement {
            quantity: amount.parse().ok(),
            partner: Some((*partner).to_owned()).filter(|partner| !partner.is_empty()),
            at: Timestamp::from_second(at).unwrap(),
            ..line(at.unsigned_abs().into(), "lot", *role)
        };
        let lines = (1..).zip(lines).map(line).collect();
        let view = |line: Movement| {
            let amount = line.quantity.map_or("?".into(), |amount| amount.to_string());
            (line.role, amount, line.partner.unwrap_or_default())
        };
        settled(lines).into_iter().map(view).collect()
    }

    fn one(role: Role, amount: &str, partner: &str) -> (Role, String, String) {
        (role, amount.to_owned(), partner.to_owned())
    }

    #[test]
    fn what_is_received_and_accepted_arrived_once() {
        let farm = one(Received, "10", "farm");
        for lines in [
            &[(Received, "10", "farm"), (Accepted, "10", "")][..],
            &[(Received, "10", "farm"), (Accepted, "", "farm")],
            &[(Received, "10", "farm"), (Accepted, "4", "farm"), (Accepted, "6", "farm")],
            &[(Accepted, "10", "farm"), (Received, "10", "farm")],
            &[(Accepted, "10", "farm")],
        ] {
            assert_eq!(said(lines), std::slice::from_ref(&farm), "{lines:?}");
        }
        // What was accepted beyond it came too, and so did another delivery.
        let more = [(Received, "10", "farm"), (Accepted, "12", "farm")];
        assert_eq!(said(&more), [farm.clone(), one(Received, "2", "farm")]);
        let twice = [(Received, "10", "farm"), (Accepted, "10", "farm"), (Received, "5", "farm")];
        assert_eq!(said(&twice), [farm.clone(), one(Received, "5", "farm")]);
        // Whoever is named only the second time stays named.
        let other = [(Received, "10", "farm"), (Accepted, "10", "owner")];
        assert_eq!(said(&other), [farm, one(Received, "0", "owner")]);
    }

    #[test]
    fn what_is_shipped_and_departs_left_once_to_each() {
        let lines = [(Dispatched, "4", "x"), (Dispatched, "3", "y"), (Departed, "3", "y")];
        let both = [one(Dispatched, "4", "x"), one(Dispatched, "3", "y")];
        assert_eq!(said(&lines), both);
        assert_eq!(said(&[(Dispatched, "4", "x"), (Departed, "3", "y")]), both);
        assert_eq!(said(&[(Departed, "4", "x")]), [one(Dispatched, "4", "x")]);
    }

    #[test]
    fn what_was_not_shipped_after_all_is_here() {
        let shipped = [(Dispatched, "4", "x"), (Dispatched, "3", "y")];
        let after = |void: (Role, &'static str, &'static str)| {
            said(&[shipped.as_slice(), &[void]].concat())
        };
        assert_eq!(after((Unshipped, "4", "x")), [one(Dispatched, "3", "y")]);
        assert_eq!(after((Unshipped, "7", "")), []);
        let (four, left) = (one(Dispatched, "4", "x"), one(Dispatched, "2", "y"));
        assert_eq!(after((Unshipped, "1", "")), [four.clone(), left]);
        assert_eq!(after((Unshipped, "", "")), [four, one(Dispatched, "?", "y")]);
        // Shipped anew it has left, and what never left cannot be taken back.
        let again = [(Dispatched, "4", "x"), (Unshipped, "4", ""), (Departed, "4", "x")];
        assert_eq!(said(&again), [one(Dispatched, "4", "x")]);
        assert_eq!(
            said(&[(Unshipped, "4", ""), (Dispatched, "4", "x")]),
            [one(Dispatched, "4", "x")]
        );
    }
}
