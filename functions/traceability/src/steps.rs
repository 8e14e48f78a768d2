//! What several steps say of the same goods, counted once: who receives goods
//! also accepts them, what is shipped also departs and reaches somebody, and a
//! shipment may be taken back (CBV 2.0 §7.1). What goes from one site of ours to
//! another neither left nor arrived. docs/adr/0036 and 0045 have the reasons.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use rust_decimal::Decimal;

use crate::epcis::epc::gln_of;
use crate::movement::{Movement, Role};

/// The steps that tell of an arrival.
const ARRIVES: [Role; 2] = [Role::Received, Role::Accepted];
/// The steps that tell that something left.
const LEAVES: [Role; 4] = [Role::Dispatched, Role::Departed, Role::Reached, Role::Taken];

/// What a step tells of, if other steps may tell of it too: an arrival or a
/// dispatch.
fn kind(step: Role) -> Option<(Role, &'static [Role])> {
    if ARRIVES.contains(&step) {
        Some((Role::Received, &ARRIVES))
    } else if LEAVES.contains(&step) {
        Some((Role::Dispatched, &LEAVES))
    } else {
        None
    }
}

/// A line that counts, with the step that told it first.
pub struct Told {
    /// The line, under its kind.
    pub line: Movement,
    /// The step.
    pub step: Role,
    unit: String,
    amount: Decimal,
    /// How much of it each step has told.
    by: BTreeMap<Role, Decimal>,
    /// How much of what goes from one site of ours to another is on its way.
    under_way: Decimal,
}

impl Told {
    /// How much of it this step has not told.
    fn open(&self, step: Role) -> Decimal {
        self.amount - self.by.get(&step).copied().unwrap_or_default()
    }

    /// Whether this step may speak of the same goods. What arrives comes from one
    /// side, whatever it is called, but not from us and from others. What leaves may
    /// go to several, but who got it knows best.
    fn may_be(&self, step: Role, line: &Movement) -> bool {
        let (known, partner) = (&self.line.partner, &line.partner);
        match kind(step) {
            Some((Role::Received, _)) => {
                partner.is_none()
                    || self.line.internal == line.internal
                    || known.is_none() && !self.line.internal
            }
            _ if is_told_by_receiver(step) => !self.line.internal,
            _ => known.is_none() || partner.is_none() || same(known.as_ref(), partner.as_ref()),
        }
    }
}

const fn is_told_by_receiver(step: Role) -> bool {
    matches!(step, Role::Reached | Role::Taken)
}

/// By what a party is known: its GLN, in whatever capacity, or an id.
fn name(key: &str) -> &str {
    gln_of(key).unwrap_or(key)
}

fn same(one: Option<&String>, other: Option<&String>) -> bool {
    one.map(|key| name(key)) == other.map(|key| name(key))
}

/// The lines of one lot, each of them an arrival, a dispatch or something else,
/// and none twice. What went between our sites is marked `internal`.
pub fn settled(lines: Vec<Movement>) -> Vec<Movement> {
    if !lines.iter().any(|line| line.internal || is_second(line)) {
        return lines;
    }
    told(lines).into_iter().map(|one| one.line).collect()
}

/// Whether a line is no arrival and no dispatch by itself, but may be one.
const fn is_second(line: &Movement) -> bool {
    use Role::{Accepted, Departed, Reached, Taken, Unshipped};
    matches!(line.role, Accepted | Departed | Unshipped | Reached | Taken)
}

/// As [`settled`], each line with the step that told it.
pub fn told(mut lines: Vec<Movement>) -> Vec<Told> {
    // Times may be equal: what goes on its way is there afterwards, and what is taken
    // back was said before.
    let rank = |line: &Movement| match line.role {
        Role::Dispatched | Role::Departed if line.internal => 0,
        Role::Unshipped => 2,
        _ => 1,
    };
    lines.sort_by_key(|line| (line.at, rank(line), line.event_id));
    let mut steps = Steps::default();
    for line in lines {
        match kind(line.role) {
            Some((kind, _)) => steps.tell(line, kind),
            None if line.role == Role::Unshipped => steps.take_back(&line),
            None => {
                let step = line.role;
                steps.told.push(Told {
                    line,
                    step,
                    unit: String::new(),
                    amount: Decimal::ZERO,
                    by: BTreeMap::new(),
                    under_way: Decimal::ZERO,
                });
            }
        }
    }
    steps.told.retain(|one| one.step != Role::Unshipped);
    steps.told
}

