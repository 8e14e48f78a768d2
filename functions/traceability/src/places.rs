//! Whose business an event is: partners tell in their documents what they did
//! with the same lots, and goods go from one site of ours to another.
//! docs/adr/0045 has the reasons.

use std::collections::{BTreeMap, BTreeSet};

use keystone::tenant::Id;

use crate::epcis::epc::gln_of;
use crate::movement::{Movement, Role};
use crate::partner::OURS;

/// Whose the places with these GLNs are.
#[derive(Default)]
pub(crate) struct Places {
    /// Sites of ours.
    pub ours: BTreeSet<String>,
    /// Our customers'.
    pub customers: BTreeMap<String, Id>,
    /// Our suppliers'.
    pub suppliers: BTreeMap<String, Id>,
    /// Which of the ids that lines name are those of customers.
    pub customer_ids: BTreeSet<Id>,
    /// Which of them are those of suppliers.
    pub supplier_ids: BTreeSet<Id>,
}

/// The GLNs that decide whose business a line is.
pub(crate) fn glns(line: &Movement) -> impl Iterator<Item = &str> {
    let places = line.place.as_deref().into_iter().chain(line.afterwards.as_deref());
    places.chain(parties(line).filter_map(gln_of))
}

/// The keys of all that a line names at the other end.
fn parties(line: &Movement) -> impl Iterator<Item = &str> {
    line.partner.iter().chain(&line.parties).map(String::as_str)
}

/// The ids among them that may be those of partners.
fn ids(line: &Movement) -> impl Iterator<Item = Id> {
    parties(line).filter_map(|key| key.strip_prefix(OURS)?.parse().ok())
}

/// Who of these a line names at the other end, by id or by GLN.
fn partner(line: &Movement, known: &BTreeMap<String, Id>, by_id: &BTreeSet<Id>) -> Option<Id> {
    parties(line).find_map(|key| match gln_of(key) {
        Some(gln) => known.get(gln).copied(),
        None => key.strip_prefix(OURS)?.parse().ok().filter(|id| by_id.contains(id)),
    })
}

impl Places {
    /// Adds what is known of further places.
    pub fn extend(&mut self, more: Self) {
        self.ours.extend(more.ours);
        self.customers.extend(more.customers);
        self.suppliers.extend(more.suppliers);
    }

    /// The ids that have to be known before a line can be seen. Where nothing but our
    /// id stands at the other end of what happened with us, it is one of ours, or
    /// nobody's.
    pub fn open_ids(&self, line: &Movement) -> Vec<Id> {
        let elsewhere = line.place.as_ref().is_some_and(|gln| !self.ours.contains(gln));
        let others = parties(line).any(|key| !key.starts_with(OURS)) || line.afterwards.is_some();
        if line.role.travels() && (elsewhere || others) { ids(line).collect() } else { Vec::new() }
    }

    /// From where a lot or a unit was sent to us: places that nobody has.
    pub fn senders(&self, lines: &[Movement]) -> BTreeSet<String> {
        let sends = |line: &&Movement| {
            matches!(line.role, Role::Dispatched | Role::Departed) && self.goes_to_us(line)
        };
        let places = lines.iter().filter(sends).filter_map(|line| line.place.clone());
        places.filter(|gln| !self.ours.contains(gln)).collect()
    }

    /// The lines of one lot as they count for us, without those of somebody else's
    /// goods. A place that nobody has is taken for ours, since it may not be entered
    /// yet, unless the lot was sent to us from there.
    pub fn seen(&self, lines: Vec<Movement>, senders: &BTreeSet<String>) -> Vec<Movement> {
        lines.into_iter().filter_map(|line| self.one(line, senders)).collect()
    }

