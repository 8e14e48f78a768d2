//! What leaves with what holds it: goods that were packed into a case, a pallet
//! or a container leave when that is shipped, though the event names only the
//! outermost (EPCIS 2.0 §7.4.3). docs/adr/0034 has the reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use keystone::tenant::Id;
use rust_decimal::Decimal;

use crate::movement::{Movement, Role};
use crate::steps::{Told, told};

/// The shortest time that is kept.
const LEAST: SignedDuration = SignedDuration::from_millis(1);

/// The lines in force of lots and of all that holds them.
pub type Lines = BTreeMap<String, Vec<Movement>>;

/// What holds, or held, what these lines are of.
pub fn holders(lines: &[Movement]) -> BTreeSet<&String> {
    let packing = |line: &&Movement| matches!(line.role, Role::Packed | Role::Unpacked);
    lines.iter().filter(packing).flat_map(|line| &line.others).collect()
}

/// What becomes of a unit on a journey.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// It came back.
    Back,
    /// It left.
    Away,
    /// It went on to another site of ours.
    Within,
}

/// That a unit left, came back or went on.
#[derive(Clone)]
struct Journey {
    at: Timestamp,
    way: Way,
    /// The step that told it.
    step: Role,
    event: Id,
    partner: Option<String>,
    /// Whether nothing may have left, since it was taken back and not said from whom.
    taken_back: bool,
}

impl Journey {
    /// Of what counts; what arrives from a site of ours never left.
    fn of(told: Told) -> Option<Self> {
        let Told { line, step, .. } = told;
        let way = match (line.role, line.internal) {
            (Role::Dispatched, true) => Way::Within,
            (Role::Dispatched, false) => Way::Away,
            (Role::Received, false) => Way::Back,
            _ => return None,
        };
        let taken_back = way == Way::Away && line.quantity.is_some_and(|left| left.is_zero());
        let Movement { at, event_id: event, partner, .. } = line;
        Some(Self { at, way, step, event, partner, taken_back })
    }
}

/// The lines of packing among these, by what it was packed into or taken out of.
fn by_holder(lines: &[Movement]) -> BTreeMap<&String, Vec<&Movement>> {
    let mut all: BTreeMap<&String, Vec<&Movement>> = BTreeMap::new();
    for line in lines.iter().filter(|line| matches!(line.role, Role::Packed | Role::Unpacked)) {
        for holder in &line.others {
            all.entry(holder).or_default().push(line);
        }
    }
    all
}

/// How much of a thing is in a holder, by unit; `None` where that is not known.
type Content = BTreeMap<String, Option<Decimal>>;

/// A journey of a holder with what it had of a thing in it.
type Leg = (Journey, Content);

/// From when until when a thing was in a holder; it still is, if there is no end.
type Stay = (Timestamp, Option<Timestamp>);

/// The stays of a thing in each of its holders, in order.
pub struct Stays<'l>(BTreeMap<&'l String, Vec<Stay>>);

impl Stays<'_> {
    /// When what this line says was packed was no longer in its holder.
    pub fn end(&self, line: &Movement) -> Option<Timestamp> {
        let mut stays = line.others.iter().filter_map(|holder| self.0.get(holder)).flatten();
        let begun = stays.rfind(|(from, _)| *from <= line.at);
        begun.and_then(|(_, until)| *until)
    }
}

/// What happens to a thing and its holder, in the order in which it is taken to
/// have happened where times are equal: who packs anew unpacks first, and packs
/// before it ships.
enum Step<'l> {
    Unpacked(&'l Movement),
    Emptied(&'l Movement),
    Filled,
    Packed(&'l Movement),
    Moved(Journey),
}

impl Step<'_> {
    const fn rank(&self) -> u8 {
        match self {
            Self::Unpacked(_) | Self::Emptied(_) => 0,
            Self::Filled => 1,
            Self::Packed(_) => 2,
            Self::Moved(Journey { way: Way::Back, .. }) => 3,
            Self::Moved(_) => 4,
        }
    }
}

/// Most times that the journeys of a unit are looked for again, because it was met
/// in a circle: units that were in each other at different times are few.
const CIRCLES: usize = 1_000;

/// Says of lots what follows from what they were in.
pub struct Contents<'l> {
    lines: &'l Lines,
    /// The journeys of each unit.
    journeys: BTreeMap<&'l str, Rc<[Journey]>>,
    /// The units whose journeys are being looked for: they add none to their own, so
    /// that a circle of units that hold each other ends.
    asked: BTreeSet<&'l str>,
    circles: usize,
}