/// The step, the unit, and of what leaves the partner's name.
type Key = (Role, String, Option<String>);

/// What the steps have told so far.
#[derive(Default)]
struct Steps {
    told: Vec<Told>,
    /// What each step may still tell, by where it stands in `told`.
    open: BTreeMap<Key, VecDeque<usize>>,
    /// What is on its way between our sites.
    under_way: VecDeque<usize>,
}

impl Steps {
    fn key(step: Role, unit: &str, line: &Movement) -> Key {
        let partner = line.partner.as_ref().filter(|_| LEAVES.contains(&step));
        (step, unit.to_owned(), partner.map(|key| name(key).to_owned()))
    }

    /// The first line of which a step that says `line` may speak: one that names the
    /// same partner, or nobody; or any, if `line` names nobody or is told by whom it
    /// reached.
    fn first(&mut self, unit: &str, line: &Movement) -> Option<usize> {
        let step = line.role;
        let own = Self::key(step, unit, line);
        let none = (step, unit.to_owned(), None);
        if let Some(index) = self.first_of(&own, line) {
            return Some(index);
        }
        if own != none
            && let Some(index) = self.first_of(&none, line)
        {
            return Some(index);
        }
        if own != none && !is_told_by_receiver(step) {
            return None;
        }
        let mut after = none;
        loop {
            let range = (Bound::Excluded(after), Bound::Unbounded);
            let key = self.open.range(range).next()?.0.clone();
            if key.0 != step || key.1 != unit {
                return None;
            }
            if let Some(index) = self.first_of(&key, line) {
                return Some(index);
            }
            after = key;
        }
    }

    /// The first line with this key that is open; a key without any is forgotten.
    fn first_of(&mut self, key: &Key, line: &Movement) -> Option<usize> {
        let queue = self.open.get_mut(key)?;
        let told = &self.told;
        let is_open =
            |index: &usize| told.get(*index).is_some_and(|one| one.open(key.0) > Decimal::ZERO);
        while queue.front().is_some_and(|index| !is_open(index)) {
            queue.pop_front();
        }
        let may_be = |index: &usize| told.get(*index).is_some_and(|one| one.may_be(key.0, line));
        let found = queue.iter().find(|index| is_open(index) && may_be(index)).copied();
        if queue.is_empty() {
            self.open.remove(key);
        }
        found
    }

    /// Adds what a line of `kind` says beyond what other steps told of the same
    /// goods. A partner whom those did not name stays named.
    fn tell(&mut self, line: Movement, kind: Role) {
        let (step, (unit, mut left)) = (line.role, line.amount());
        let (mut named, mut known) = (false, false);
        while left != Some(Decimal::ZERO) {
            let Some(index) = self.first(&unit, &line) else { break };
            let Some(one) = self.told.get_mut(index) else { break };
            let open = one.open(step);
            let amount = left.unwrap_or(open).min(open);
            left = Some(left.unwrap_or(amount) - amount);
            known = true;
            let nameless = one.line.partner.is_none() && line.partner.is_some();
            if nameless && amount == one.amount {
                one.line.partner.clone_from(&line.partner);
                one.line.internal |= line.internal && kind == Role::Received;
            }
            if !is_told_by_receiver(step) || same(one.line.partner.as_ref(), line.partner.as_ref())
            {
                *one.by.entry(step).or_default() += amount;
                named |= same(one.line.partner.as_ref(), line.partner.as_ref());
                continue;
            }
            // Whom it reached has it, and not whoever was named.
            one.amount -= amount;
            (one.line.quantity, one.line.unit) = (Some(one.amount.normalize()), unit.clone());
            let reached = Movement {
                partner: line.partner.clone(),
                quantity: Some(amount),
                ..one.line.clone()
            };
            let (first, steps) = (one.step, one.by.clone());
            named = true;
            self.push(reached, first, &unit);
            if let Some(one) = self.told.last_mut() {
                let told_too = steps.into_keys().chain([step]);
                one.by = told_too.map(|step| (step, amount)).collect();
            }
        }
        let mut rest = Movement { role: kind, ..line };
        if known {
            if left == Some(Decimal::ZERO) && (named || rest.partner.is_none()) {
                return;
            }
            (rest.quantity, rest.unit) = (left, unit.clone());
        }
        if kind == Role::Received
            && (rest.internal || rest.partner.is_none())
            && let Some(ours) = self.come(&mut rest)
        {
            self.push(ours, step, &unit);
        }
        self.push(rest, step, &unit);
    }