    fn one(&self, mut line: Movement, senders: &BTreeSet<String>) -> Option<Movement> {
        let place = line.place.as_ref();
        let with_us = place.is_some_and(|gln| self.ours.contains(gln));
        let there = place.filter(|_| !with_us);
        let customer = there.and_then(|gln| self.customers.get(gln)).copied();
        let supplier = there.and_then(|gln| self.suppliers.get(gln)).copied();
        let sender = there.is_some_and(|gln| senders.contains(gln));
        line.elsewhere = customer.is_some() || supplier.is_some() || sender;
        match line.role {
            // Whoever fills it elsewhere may add to what is in it.
            Role::Filled if !with_us => return None,
            Role::Received | Role::Accepted => {
                let from_us = self.is_ours(&line);
                // Who has the place may be entered later.
                if from_us && there.is_some() {
                    let reached = line.role == Role::Received;
                    line.role = if reached { Role::Reached } else { Role::Taken };
                    line.partner = place.map(|gln| format!("414/{gln}"));
                    line.parties = Vec::new();
                    self.name(&mut line, customer);
                    return Some(line);
                }
                // What comes from where a supplier is was collected there.
                let there = there.map(String::as_str);
                let collected = customer.is_none()
                    && parties(&line).filter_map(gln_of).any(|gln| Some(gln) == there);
                if line.elsewhere && !collected {
                    return None;
                }
                let known = partner(&line, &self.suppliers, &self.supplier_ids);
                line.internal = from_us && known.is_none();
                self.name(&mut line, known);
            }
            Role::Dispatched | Role::Departed | Role::Unshipped => {
                let buyer = self.buyer(&line);
                // What a supplier sends to a customer of ours may be sent for us.
                let for_us = customer.is_none() && buyer.is_some();
                let to_us = self.goes_to_us(&line);
                let theirs = customer.is_some() || supplier.is_some();
                if theirs && !for_us || to_us && !with_us {
                    return None;
                }
                line.internal = to_us;
                self.name(&mut line, buyer);
            }
            Role::Produced if line.elsewhere => line.role = Role::MadeElsewhere,
            Role::Consumed if line.elsewhere => line.role = Role::UsedElsewhere,
            Role::Wasted | Role::Found | Role::Missing if line.elsewhere => return None,
            Role::Unpacked | Role::Emptied => line.elsewhere = customer.is_some(),
            _ => {}
        }
        Some(line)
    }

    /// Names the partner by our id, whatever of their GLNs the event has, and whoever
    /// else it names by an id that is none of ours.
    fn name(&self, line: &mut Movement, known: Option<Id>) {
        let by_id = line.partner.as_ref().and_then(|key| key.strip_prefix(OURS)?.parse().ok());
        let is_ours = |id: &Id| self.customer_ids.contains(id) || self.supplier_ids.contains(id);
        if let Some(id) = known.filter(|_| !by_id.as_ref().is_some_and(is_ours)) {
            line.partner = Some(format!("{OURS}{id}"));
        }
    }

    /// The customer whom a line names, or who has the place where goods are then.
    fn buyer(&self, line: &Movement) -> Option<Id> {
        let named = partner(line, &self.customers, &self.customer_ids);
        let there = || self.customers.get(line.afterwards.as_ref()?).copied();
        named.or_else(there)
    }

    /// Whether what leaves goes to a site of ours. Goods that lie with us and are a
    /// customer's have left.
    fn goes_to_us(&self, line: &Movement) -> bool {
        self.is_ours(line) && self.buyer(line).is_none()
    }