impl<'l> Contents<'l> {
    /// By these lines.
    pub const fn new(lines: &'l Lines) -> Self {
        Self { lines, journeys: BTreeMap::new(), asked: BTreeSet::new(), circles: 0 }
    }

    /// The lines that a lot has because of what it was in: it left with it, or
    /// came back. What an event says of the lot itself, it says. Beside them, when
    /// it was in what.
    pub fn of(&mut self, lot: &str) -> (Vec<Movement>, Stays<'l>) {
        let mut all = Stays(BTreeMap::new());
        let Some((lot, own)) = self.lines.get_key_value(lot) else { return (Vec::new(), all) };
        let named: BTreeSet<Id> =
            own.iter().filter(|line| line.role.travels()).map(|line| line.event_id).collect();
        let mut carried = Vec::new();
        for (holder, packing) in by_holder(own) {
            let (legs, stays, _) = self.legs(&packing, holder);
            all.0.insert(holder, stays);
            for (journey, content) in legs {
                if named.contains(&journey.event) {
                    continue;
                }
                carried.extend(content.into_iter().map(|(unit, quantity)| Movement {
                    quantity: quantity.map(|quantity| quantity.normalize()),
                    unit,
                    partner: journey.partner.clone(),
                    within: Some(holder.clone()),
                    internal: journey.way == Way::Within,
                    ..Movement::new(journey.event, lot, journey.step, journey.at)
                }));
            }
        }
        (carried, all)
    }

    /// All journeys of a unit, its own and those of what held it, in order; and
    /// whether none is left out because of a circle.
    fn journeys(&mut self, unit: &'l str) -> (Rc<[Journey]>, bool) {
        if let Some(known) = self.journeys.get(unit) {
            return (Rc::clone(known), true);
        }
        if !self.asked.insert(unit) {
            return (Rc::from([]), false);
        }
        let own = self.lines.get(unit).map_or(&[][..], Vec::as_slice);
        let mut all: Vec<Journey> =
            told(own.to_vec()).into_iter().filter_map(Journey::of).collect();
        let mut whole = true;
        for (holder, packing) in by_holder(own) {
            let (legs, _, all_of_them) = self.legs(&packing, holder);
            all.extend(legs.into_iter().map(|(journey, _)| journey));
            whole &= all_of_them;
        }
        self.asked.remove(unit);
        // An event may name the unit and what holds it.
        all.sort_by_key(|journey| (journey.at, journey.way, journey.event));
        all.dedup_by_key(|journey| journey.event);
        let all: Rc<[Journey]> = all.into();
        // Nobody else is asked: what was left out are its own journeys.
        if whole || self.asked.is_empty() || self.circles >= CIRCLES {
            self.journeys.insert(unit, Rc::clone(&all));
            return (all, true);
        }
        self.circles += 1;
        (all, false)
    }

