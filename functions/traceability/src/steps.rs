//! What several steps say of the same goods, counted once: who receives goods
//! also accepts them, what is shipped also departs, and a shipment may be taken
//! back (CBV 2.0 §7.1). What goes from one site of ours to another neither left
//! nor arrived. docs/adr/0036 and 0045 have the reasons.

use rust_decimal::Decimal;

use crate::movement::{Movement, Role};

/// A line that was told, with how much of it the other step has not told yet.
struct Told {
    line: Movement,
    step: Role,
    unit: String,
    open: Decimal,
    /// How much of what goes from one site of ours to another is on its way.
    under_way: Decimal,
}

impl Told {
    /// Whether another line may speak of the same goods. What arrives comes from
    /// one side, whatever it is called, but not from us and from others; what leaves
    /// may go to several.
    fn may_be(&self, kind: Role, unit: &str, line: &Movement) -> bool {
        let (known, partner) = (self.line.partner.as_ref(), line.partner.as_ref());
        let same = if kind == Role::Received {
            partner.is_none()
                || self.line.internal == line.internal
                || known.is_none() && !self.line.internal
        } else {
            known.is_none() || partner.is_none() || known == partner
        };
        self.unit == unit && same
    }
}

/// The lines of one lot, each of them an arrival, a dispatch or something else,
/// and none twice. What went between our sites is marked `internal`.
pub fn settled(mut lines: Vec<Movement>) -> Vec<Movement> {
    let second =
        |line: &Movement| matches!(line.role, Role::Accepted | Role::Departed | Role::Unshipped);
    if !lines.iter().any(|line| line.internal || second(line)) {
        return lines;
    }
    // Times may be equal: what goes on its way is there afterwards, and what is taken
    // back was said before.
    let rank = |line: &Movement| match line.role {
        Role::Dispatched | Role::Departed if line.internal => 0,
        Role::Unshipped => 2,
        _ => 1,
    };
    lines.sort_by_key(|line| (line.at, rank(line), line.event_id));
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
                let (open, under_way) = (Decimal::ZERO, Decimal::ZERO);
                told.push(Told { line, step, unit, open, under_way });
            }
        }
    }
    told.into_iter().map(|one| one.line).collect()
}