    /// Whether the other end of a line is ours: the place if it names one, else
    /// anybody. A carrier has the goods meanwhile.
    fn is_ours(&self, line: &Movement) -> bool {
        match &line.other_place {
            Some(gln) => self.ours.contains(gln),
            None => parties(line).filter_map(gln_of).any(|gln| self.ours.contains(gln)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::line;

    use Role::{
        Accepted, Consumed, Departed, Dispatched, Filled, Found, MadeElsewhere, Missing, Packed,
        Produced, Reached, Received, Taken, Unshipped, UsedElsewhere, Wasted,
    };

    /// Ids are in the order of these names.
    const NAMES: [&str; 4] = ["shop", "both", "trader", "farm"];

    fn id(name: &str) -> Id {
        let index = NAMES.iter().position(|one| *one == name).unwrap();
        Id::from_u128(index.try_into().unwrap())
    }

    fn urn(name: &str) -> String {
        format!("{OURS}{}", id(name))
    }

    fn known() -> Places {
        let with_ids =
            |glns: &[&str]| glns.iter().map(|gln| ((*gln).to_owned(), id(gln))).collect();
        Places {
            ours: ["dairy", "depot", "both"].map(str::to_owned).into(),
            customers: with_ids(&["shop", "both", "trader"]),
            suppliers: with_ids(&["farm", "trader"]),
            customer_ids: ["shop", "trader"].map(id).into(),
            supplier_ids: ["farm", "trader"].map(id).into(),
        }
    }

    /// A line at a place with these parties at the other end.
    fn told(role: Role, place: &str, others: &[&str]) -> Movement {
        let key = |one: &&str| {
            if one.starts_with(OURS) { (*one).to_owned() } else { format!("414/{one}") }
        };
        let mut keys = others.iter().map(key);
        Movement {
            place: Some(place.to_owned()).filter(|place| !place.is_empty()),
            partner: keys.next(),
            parties: keys.collect(),
            ..line(1, "lot", role)
        }
    }

    /// What counts of it, and whether it stayed with us.
    fn seen(role: Role, place: &str, others: &[&str]) -> Option<(Role, bool)> {
        let found = known().seen(vec![told(role, place, others)], &BTreeSet::new()).pop();
        found.map(|line| (line.role, line.internal))
    }

    /// Whom it came from or went to.
    fn partner(role: Role, place: &str, others: &[&str]) -> Option<String> {
        known().seen(vec![told(role, place, others)], &BTreeSet::new()).pop()?.partner
    }

    #[test]
    fn what_partners_did_with_a_lot_is_not_our_stock() {
        for theirs in ["shop", "farm", "trader"] {
            for role in [Received, Accepted, Wasted, Found, Missing, Filled] {
                assert_eq!(seen(role, theirs, &[]), None, "{role:?} {theirs}");
            }
            assert_eq!(seen(Produced, theirs, &[]), Some((MadeElsewhere, false)));
            assert_eq!(seen(Consumed, theirs, &[]), Some((UsedElsewhere, false)));
            for role in [Dispatched, Departed, Unshipped] {
                for to in [&[][..], &["dairy"], &["unknown"], &["farm"]] {
                    assert_eq!(seen(role, theirs, to), None, "{role:?} {theirs} {to:?}");
                }
            }
        }
        // Milk is collected at the farm.
        for role in [Received, Accepted] {
            assert_eq!(seen(role, "farm", &["farm"]), Some((role, false)));
            assert_eq!(seen(role, "farm", &["other", "farm"]), Some((role, false)));
            assert_eq!(seen(role, "farm", &["shop"]), None);
            // A customer's goods go from their dock to their store.
            assert_eq!(seen(role, "shop", &["shop"]), None);
        }
        // What holds goods may be anywhere.
        assert_eq!(seen(Packed, "shop", &[]), Some((Packed, false)));
    }

    #[test]
    fn what_is_ours_or_nobodys_place_counts() {
        // A customer of the same GLN takes nothing from us.
        for place in ["dairy", "both", "unknown", ""] {
            for role in [Received, Accepted, Dispatched, Departed, Unshipped, Produced, Consumed] {
                assert_eq!(seen(role, place, &[]), Some((role, false)), "{role:?} {place}");
            }
            for role in [Wasted, Found, Missing] {
                assert_eq!(seen(role, place, &[]), Some((role, false)), "{role:?} {place}");
            }
        }
        assert_eq!(seen(Filled, "dairy", &[]), Some((Filled, false)));
        assert_eq!(seen(Filled, "unknown", &[]), None);
    }

    #[test]
    fn what_a_supplier_sends_to_our_customer_may_be_ours() {
        let (shop, farm, trader) = (urn("shop"), urn("farm"), urn("trader"));
        for to in [&["shop"][..], &["unknown", "shop"], &[&*shop]] {
            assert_eq!(seen(Dispatched, "farm", to), Some((Dispatched, false)), "{to:?}");
            assert_eq!(partner(Dispatched, "farm", to), Some(urn("shop")), "{to:?}");
        }
        assert_eq!(seen(Dispatched, "farm", &[&farm]), None);
        for (place, others, asked) in [
            ("farm", &["unknown", &*trader][..], &["trader"][..]),
            ("unknown", &[&*farm], &["farm"]),
            ("dairy", &["depot", &*shop], &["shop"]),
            // An entry of ours.
            ("dairy", &[&*farm], &[]),
            ("", &[&*farm], &[]),
        ] {
            let asked: Vec<Id> = asked.iter().map(|name| id(name)).collect();
            assert_eq!(known().open_ids(&told(Dispatched, place, others)), asked, "{others:?}");
        }
        // Who is a customer sends what was sent there.
        assert_eq!(seen(Dispatched, "trader", &["shop"]), None);
        assert_eq!(seen(Dispatched, "shop", &["trader"]), None);
    }

    #[test]
    fn what_a_customer_received_from_us_was_dispatched() {
        for (role, told) in [(Received, Reached), (Accepted, Taken)] {
            for from in [&["dairy"][..], &["unknown", "depot"]] {
                assert_eq!(seen(role, "shop", from), Some((told, false)), "{role:?} {from:?}");
                assert_eq!(partner(role, "shop", from), Some(urn("shop")));
            }
            assert_eq!(partner(role, "farm", &["dairy"]), Some("414/farm".into()));
            assert_eq!(seen(role, "shop", &["unknown"]), None);
            // Nobody has the place, as yet.
            assert_eq!(seen(role, "unknown", &["dairy"]), Some((told, false)));
            assert_eq!(partner(role, "unknown", &["dairy"]), Some("414/unknown".into()));
        }
    }

    #[test]
    fn partners_are_known_by_any_of_their_glns() {
        assert_eq!(partner(Dispatched, "dairy", &["unknown", "shop"]), Some(urn("shop")));
        assert_eq!(partner(Departed, "dairy", &["shop"]), Some(urn("shop")));
        assert_eq!(partner(Unshipped, "dairy", &["shop"]), Some(urn("shop")));
        // The ledger names suppliers of what arrives, and customers of what leaves.
        assert_eq!(partner(Dispatched, "dairy", &["farm"]), Some("414/farm".into()));
        assert_eq!(partner(Received, "dairy", &["unknown", "farm"]), Some(urn("farm")));
        assert_eq!(partner(Received, "dairy", &["shop"]), Some("414/shop".into()));
        assert_eq!(partner(Received, "dairy", &["unknown"]), Some("414/unknown".into()));
        // By where goods are then, and not by an id of somebody else's.
        let there = Movement { afterwards: Some("shop".into()), ..told(Dispatched, "dairy", &[]) };
        let found = known().seen(vec![there], &BTreeSet::new()).pop();
        assert_eq!(found.and_then(|line| line.partner), Some(urn("shop")));
        let stranger = format!("{OURS}{}", Id::from_u128(99));
        assert_eq!(partner(Dispatched, "dairy", &[&stranger, "shop"]), Some(urn("shop")));
        // Whom an entry names by id it names.
        let trader = urn("trader");
        assert_eq!(partner(Dispatched, "dairy", &[&trader, "shop"]), Some(trader.clone()));
    }

    #[test]
    fn goods_between_our_sites_have_not_left() {
        for role in [Dispatched, Departed, Unshipped] {
            for to in [&["depot"][..], &["depot", "dairy"], &["carrier", "depot"]] {
                assert_eq!(seen(role, "dairy", to), Some((role, true)), "{role:?} {to:?}");
            }
            // Consignment: they lie with us and are a customer's.
            let shop = urn("shop");
            for to in [&["depot", "shop"][..], &["shop", "depot"], &["both"], &["depot", &*shop]] {
                assert_eq!(seen(role, "dairy", to), Some((role, false)), "{role:?} {to:?}");
            }
            // From nobody knows where to us: an arrival that another event tells.
            assert_eq!(seen(role, "", &["depot"]), None);
            assert_eq!(seen(role, "unknown", &["depot"]), None);
            // To somebody's place, though we still own it.
            let away = Movement {
                other_place: Some("unknown".into()),
                ..told(role, "dairy", &["dairy", "unknown"])
            };
            let found = known().seen(vec![away], &BTreeSet::new()).pop();
            assert!(found.is_some_and(|line| !line.internal), "{role:?}");
        }
        for role in [Received, Accepted] {
            for from in [&["dairy"][..], &["carrier", "dairy"]] {
                assert_eq!(seen(role, "depot", from), Some((role, true)), "{role:?} {from:?}");
            }
            assert_eq!(seen(role, "", &["dairy"]), Some((role, true)));
            assert_eq!(seen(role, "depot", &["dairy", "farm"]), Some((role, false)));
            assert_eq!(seen(role, "depot", &["dairy", &*urn("farm")]), Some((role, false)));
            assert_eq!(seen(role, "depot", &["farm"]), Some((role, false)));
            assert_eq!(seen(role, "unknown", &["farm"]), Some((role, false)));
        }
    }

    #[test]
    fn where_goods_are_sent_to_us_from_is_no_place_of_ours() {
        let lines = vec![
            told(Produced, "unknown", &[]),
            told(Dispatched, "unknown", &["dairy"]),
            told(Dispatched, "unknown", &["others"]),
            told(Received, "dairy", &["unknown"]),
            told(Produced, "another", &[]),
        ];
        let senders = known().senders(&lines);
        assert_eq!(senders, BTreeSet::from(["unknown".to_owned()]));
        let found = known().seen(lines, &senders);
        let found: Vec<(Role, bool)> =
            found.iter().map(|line| (line.role, line.elsewhere)).collect();
        // Whoever else got it from there may have got it from us.
        let expected =
            [(MadeElsewhere, true), (Dispatched, true), (Received, false), (Produced, false)];
        assert_eq!(found, expected);
    }
}