    fn push(&mut self, line: Movement, step: Role, unit: &str) {
        let amount = line.amount().1.unwrap_or_default();
        let index = self.told.len();
        let on_its_way = line.role == Role::Dispatched && line.internal;
        if on_its_way {
            self.under_way.push_back(index);
        }
        let others = kind(step).map_or(&[][..], |(_, steps)| steps).iter();
        for other in others.filter(|other| **other != step && amount > Decimal::ZERO) {
            self.open.entry(Self::key(*other, unit, &line)).or_default().push_back(index);
        }
        self.told.push(Told {
            line,
            step,
            unit: unit.to_owned(),
            amount,
            by: BTreeMap::from([(step, amount)]),
            under_way: if on_its_way { amount } else { Decimal::ZERO },
        });
    }

    /// Takes what arrives from what is on its way between our sites. An arrival that
    /// names nobody is of that first, and comes from elsewhere only with what is
    /// more; the part that does not is returned.
    fn come(&mut self, arrival: &mut Movement) -> Option<Movement> {
        let (unit, amount) = arrival.amount();
        let mut come = Decimal::ZERO;
        for index in &self.under_way {
            let Some(one) = self.told.get_mut(*index).filter(|one| one.unit == unit) else {
                continue;
            };
            let same = amount.map_or(one.under_way, |amount| one.under_way.min(amount - come));
            one.under_way -= same;
            come += same;
            if amount == Some(come) || amount.is_none() && come > Decimal::ZERO {
                break;
            }
        }
        let told = &self.told;
        let arrived = |index: &usize| told.get(*index).is_none_or(|one| one.under_way.is_zero());
        while self.under_way.front().is_some_and(arrived) {
            self.under_way.pop_front();
        }
        if come == Decimal::ZERO || arrival.internal {
            return None;
        }
        let ours = Movement {
            internal: true,
            quantity: Some(come),
            unit: unit.clone(),
            ..arrival.clone()
        };
        match amount.map(|amount| amount - come) {
            Some(more) if more > Decimal::ZERO => {
                (arrival.quantity, arrival.unit) = (Some(more), unit);
                Some(ours)
            }
            _ => {
                *arrival = ours;
                None
            }
        }
    }