/// Adds what a line of `kind` says beyond what the step `twin` told of the same
/// goods. A partner whom that did not name stays named.
fn tell(told: &mut Vec<Told>, line: Movement, kind: Role, twin: Role) {
    let (step, (unit, mut left)) = (line.role, line.amount());
    let (mut named, mut known) = (false, false);
    for one in told.iter_mut() {
        let open = one.step == twin && one.open > Decimal::ZERO;
        if !open || !one.may_be(kind, &unit, &line) {
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
    let mut rest = Movement { role: kind, ..line };
    if known {
        if left == Some(Decimal::ZERO) && (named || rest.partner.is_none()) {
            return;
        }
        (rest.quantity, rest.unit) = (left, unit.clone());
    }
    if kind == Role::Received && (rest.internal || rest.partner.is_none()) {
        let ours = come(told, &mut rest, step);
        told.extend(ours);
    }
    let open = rest.amount().1.unwrap_or_default();
    let on_its_way = kind == Role::Dispatched && rest.internal;
    let under_way = if on_its_way { open } else { Decimal::ZERO };
    told.push(Told { line: rest, step, unit, open, under_way });
}

/// Takes what arrives from what is on its way between our sites. An arrival that
/// names nobody is of that first, and comes from elsewhere only with what is more;
/// the part that is not is returned.
fn come(told: &mut [Told], arrival: &mut Movement, step: Role) -> Option<Told> {
    let (unit, amount) = arrival.amount();
    let mut come = Decimal::ZERO;
    for one in told.iter_mut().filter(|one| one.unit == unit) {
        let same = amount.map_or(one.under_way, |amount| one.under_way.min(amount - come));
        one.under_way -= same;
        come += same;
        if amount == Some(come) || amount.is_none() && come > Decimal::ZERO {
            break;
        }
    }
    if come == Decimal::ZERO || arrival.internal {
        return None;
    }
    let ours =
        Movement { internal: true, quantity: Some(come), unit: unit.clone(), ..arrival.clone() };
    match amount.map(|amount| amount - come) {
        Some(more) if more > Decimal::ZERO => {
            (arrival.quantity, arrival.unit) = (Some(more), unit.clone());
            Some(Told { line: ours, step, unit, open: come, under_way: Decimal::ZERO })
        }
        _ => {
            *arrival = ours;
            None
        }
    }
}

/// Takes back what was dispatched, the last of it first. Where it is not said how
/// much, it is not known what of the last dispatch has left.
fn take_back(told: &mut Vec<Told>, line: &Movement) {
    let (unit, mut left) = line.amount();
    for one in told.iter_mut().rev() {
        let has_left = one.line.role == Role::Dispatched;
        if !has_left || !one.may_be(Role::Dispatched, &unit, line) {
            continue;
        }
        let Some(taken) = left else {
            (one.line.quantity, one.under_way) = (None, Decimal::ZERO);
            break;
        };
        let Some(sent) = one.line.amount().1 else { continue };
        let same = taken.min(sent);
        one.line.quantity = Some((sent - same).normalize());
        one.line.unit.clone_from(&unit);
        one.open = one.open.min(sent - same);
        one.under_way = one.under_way.min(sent - same);
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
        view(settled(lines))
    }

    /// What of lines has left or come from elsewhere.
    fn view(lines: Vec<Movement>) -> Vec<(Role, String, String)> {
        let view = |line: Movement| {
            let amount = line.quantity.map_or("?".into(), |amount| amount.to_string());
            (line.role, amount, line.partner.unwrap_or_default())
        };
        lines.into_iter().filter(|line| !line.internal).map(view).collect()
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

    /// As [`said`], where `depot` and `dairy` are sites of ours.
    fn between(lines: &[(Role, &str, &str)]) -> Vec<(Role, String, String)> {
        let line = |(at, (role, amount, partner)): (i64, &(Role, &str, &str))| Movement {
            quantity: amount.parse().ok(),
            partner: Some((*partner).to_owned()).filter(|partner| !partner.is_empty()),
            at: Timestamp::from_second(at).unwrap(),
            internal: matches!(*partner, "depot" | "dairy"),
            ..line(at.unsigned_abs().into(), "lot", *role)
        };
        view(settled((1..).zip(lines).map(line).collect()))
    }

    #[test]
    fn what_goes_from_site_to_site_neither_left_nor_came() {
        let sent = (Dispatched, "10", "depot");
        for lines in [
            &[sent][..],
            &[sent, (Departed, "10", "depot")],
            &[sent, (Departed, "10", "")],
            // Who receives it names its sender or nobody.
            &[sent, (Received, "10", "dairy")],
            &[sent, (Received, "10", "")],
            &[sent, (Received, "", "")],
            &[sent, (Received, "4", ""), (Received, "6", "")],
            // And accepts it, before or after.
            &[sent, (Received, "10", ""), (Accepted, "10", "")],
            &[sent, (Received, "", ""), (Accepted, "10", "")],
            &[sent, (Accepted, "10", ""), (Received, "10", "dairy")],
            &[sent, (Departed, "10", "depot"), (Received, "10", ""), (Accepted, "4", "dairy")],
            &[(Received, "10", "dairy")],
        ] {
            assert_eq!(between(lines), [], "{lines:?}");
        }
        // What is more came from elsewhere, and so did what a supplier delivers.
        let farm = one(Received, "10", "farm");
        for lines in [
            &[sent, (Received, "10", "farm"), (Received, "10", "")][..],
            &[sent, (Received, "10", "farm"), (Accepted, "10", "farm"), (Received, "10", "dairy")],
            &[sent, (Received, "10", ""), (Accepted, "10", "farm")],
        ] {
            assert_eq!(between(lines), std::slice::from_ref(&farm), "{lines:?}");
        }
        let more = [sent, (Received, "12", ""), (Accepted, "12", "")];
        assert_eq!(between(&more), [one(Received, "2", "")]);
        // An arrival that names its sender ends what was on its way.
        let two = [sent, (Received, "10", "dairy"), (Received, "3", "")];
        assert_eq!(between(&two), [one(Received, "3", "")]);
        // What was taken back is not on its way.
        for void in [(Unshipped, "10", "depot"), (Unshipped, "10", ""), (Unshipped, "", "")] {
            let back = [sent, void, (Received, "10", "")];
            assert_eq!(between(&back), [one(Received, "10", "")], "{void:?}");
        }
        // Beside it the same lot goes to a customer.
        let both = [(Dispatched, "4", "x"), sent, (Departed, "4", "x"), (Received, "10", "")];
        assert_eq!(between(&both), [one(Dispatched, "4", "x")]);
    }
}