    /// The journeys of `holder` that the thing of these lines of packing made in it,
    /// with how much of it, when it was in it, and whether that is all. What left
    /// already does not leave a second time: of a further dispatch the amount is not
    /// known.
    fn legs(&mut self, packing: &[&'l Movement], holder: &'l str) -> (Vec<Leg>, Vec<Stay>, bool) {
        let mut steps: Vec<(Timestamp, Id, Step<'l>)> = Vec::new();
        for line in packing {
            let packed = line.role == Role::Packed;
            let step = if packed { Step::Packed(line) } else { Step::Unpacked(line) };
            steps.push((line.at, line.event_id, step));
        }
        for line in self.lines.get(holder).into_iter().flatten() {
            let step = match line.role {
                Role::Emptied => Step::Emptied(line),
                Role::Filled => Step::Filled,
                _ => continue,
            };
            steps.push((line.at, line.event_id, step));
        }
        let (journeys, whole) = self.journeys(holder);
        for journey in journeys.iter() {
            steps.push((journey.at, journey.event, Step::Moved(journey.clone())));
        }
        steps.sort_by_key(|(at, event, step)| (*at, step.rank(), *event));
        let (mut content, mut away, mut legs) = (Content::new(), false, Vec::new());
        let (mut since, mut stays) = (None, Vec::new());
        // What a customer took out before it is told that it left.
        let mut pending: Vec<&Movement> = Vec::new();
        for (at, _, step) in steps {
            let mut ended = at;
            match step {
                Step::Unpacked(line) | Step::Emptied(line) if line.elsewhere && !away => {
                    pending.push(line);
                }
                Step::Unpacked(line) | Step::Emptied(line) => take_out(&mut content, line),
                Step::Filled | Step::Packed(_) => {
                    let taken = pending.drain(..);
                    ended = taken_out(&mut content, taken, &mut legs).unwrap_or(at);
                    // What is packed is here, and empty if it was away.
                    if away {
                        content.clear();
                        away = false;
                    }
                }
                Step::Moved(_) => {}
            }
            if content.is_empty() {
                stays.extend(since.take().map(|since| (since, Some(ended))));
            }
            match step {
                Step::Packed(line) => {
                    put(&mut content, line);
                    since.get_or_insert(at);
                }
                Step::Moved(journey) => {
                    let (counts, again) = match journey.way {
                        Way::Back => (away, false),
                        Way::Away => (true, away),
                        // Whoever has it goes on with it.
                        Way::Within => (!away, false),
                    };
                    let none = journey.taken_back;
                    away = match journey.way {
                        Way::Back => false,
                        Way::Away => away || !none,
                        Way::Within => away,
                    };
                    if counts && !content.is_empty() {
                        let nothing = |unit: &String| (unit.clone(), Some(Decimal::ZERO));
                        let unknown = |unit: &String| (unit.clone(), None);
                        let shown = if none {
                            content.keys().map(nothing).collect()
                        } else if again {
                            content.keys().map(unknown).collect()
                        } else {
                            content.clone()
                        };
                        legs.push((journey, shown));
                    }
                    if away {
                        pending.drain(..).for_each(|line| take_out(&mut content, line));
                        // It was in there when that left.
                        if content.is_empty() {
                            let after = at.checked_add(LEAST).unwrap_or(at);
                            stays.extend(since.take().map(|since| (since, Some(after))));
                        }
                    }
                }
                Step::Unpacked(_) | Step::Emptied(_) | Step::Filled => {}
            }
        }
        let until = taken_out(&mut content, pending.into_iter(), &mut legs);
        stays.extend(since.map(|since| (since, until)));
        (legs, stays, whole)
    }
}

fn put(content: &mut Content, line: &Movement) {
    let (unit, added) = line.amount();
    let there = content.entry(unit).or_insert(Some(Decimal::ZERO));
    *there = there.zip(added).and_then(|(there, added)| there.checked_add(added));
}

/// Takes out what a line says, or all.
fn take_out(content: &mut Content, line: &Movement) {
    if line.role == Role::Emptied { content.clear() } else { take(content, line) }
}

/// That a customer has what they took out, though nothing tells that it left.
fn reached(content: &mut Content, line: &Movement) -> Option<Leg> {
    let before = content.clone();
    take_out(content, line);
    let taken = |(unit, there): (String, Option<Decimal>)| {
        let left = content.get(&unit).copied().unwrap_or(Some(Decimal::ZERO));
        (unit, there.zip(left).map(|(there, left)| there - left))
    };
    let taken: Content = before.into_iter().map(taken).collect();
    let journey = Journey {
        at: line.at,
        way: Way::Away,
        step: Role::Reached,
        event: line.event_id,
        partner: line.place.as_ref().map(|gln| format!("414/{gln}")),
        taken_back: false,
    };
    (!taken.is_empty()).then_some((journey, taken))
}

/// Takes out what customers took out of what is not told to have left, and says
/// when nothing was left.
fn taken_out<'l>(
    content: &mut Content,
    lines: impl Iterator<Item = &'l Movement>,
    legs: &mut Vec<Leg>,
) -> Option<Timestamp> {
    let mut until = None;
    for line in lines {
        legs.extend(reached(content, line));
        if content.is_empty() {
            until.get_or_insert(line.at);
        }
    }
    until
}

/// Takes out what a line says. Where that cannot be compared with what is there,
/// it is not known how much stays.
fn take(content: &mut Content, line: &Movement) {
    let (unit, taken) = line.amount();
    match (content.get(&unit).copied().flatten(), taken) {
        (Some(there), Some(taken)) if taken >= there => drop(content.remove(&unit)),
        (Some(there), Some(taken)) => drop(content.insert(unit, Some(there - taken))),
        _ => content.values_mut().for_each(|amount| *amount = None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: &str = "417/4000001000050";

    /// A line of `lot` at a second, in, out of, or with `other`.
    fn line(at: i64, lot: &str, role: Role, kilograms: &str, other: &str) -> Movement {
        let journey = matches!(role, Role::Dispatched | Role::Received);
        Movement {
            quantity: kilograms.parse().ok(),
            unit: "KGM".into(),
            partner: journey.then(|| other.to_owned()),
            others: if journey || other.is_empty() { vec![] } else { vec![other.into()] },
            ..Movement::new(
                Id::from_u128(u128::from(at.unsigned_abs())),
                lot,
                role,
                Timestamp::from_second(at).unwrap(),
            )
        }
    }

    /// What follows for the lot: when, whether it left, how much, in what.
    fn said(lines: Vec<Movement>) -> Vec<(i64, Role, String, String)> {
        let mut by_lot = Lines::new();
        for line in lines {
            by_lot.entry(line.lot.clone()).or_default().push(line);
        }
        let (carried, _) = Contents::new(&by_lot).of("lot");
        assert!(carried.iter().all(|line| line.unit == "KGM"));
        let amount = |line: &Movement| line.quantity.map_or("?".into(), |q| q.to_string());
        let view = |line: &Movement| {
            (line.at.as_second(), line.role, amount(line), line.within.clone().unwrap())
        };
        carried.iter().map(view).collect()
    }

    /// Until which millisecond what was packed first was in its holder.
    fn until(lines: &[Movement]) -> Option<i64> {
        let mut by_lot = Lines::new();
        for line in lines {
            by_lot.entry(line.lot.clone()).or_default().push(line.clone());
        }
        let (_, stays) = Contents::new(&by_lot).of("lot");
        stays.end(&lines[0]).map(Timestamp::as_millisecond)
    }

    fn out(at: i64, amount: &str, within: &str) -> (i64, Role, String, String) {
        (at, Role::Dispatched, amount.into(), within.into())
    }

    use Role::{Dispatched, Emptied, Filled, Packed, Received, Unpacked};

    #[test]
    fn what_is_on_a_pallet_leaves_with_it() {
        let lines = vec![
            line(1, "lot", Packed, "8", "pallet"),
            line(2, "lot", Packed, "4", "pallet"),
            line(3, "lot", Unpacked, "1.5", "pallet"),
            line(4, "pallet", Dispatched, "1", TO),
            // Packed after it left, it did not leave then.
            line(5, "lot", Packed, "3", "other pallet"),
        ];
        assert_eq!(said(lines), [out(4, "10.5", "pallet")]);
    }

    #[test]
    fn what_was_taken_out_before_stays() {
        for last in [line(2, "lot", Unpacked, "8", "pallet"), line(2, "pallet", Emptied, "", "")] {
            let lines = vec![
                line(1, "lot", Packed, "8", "pallet"),
                last,
                line(3, "pallet", Dispatched, "1", TO),
            ];
            assert_eq!(said(lines), []);
        }
    }

    #[test]
    fn what_holds_the_pallet_takes_it_along() {
        let lines = vec![
            line(1, "lot", Packed, "8", "case"),
            line(2, "case", Packed, "1", "pallet"),
            line(3, "pallet", Packed, "1", "container"),
            line(4, "container", Dispatched, "1", TO),
        ];
        assert_eq!(said(lines.clone()), [out(4, "8", "case")]);
        // An event that names the inner ones too says nothing more.
        let mut all = lines.clone();
        all.push(line(4, "pallet", Dispatched, "1", TO));
        all.push(line(4, "case", Dispatched, "1", TO));
        assert_eq!(said(all), [out(4, "8", "case")]);
        // Nor does one that names the lot.
        let mut named = lines.clone();
        named.push(line(4, "lot", Dispatched, "8", TO));
        assert_eq!(said(named), []);
        // The pallet was taken off before.
        let mut off = lines;
        off.push(line(3, "case", Unpacked, "1", "pallet"));
        assert_eq!(said(off), []);
    }

    #[test]
    fn units_that_hold_each_other_end() {
        let lines = vec![
            line(1, "lot", Packed, "8", "a"),
            line(1, "a", Packed, "1", "b"),
            line(1, "b", Packed, "1", "a"),
            line(2, "b", Dispatched, "1", TO),
        ];
        assert_eq!(said(lines), [out(2, "8", "a")]);
    }

    #[test]
    fn what_left_leaves_again_only_once_it_is_back() {
        let mut lines = vec![
            line(1, "lot", Packed, "8", "pallet"),
            line(2, "pallet", Dispatched, "1", "carrier"),
            line(3, "pallet", Dispatched, "1", TO),
        ];
        assert_eq!(said(lines.clone()), [out(2, "8", "pallet"), out(3, "?", "pallet")]);
        lines.push(line(4, "pallet", Received, "1", TO));
        lines.push(line(5, "pallet", Received, "1", TO));
        lines.push(line(6, "pallet", Dispatched, "1", TO));
        let back = (4, Received, "8".to_owned(), "pallet".to_owned());
        let expected = [out(2, "8", "pallet"), out(3, "?", "pallet"), back, out(6, "8", "pallet")];
        assert_eq!(said(lines.clone()), expected);
        // A crate that is used again has only what is in it now.
        lines.push(line(7, "lot", Packed, "2", "pallet"));
        lines.push(line(8, "pallet", Dispatched, "1", TO));
        assert_eq!(said(lines).last(), Some(&out(8, "2", "pallet")));
    }

    #[test]
    fn an_amount_that_is_not_known_stays_so() {
        let lines =
            vec![line(1, "lot", Packed, "", "pallet"), line(2, "pallet", Dispatched, "1", TO)];
        assert_eq!(said(lines), [out(2, "?", "pallet")]);
        let mut taken = line(2, "lot", Unpacked, "3", "pallet");
        taken.unit = "H87".into();
        let lines = vec![
            line(1, "lot", Packed, "8", "pallet"),
            taken,
            line(3, "pallet", Dispatched, "1", TO),
        ];
        assert_eq!(said(lines), [out(3, "?", "pallet")]);
    }

    #[test]
    fn a_crate_that_is_filled_again_holds_what_it_was_filled_with() {
        let mut lines = vec![
            line(1, "lot", Packed, "8", "crate"),
            line(2, "crate", Dispatched, "1", TO),
            line(3, "crate", Filled, "", ""),
            line(4, "crate", Dispatched, "1", "other"),
        ];
        assert_eq!(said(lines.clone()), [out(2, "8", "crate")]);
        // Filled while it is here it has got more in it.
        lines.remove(1);
        assert_eq!(said(lines), [out(4, "8", "crate")]);
    }

    #[test]
    fn a_stay_ends_when_all_is_out_of_it() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let own = vec![
            line(1, "lot", Packed, "8", "crate"),
            line(2, "lot", Packed, "2", "crate"),
            line(3, "lot", Unpacked, "9", "crate"),
            line(4, "lot", Unpacked, "1", "crate"),
            line(6, "lot", Packed, "1", "crate"),
        ];
        let lines = Lines::from([("lot".to_owned(), own.clone()), ("crate".to_owned(), vec![])]);
        let (_, stays) = Contents::new(&lines).of("lot");
        assert_eq!(stays.end(&own[0]), Some(at(4)));
        assert_eq!(stays.end(&own[1]), Some(at(4)));
        assert_eq!(stays.end(&own[4]), None);
    }

    #[test]
    fn packed_and_shipped_at_the_same_moment_it_was_packed_first() {
        let lines =
            vec![line(1, "pallet", Dispatched, "1", TO), line(1, "lot", Packed, "8", "pallet")];
        assert_eq!(said(lines), [out(1, "8", "pallet")]);
    }

    #[test]
    fn what_held_a_unit_later_counts_then() {
        // First A in B, then B in A, and the lot in both.
        let lines = vec![
            line(1, "lot", Packed, "5", "a"),
            line(2, "a", Packed, "1", "b"),
            line(3, "b", Dispatched, "1", TO),
            line(4, "b", Received, "1", TO),
            line(5, "a", Unpacked, "1", "b"),
            line(6, "lot", Packed, "7", "b"),
            line(7, "b", Packed, "1", "a"),
            line(8, "a", Dispatched, "1", "other"),
        ];
        let left = said(lines);
        assert!(left.contains(&out(8, "5", "a")) && left.contains(&out(8, "7", "b")), "{left:?}");
    }

    #[test]
    fn a_lot_that_departs_on_the_pallet_that_is_shipped_left_once() {
        for (unit, own) in [(Dispatched, Role::Departed), (Role::Departed, Dispatched)] {
            let mut lines = Lines::new();
            for line in [
                line(1, "lot", Packed, "8", "pallet"),
                Movement { partner: Some(TO.into()), ..line(2, "pallet", unit, "1", "") },
                Movement { partner: Some(TO.into()), ..line(3, "lot", own, "8", "") },
            ] {
                lines.entry(line.lot.clone()).or_default().push(line);
            }
            let (carried, _) = Contents::new(&lines).of("lot");
            let all = [lines["lot"].clone(), carried].concat();
            let left = crate::steps::settled(all);
            let left = left.iter().filter(|line| line.role == Dispatched);
            assert_eq!(left.filter_map(|line| line.quantity).sum::<Decimal>(), 8.into());
        }
    }

    #[test]
    fn what_a_customer_takes_out_before_our_shipping_is_told_left() {
        let out_of = Movement { elsewhere: true, ..line(2, "pallet", Emptied, "", "") };
        let lines = vec![
            line(1, "lot", Packed, "8", "pallet"),
            out_of,
            line(3, "pallet", Dispatched, "1", TO),
        ];
        assert_eq!(said(lines), [out(3, "8", "pallet")]);
    }

    #[test]
    fn what_a_customer_took_out_is_with_them() {
        let shop = "4012345000054";
        let out_of = |at| Movement {
            elsewhere: true,
            place: Some(shop.into()),
            ..line(at, "pallet", Emptied, "", "")
        };
        // It does not come back with the unit.
        let lines = vec![
            line(1, "lot", Packed, "8", "pallet"),
            out_of(2),
            line(3, "pallet", Dispatched, "1", TO),
            line(5, "pallet", Received, "1", TO),
        ];
        assert_eq!(until(&lines), Some(3_001), "it was in there when that left");
        assert_eq!(until(&lines[..2]), Some(2_000), "nothing tells that it left");
        let more = [line(9, "lot", Unpacked, "1", "pallet"), line(10, "pallet", Filled, "", "")];
        let again = Movement { elsewhere: true, ..more[0].clone() };
        assert_eq!(until(&[&lines[..2], &[again, more[1].clone()]].concat()), Some(2_000));
        assert_eq!(until(&lines[..1]), None);
        assert_eq!(said(lines), [out(3, "8", "pallet")]);
        // Nothing tells that it left, and what is filled again has nothing of it.
        let reached = (2, Role::Reached, "8".to_owned(), "pallet".to_owned());
        let mut lines = vec![line(1, "lot", Packed, "8", "pallet"), out_of(2)];
        assert_eq!(said(lines.clone()), std::slice::from_ref(&reached));
        lines.push(line(3, "pallet", Filled, "", ""));
        lines.push(line(4, "pallet", Dispatched, "1", TO));
        assert_eq!(said(lines), [reached]);
    }

    #[test]
    fn a_unit_that_was_not_shipped_after_all_is_here() {
        let unshipped = Movement { partner: None, ..line(4, "pallet", Role::Unshipped, "1", "") };
        let mut lines = vec![
            line(1, "lot", Packed, "8", "pallet"),
            Movement { internal: true, ..line(2, "pallet", Dispatched, "1", "414/depot") },
            line(3, "pallet", Dispatched, "1", TO),
            unshipped.clone(),
        ];
        let within = out(2, "8", "pallet");
        assert_eq!(said(lines.clone()), std::slice::from_ref(&within));
        // To one of two: each may have got some, and it is still here.
        lines.insert(2, line(2, "pallet", Dispatched, "1", "other"));
        lines.push(Movement { at: unshipped.at, ..unshipped });
        lines.push(line(5, "pallet", Dispatched, "1", "third"));
        let left = said(lines);
        assert_eq!(left.last(), Some(&out(5, "8", "pallet")), "{left:?}");
    }
}