    /// Takes back what was dispatched, the last of it first. Where it is not said
    /// how much, it is not known what of the last dispatch has left; where it is not
    /// said to whom, and it went to several, all of them may have got some.
    fn take_back(&mut self, line: &Movement) {
        let (unit, mut left) = line.amount();
        let meant = |one: &Told| {
            one.line.role == Role::Dispatched
                && one.step != Role::Unshipped
                && one.unit == unit
                && one.may_be(Role::Unshipped, line)
        };
        let to_others = |one: &&Told| meant(one) && !one.line.internal;
        let mut partners = self.told.iter().filter(to_others).map(|one| &one.line.partner);
        let first = partners.next();
        let several = line.partner.is_none() && partners.any(|other| Some(other) != first);
        let exactly = |one: &Told| same(one.line.partner.as_ref(), line.partner.as_ref());
        // What names its partner before what names nobody.
        let order: Vec<usize> = [true, false]
            .into_iter()
            .flat_map(|exact| {
                let all = self.told.iter().enumerate().rev();
                all.filter(move |(_, one)| meant(one) && exactly(one) == exact)
            })
            .map(|(index, _)| index)
            .collect();
        for index in order {
            let Some(one) = self.told.get_mut(index) else { continue };
            let Some(taken) = left else {
                (one.line.quantity, one.under_way) = (None, Decimal::ZERO);
                break;
            };
            if one.line.quantity.is_none() {
                continue;
            }
            let back = taken.min(one.amount);
            one.amount -= back;
            one.line.quantity = Some(one.amount.normalize());
            one.line.unit.clone_from(&unit);
            one.under_way = one.under_way.min(one.amount);
            left = Some(taken - back);
            let may_have_some = several && one.line.partner.is_some() && !one.line.internal;
            if one.amount == Decimal::ZERO && !may_have_some {
                one.step = Role::Unshipped;
            }
            if taken == back {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::line;
    use jiff::Timestamp;

    use Role::{Accepted, Departed, Dispatched, Reached, Received, Taken, Unshipped};

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
        // Whose it was is not said: each of them may have got some.
        let none = [one(Dispatched, "0", "x"), one(Dispatched, "0", "y")];
        assert_eq!(after((Unshipped, "7", "")), none);
        let (four, left) = (one(Dispatched, "4", "x"), one(Dispatched, "2", "y"));
        assert_eq!(after((Unshipped, "1", "")), [four.clone(), left]);
        let one_only = [(Dispatched, "4", "x"), (Dispatched, "1", "x"), (Unshipped, "4", "")];
        assert_eq!(said(&one_only), [one(Dispatched, "1", "x")]);
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

    #[test]
    fn what_reached_somebody_was_sent_to_them() {
        let (shop, other) = ("urn:uuid:shop", "urn:uuid:other");
        let got = one(Dispatched, "10", shop);
        for lines in [
            &[(Dispatched, "10", shop), (Reached, "10", shop)][..],
            &[(Dispatched, "10", shop), (Departed, "10", shop), (Reached, "10", shop)],
            &[(Dispatched, "10", shop), (Reached, "10", shop), (Taken, "10", shop)],
            &[(Dispatched, "10", shop), (Reached, "4", shop), (Reached, "6", shop)],
            &[(Reached, "10", shop), (Taken, "10", shop), (Dispatched, "10", shop)],
            // Whom nobody named got it.
            &[(Dispatched, "10", ""), (Reached, "10", shop)],
            // No shipment was told.
            &[(Reached, "10", shop), (Taken, "10", shop)],
        ] {
            assert_eq!(said(lines), std::slice::from_ref(&got), "{lines:?}");
        }
        // Who got it has it, and whoever was named stays named.
        for other in ["417/carrier", other] {
            let lines = [(Dispatched, "10", other), (Reached, "10", shop), (Taken, "10", shop)];
            assert_eq!(said(&lines), [one(Dispatched, "0", other), got.clone()], "{other}");
            // Until they tell that it reached them, too.
            let both = [lines.as_slice(), &[(Reached, "10", other)]].concat();
            let expected = [one(Dispatched, "0", other), got.clone(), one(Dispatched, "10", other)];
            assert_eq!(said(&both), expected, "{other}");
        }
        let part = [(Dispatched, "10", "417/carrier"), (Reached, "4", shop)];
        let expected = [one(Dispatched, "6", "417/carrier"), one(Dispatched, "4", shop)];
        assert_eq!(said(&part), expected);
        // Who got more got it.
        let more = [(Dispatched, "10", shop), (Reached, "12", shop)];
        assert_eq!(said(&more), [got.clone(), one(Dispatched, "2", shop)]);
        // What goes to a site of ours is not what reached a customer.
        let transfer = [(Dispatched, "10", "depot"), (Reached, "10", shop)];
        assert_eq!(between(&transfer), [got]);
        // A party is the same in whatever capacity.
        let place = [(Dispatched, "10", "417/1"), (Departed, "10", "414/1/254/dock")];
        assert_eq!(said(&place), [one(Dispatched, "10", "417/1")]);
        // Of what names its partner is taken back before what names nobody.
        let back = [(Dispatched, "4", "x"), (Dispatched, "4", ""), (Unshipped, "4", "x")];
        assert_eq!(said(&back), [one(Dispatched, "4", "")]);
    }

    #[test]
    fn many_lines_are_settled_in_time() {
        // Each to somebody else, and told by two steps.
        let of = |role, number: i64| Movement {
            partner: Some(format!("urn:uuid:{number}")),
            at: Timestamp::from_second(number).unwrap(),
            ..line(1, "lot", role)
        };
        let both = |number| [of(Dispatched, number), of(Departed, 50_000 + number)];
        assert_eq!(settled((0..50_000).flat_map(both).collect()).len(), 100_000);
        let same = |number| [of(Dispatched, number), of(Departed, number)];
        assert_eq!(settled((0..50_000).flat_map(same).collect()).len(), 50_000);
    }
}
