//! Whose business an event is: partners tell in their documents what they did
//! with the same lots, and goods go from one site of ours to another.
//! docs/adr/0045 has the reasons.

use std::collections::BTreeSet;

use crate::epcis::epc::gln_of;
use crate::movement::{Movement, Role};

/// Which GLNs are those of our sites, of our customers and of our suppliers.
#[derive(Default)]
pub(crate) struct Places {
    pub ours: BTreeSet<String>,
    pub customers: BTreeSet<String>,
    pub suppliers: BTreeSet<String>,
}

/// The GLNs that decide whose business a line is.
pub(crate) fn glns(line: &Movement) -> impl Iterator<Item = &str> {
    line.place.as_deref().into_iter().chain(other_side(line).filter_map(gln_of))
}

/// The keys of all that a line names at the other end.
fn other_side(line: &Movement) -> impl Iterator<Item = &str> {
    line.partner.iter().chain(&line.parties).map(String::as_str)
}

impl Places {
    /// Adds what is known of further places.
    pub fn extend(&mut self, more: Self) {
        self.ours.extend(more.ours);
        self.customers.extend(more.customers);
        self.suppliers.extend(more.suppliers);
    }

    /// A line as it counts for us; `None` if it is of somebody else's goods. A place
    /// that nobody has is taken for ours: it may not be entered yet.
    pub fn seen(&self, mut line: Movement) -> Option<Movement> {
        let place = line.place.as_deref();
        let with_us = place.is_some_and(|gln| self.ours.contains(gln));
        let among =
            |whose: &BTreeSet<String>| !with_us && place.is_some_and(|gln| whose.contains(gln));
        let (customers, suppliers) = (among(&self.customers), among(&self.suppliers));
        let theirs = customers || suppliers;
        match line.role {
            // Whoever fills it elsewhere may add to what is in it.
            Role::Filled => return with_us.then_some(line),
            Role::Received | Role::Accepted => {
                let sender = line.partner.as_deref().and_then(gln_of);
                let from_us = sender.is_some_and(|gln| self.ours.contains(gln));
                // Who comes from the place where they take over what is there collects it.
                let collected = other_side(&line).filter_map(gln_of).any(|gln| Some(gln) == place);
                let with_others = place.is_some() && !with_us && from_us;
                if theirs && !collected || with_others {
                    return None;
                }
                line.internal = self.is_ours(&line);
            }
            Role::Dispatched | Role::Departed | Role::Unshipped => {
                // What a supplier sends to a customer of ours may be sent for us.
                let for_us = !customers && self.is_customer(&line);
                let to_us = self.is_ours(&line);
                if theirs && !for_us || to_us && !with_us {
                    return None;
                }
                line.internal = to_us;
            }
            Role::Produced if theirs => line.role = Role::MadeElsewhere,
            Role::Consumed if theirs => line.role = Role::UsedElsewhere,
            Role::Wasted | Role::Found | Role::Missing if theirs => return None,
            _ => {}
        }
        Some(line)
    }

    /// Whether all that a line names at the other end is ours. Goods that lie with us
    /// and are a customer's have left.
    fn is_ours(&self, line: &Movement) -> bool {
        let ours = |key: &str| gln_of(key).is_some_and(|gln| self.ours.contains(gln));
        line.partner.is_some() && other_side(line).all(ours)
    }

    fn is_customer(&self, line: &Movement) -> bool {
        other_side(line).filter_map(gln_of).any(|gln| self.customers.contains(gln))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::line;

    use Role::{
        Accepted, Consumed, Departed, Dispatched, Filled, Found, MadeElsewhere, Missing, Packed,
        Produced, Received, Unshipped, UsedElsewhere, Wasted,
    };

    fn known() -> Places {
        let set = |glns: &[&str]| glns.iter().map(|gln| (*gln).to_owned()).collect();
        Places {
            ours: set(&["dairy", "depot", "both"]),
            customers: set(&["shop", "both", "trader"]),
            suppliers: set(&["farm", "trader"]),
        }
    }

    /// What counts of a line at a place with these at the other end, and whether it
    /// stayed with us.
    fn seen(role: Role, place: &str, others: &[&str]) -> Option<(Role, bool)> {
        let mut keys = others.iter().map(|gln| format!("414/{gln}"));
        let line = Movement {
            place: Some(place.to_owned()).filter(|place| !place.is_empty()),
            partner: keys.next(),
            parties: keys.collect(),
            ..line(1, "lot", role)
        };
        known().seen(line).map(|line| (line.role, line.internal))
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
        assert_eq!(seen(Dispatched, "farm", &["shop"]), Some((Dispatched, false)));
        assert_eq!(seen(Dispatched, "farm", &["unknown", "shop"]), Some((Dispatched, false)));
        // Who is a customer sends what was sent there.
        assert_eq!(seen(Dispatched, "trader", &["shop"]), None);
        assert_eq!(seen(Dispatched, "shop", &["trader"]), None);
    }

    #[test]
    fn goods_between_our_sites_have_not_left() {
        for role in [Dispatched, Departed, Unshipped] {
            assert_eq!(seen(role, "dairy", &["depot"]), Some((role, true)));
            assert_eq!(seen(role, "dairy", &["depot", "dairy"]), Some((role, true)));
            // Consignment: they lie with us and are a customer's.
            assert_eq!(seen(role, "dairy", &["depot", "shop"]), Some((role, false)));
            assert_eq!(seen(role, "dairy", &["shop", "depot"]), Some((role, false)));
            assert_eq!(seen(role, "dairy", &["depot", "unknown"]), Some((role, false)));
            // From nobody knows where to us: an arrival that another event tells.
            assert_eq!(seen(role, "", &["depot"]), None);
            assert_eq!(seen(role, "unknown", &["depot"]), None);
        }
        for role in [Received, Accepted] {
            assert_eq!(seen(role, "depot", &["dairy"]), Some((role, true)));
            assert_eq!(seen(role, "", &["dairy"]), Some((role, true)));
            assert_eq!(seen(role, "depot", &["dairy", "farm"]), Some((role, false)));
            assert_eq!(seen(role, "depot", &["farm"]), Some((role, false)));
            // What we sent to a place that nobody has arrived there.
            assert_eq!(seen(role, "unknown", &["dairy"]), None);
            assert_eq!(seen(role, "unknown", &["farm"]), Some((role, false)));
        }
    }
}
