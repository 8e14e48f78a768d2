//! Movements as they are kept: where an event says the same of several lots, such
//! as items by their serials, once for all of them. docs/adr/0046 has the reasons.

use keystone::Problem;
use keystone::http::Call;
use keystone::tenant::{Entity, Id, Part, schema};
use serde::{Deserialize, Serialize};

use crate::movement::Movement;

/// Most lots of one posting: a reader of one of them reads all their keys.
const TOGETHER: usize = 20;

/// A posting of the ledger: movements of one event that differ in their lot only.
pub type Posting = Movement<Lots>;

/// The keys of the lots of a posting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Lots {
    /// One lot.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Lots {
    /// Their keys.
    pub fn keys(&self) -> &[String] {
        match self {
            Self::One(key) => std::slice::from_ref(key),
            Self::Several(keys) => keys,
        }
    }
}

impl From<Vec<String>> for Lots {
    fn from(mut keys: Vec<String>) -> Self {
        match keys.pop() {
            Some(key) if keys.is_empty() => Self::One(key),
            last => Self::Several(keys.into_iter().chain(last).collect()),
        }
    }
}

impl Entity for Posting {
    const COLLECTION: &'static schema::Collection = &schema::LOT_MOVEMENTS;
    const RESOURCE: &'static str = "lot_movement";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Part for Posting {
    type Of = Self;
    const FIELDS: &'static [&'static str] = &[
        "event_id",
        "lot",
        "role",
        "quantity",
        "unit",
        "partner",
        "parties",
        "at",
        "others",
        "transformation",
        "place",
        "other_place",
        "afterwards",
        "withdrawn_by",
    ];
}

impl Posting {
    /// The movements of those of its lots that are `wanted`.
    pub fn movements(self, wanted: impl Fn(&str) -> bool) -> Vec<Movement> {
        match self.lot {
            Lots::One(ref key) if !wanted(key) => Vec::new(),
            Lots::One(ref key) => {
                let key = key.clone();
                vec![self.of(key).1]
            }
            Lots::Several(_) => {
                let (keys, rest) = self.of(());
                let keys = keys.keys().iter().filter(|key| wanted(key));
                keys.map(|key| rest.clone().of(key.clone()).1).collect()
            }
        }
    }
}

/// The postings of these movements, with new ids.
///
/// # Errors
/// [`Problem::Internal`] when there are no random numbers.
pub fn posted(call: &Call, lines: Vec<Movement>) -> Result<Vec<(Id, Posting)>, Problem> {
    together(lines).into_iter().map(|posting| Ok((call.new_id()?, posting))).collect()
}

/// Movements that follow each other and differ in their lot only.
fn together(lines: Vec<Movement>) -> Vec<Posting> {
    let mut all: Vec<(Vec<String>, Movement<()>)> = Vec::new();
    for line in lines {
        let (lot, rest) = line.of(());
        match all.last_mut() {
            Some((lots, last)) if lots.len() < TOGETHER && *last == rest => lots.push(lot),
            _ => all.push((vec![lot], rest)),
        }
    }
    all.into_iter().map(|(lots, rest)| rest.of(lots.into()).1).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::movement::Role;

    fn item(lot: &str) -> Movement {
        let quantity = Some(1.into());
        let line = Movement::new(Id::from_u128(1), lot, Role::Received, Timestamp::UNIX_EPOCH);
        Movement { quantity, partner: Some("414/4000001000050".into()), ..line }
    }

    #[test]
    fn what_is_said_of_several_lots_is_kept_once_and_read_for_each() {
        let other = Movement { quantity: Some(2.into()), ..item("c") };
        let lines = vec![item("a"), item("b"), item("b"), other, item("d")];
        let postings = together(lines.clone());
        let keys: Vec<&[String]> = postings.iter().map(|posting| posting.lot.keys()).collect();
        assert_eq!(keys, [&["a", "b", "b"][..], &["c"], &["d"]]);
        let read = |wanted: fn(&str) -> bool| -> Vec<Movement> {
            postings.iter().cloned().flat_map(|posting| posting.movements(wanted)).collect()
        };
        assert_eq!(read(|_| true), lines);
        assert_eq!(read(|lot| lot == "b"), lines[1..3]);
        assert_eq!(read(|lot| lot == "c"), lines[3..4]);
    }

    #[test]
    fn one_lot_is_kept_as_its_key_and_several_as_a_list() {
        let said = |lots: &[&str]| {
            let lots: Vec<String> = lots.iter().map(|lot| (*lot).to_owned()).collect();
            serde_json::to_value(Lots::from(lots)).unwrap()
        };
        assert_eq!(said(&["a"]), "a");
        assert_eq!(said(&["b", "a"]), serde_json::json!(["b", "a"]));
    }

    #[test]
    fn a_posting_has_so_many_lots_and_no_more() {
        let lines: Vec<Movement> = (0..=TOGETHER).map(|n| item(&n.to_string())).collect();
        let sizes =
            together(lines).iter().map(|posting| posting.lot.keys().len()).collect::<Vec<_>>();
        assert_eq!(sizes, [TOGETHER, 1]);
    }
}
