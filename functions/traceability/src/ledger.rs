//! Reading the ledger of lots: all lines of a lot, or the word that there are
//! more than can be read. docs/adr/0033 has the reasons.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use jiff::Timestamp;
use keystone::Problem;
use keystone::tenant::{Filter, Id, Tenant, WriteTx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contents::{Contents, holders};
use crate::movement::{Movement, Role, in_force};

/// How many values one query looks for; see [`crate::capture`].
pub const LOOKED_UP: usize = 64;
/// How many queries run at once: as many as there are connections.
pub const AT_ONCE: usize = 4;
/// Most lines that one answer is made of: what a function's memory holds.
pub const LINES: usize = 100_000;
/// Most lines of one of the queries that run at once. Where there are more, the
/// lots are asked for one by one.
const AT_A_TIME: usize = 25_000;
/// Most links of one transformation, in one event or several: inputs times
/// outputs.
pub const LINKS: usize = 100_000;
/// Most units that hold each the one before.
pub const NESTED: usize = 16;

/// Why an answer does not hold all there is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The steps that were asked for, 50 at most.
    Depth,
    /// 20,000 lots.
    Lots,
    /// 100,000 lines of the ledger. What could not be read is left out with all
    /// its amounts.
    Lines,
    /// 100,000 links of one transformation: of its parts in several events only
    /// those of the same event are linked.
    Links,
    /// 16 units that hold each the one before: what became of those beyond is not
    /// known.
    Nesting,
    /// 10,000 batches with the same lot numbers: some lots are without the name
    /// of their product or without their place.
    Names,
}

/// Where lines are read: outside a transaction several queries at once, in one
/// of them one after the other.
pub(crate) trait Source {
    /// For each of the `parts`, the lines whose `field` has one of its values,
    /// recorded at `as_of` at the latest, and at most `limit` of them.
    async fn lines(
        &mut self,
        field: &'static str,
        parts: &[Vec<String>],
        as_of: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Vec<(Id, Movement)>>, Problem>;
}

fn filter(field: &'static str, values: &[String], as_of: Option<Timestamp>) -> Filter {
    let filter = Filter::all().any(field, values.to_vec());
    match as_of {
        Some(as_of) => filter.made_until(as_of),
        None => filter,
    }
}

/// What a line has in one of the fields that are asked for.
fn value(field: &'static str, line: &Movement) -> Option<String> {
    match field {
        "lot" => Some(line.lot.clone()),
        "event_id" => Some(line.event_id.to_string()),
        _ => line.transformation.clone(),
    }
}

impl Source for &Tenant {
    async fn lines(
        &mut self,
        field: &'static str,
        parts: &[Vec<String>],
        as_of: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Vec<(Id, Movement)>>, Problem> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = parts.iter().map(|values| self.parts(filter(field, values, as_of), limit));
        Ok(try_join_all(found).await?)
    }
}

impl Source for WriteTx<'_> {
    async fn lines(
        &mut self,
        field: &'static str,
        parts: &[Vec<String>],
        as_of: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Vec<(Id, Movement)>>, Problem> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut found = Vec::with_capacity(parts.len());
        for values in parts {
            found.push(self.parts(filter(field, values, as_of), limit).await?);
        }
        Ok(found)
    }
}

/// The part of the ledger that was read.
#[derive(Default)]
pub struct Ledger {
    /// What is believed when; now if absent.
    as_of: Option<Timestamp>,
    /// The lines in force of each lot.
    lines: BTreeMap<String, Vec<Movement>>,
    /// Those of each transformation that may have several events.
    transformations: BTreeMap<String, Transformation>,
    /// How many lines that is.
    held: usize,
    /// How many queries it took.
    pub queries: u32,
    /// What was left out for which reason.
    pub limits: BTreeSet<Limit>,
}

/// What the events that name the same transformation say together (EPCIS 2.0
/// §7.4.6): each may give a part of the inputs and a part of the outputs.
#[derive(Default)]
struct Transformation {
    inputs: BTreeSet<String>,
    outputs: BTreeSet<String>,
}

impl Transformation {
    fn of(lines: &[Movement]) -> Self {
        let of_role = |role: Role| -> BTreeSet<String> {
            lines.iter().filter(|line| line.role == role).map(|line| line.lot.clone()).collect()
        };
        Self { inputs: of_role(Role::Consumed), outputs: of_role(Role::Produced) }
    }

    fn links(&self) -> usize {
        self.inputs.len().saturating_mul(self.outputs.len())
    }

    /// The lots on the other side of a line, beside those of its own event. What
    /// went in and came out again is no step.
    fn across<'t>(&'t self, line: &'t Movement) -> impl Iterator<Item = &'t String> {
        let others = if line.role == Role::Consumed { &self.outputs } else { &self.inputs };
        others.iter().filter(|other| **other != line.lot && !line.others.contains(other))
    }
}

impl Ledger {
    /// Of which nothing was read, for what was believed at `as_of`; now if
    /// absent.
    pub fn new(as_of: Option<Timestamp>) -> Self {
        Self { as_of, ..Self::default() }
    }

    /// Reads what is not known yet of these lots; false when that is more than
    /// can be held, and then nothing of them is.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub(crate) async fn read(
        &mut self,
        source: &mut impl Source,
        lots: &[String],
    ) -> Result<bool, Problem> {
        let mut wanted: BTreeSet<String> = lots.iter().cloned().collect();
        for level in 0.. {
            wanted.retain(|lot| !self.lines.contains_key(lot));
            if wanted.is_empty() {
                break;
            }
            if level > NESTED {
                self.limits.insert(Limit::Nesting);
                break;
            }
            let Some(read) = self.fetch(source, "lot", wanted).await? else {
                return Ok(self.leave_out(lots));
            };
            // Where a lot went, what holds it went.
            let holders = read.values().flat_map(|lines| holders(lines));
            wanted = holders.cloned().collect();
            self.lines.extend(read);
        }
        self.join(source, lots).await
    }

    /// Reads the transformations that these lots take part in.
    async fn join(&mut self, source: &mut impl Source, lots: &[String]) -> Result<bool, Problem> {
        let named: BTreeSet<String> = lots
            .iter()
            .flat_map(|lot| self.lines.get(lot).into_iter().flatten())
            .filter_map(|line| line.transformation.clone())
            .filter(|name| !self.transformations.contains_key(name))
            .collect();
        let Some(read) = self.fetch(source, "transformation", named).await? else {
            return Ok(self.leave_out(lots));
        };
        for (name, lines) in read {
            let mut whole = Transformation::of(&lines);
            if whole.links() > LINKS {
                self.limits.insert(Limit::Links);
                whole = Transformation::default();
            }
            self.transformations.insert(name, whole);
        }
        Ok(true)
    }

    /// The lines of each of the transformations that these lines are of, its parts
    /// in several events together; `None` when they are more than can be held.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub(crate) async fn transformations(
        &mut self,
        source: &mut impl Source,
        lines: &[&Movement],
    ) -> Result<Option<Vec<Vec<Movement>>>, Problem> {
        let named = lines.iter().filter_map(|line| line.transformation.clone()).collect();
        let alone = lines.iter().filter(|line| line.transformation.is_none());
        let alone = alone.map(|line| line.event_id.to_string()).collect();
        let mut all = Vec::new();
        for (field, values) in [("transformation", named), ("event_id", alone)] {
            let Some(read) = self.fetch(source, field, values).await? else {
                self.limits.insert(Limit::Lines);
                return Ok(None);
            };
            all.extend(read.into_values());
        }
        Ok(Some(all))
    }

    /// Forgets these lots, of which not everything can be held.
    fn leave_out(&mut self, lots: &[String]) -> bool {
        self.limits.insert(Limit::Lines);
        for lot in lots {
            self.lines.remove(lot);
        }
        false
    }

    /// The lines in force by the value that their `field` has, also where there
    /// are none; `None` when they are more than can be held.
    async fn fetch(
        &mut self,
        source: &mut impl Source,
        field: &'static str,
        values: BTreeSet<String>,
    ) -> Result<Option<BTreeMap<String, Vec<Movement>>>, Problem> {
        let (mut found, mut large) = (Vec::new(), Vec::new());
        let all: Vec<String> = values.iter().cloned().collect();
        let parts: Vec<Vec<String>> = all.chunks(LOOKED_UP).map(<[String]>::to_vec).collect();
        for some in parts.chunks(AT_ONCE) {
            self.asked(some.len());
            let answers = source.lines(field, some, self.as_of, AT_A_TIME + 1).await?;
            for (values, lines) in some.iter().zip(answers) {
                if lines.len() > AT_A_TIME {
                    large.extend(values.iter().cloned());
                } else {
                    found.extend(in_force(lines, self.as_of));
                }
            }
            if self.held + found.len() > LINES {
                return Ok(None);
            }
        }
        for value in large {
            let room = LINES.saturating_sub(self.held + found.len());
            self.asked(1);
            let answer = source.lines(field, &[vec![value]], self.as_of, room + 1).await?;
            for lines in answer {
                if lines.len() > room {
                    return Ok(None);
                }
                found.extend(in_force(lines, self.as_of));
            }
        }
        self.held += found.len();
        let mut by_value: BTreeMap<String, Vec<Movement>> =
            values.into_iter().map(|value| (value, Vec::new())).collect();
        for line in found {
            if let Some(lines) = value(field, &line).and_then(|value| by_value.get_mut(&value)) {
                lines.push(line);
            }
        }
        Ok(Some(by_value))
    }

    fn asked(&mut self, queries: usize) {
        self.queries = self.queries.saturating_add(u32::try_from(queries).unwrap_or(u32::MAX));
    }

    /// The lots that were read with their lines, those among them that follow from
    /// what they were in, and each with all the lots on its other side.
    pub fn whole<'l>(
        &'l self,
        lots: &'l [String],
    ) -> impl Iterator<Item = (String, Vec<Movement>)> + 'l {
        let mut contents = Contents::new(&self.lines);
        lots.iter().map(move |lot| {
            let mut lines = self.lines.get(lot).cloned().unwrap_or_default();
            for line in &mut lines {
                let id = line.transformation.as_ref();
                let parts = id.and_then(|id| self.transformations.get(id));
                let further: Vec<String> =
                    parts.into_iter().flat_map(|parts| parts.across(line)).cloned().collect();
                line.others.extend(further);
            }
            lines.extend(contents.carried(lot));
            (lot.clone(), lines)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use futures::FutureExt;

    use super::*;

    /// A ledger in memory, with how many lines each query may give.
    pub(crate) struct Kept(pub(crate) Vec<(Id, Movement)>);

    impl Source for Kept {
        async fn lines(
            &mut self,
            field: &'static str,
            parts: &[Vec<String>],
            as_of: Option<Timestamp>,
            limit: usize,
        ) -> Result<Vec<Vec<(Id, Movement)>>, Problem> {
            let fits = |(id, line): &&(Id, Movement), values: &[String]| {
                as_of.is_none_or(|as_of| id.made_at() <= as_of)
                    && value(field, line).is_some_and(|value| values.contains(&value))
            };
            let of = |values: &Vec<String>| {
                self.0.iter().filter(|line| fits(line, values)).take(limit).cloned().collect()
            };
            Ok(parts.iter().map(of).collect())
        }
    }

    /// A ledger that has read these lots.
    pub(crate) fn read(kept: &mut Kept, as_of: Option<Timestamp>, lots: &[&str]) -> Ledger {
        let mut ledger = Ledger::new(as_of);
        let lots: Vec<String> = lots.iter().map(|lot| (*lot).to_owned()).collect();
        ledger.read(kept, &lots).now_or_never().unwrap().unwrap();
        ledger
    }

    /// The lines of one lot.
    pub(crate) fn of(ledger: &Ledger, lot: &str) -> Vec<Movement> {
        ledger.whole(&[lot.to_owned()]).flat_map(|(_, lines)| lines).collect()
    }

    pub(crate) fn line(event: u128, lot: &str, role: Role) -> Movement {
        Movement {
            event_id: Id::from_u128(event),
            lot: lot.into(),
            role,
            quantity: Some(rust_decimal::Decimal::ONE),
            unit: "KGM".into(),
            partner: None,
            at: Timestamp::UNIX_EPOCH,
            others: Vec::new(),
            transformation: None,
            withdrawn_by: None,
            within: None,
        }
    }

    pub(crate) fn recorded(lines: Vec<Movement>) -> Kept {
        Kept(lines.into_iter().map(|line| (Id::first_of(Timestamp::UNIX_EPOCH), line)).collect())
    }

    fn part(event: u128, lot: &str, role: Role) -> Movement {
        Movement { transformation: Some("urn:x:vat-7".into()), ..line(event, lot, role) }
    }

    #[test]
    fn what_went_in_in_one_event_became_what_came_out_in_another() {
        let mut lines = vec![
            part(1, "milk", Role::Consumed),
            part(2, "rennet", Role::Consumed),
            part(3, "cheese", Role::Produced),
            // What goes in again is no step to itself.
            part(3, "milk", Role::Produced),
            Movement {
                transformation: Some("urn:x:vat-8".into()),
                ..line(4, "other", Role::Produced)
            },
        ];
        let ledger = read(&mut recorded(lines.clone()), None, &["milk", "cheese", "other"]);
        let others = |ledger: &Ledger, lot| -> Vec<Vec<String>> {
            of(ledger, lot).into_iter().map(|line| line.others).collect()
        };
        assert_eq!(others(&ledger, "cheese"), [["milk", "rennet"]]);
        assert_eq!(others(&ledger, "milk"), [["cheese"], ["rennet"]]);
        assert_eq!(others(&ledger, "other"), [[""; 0]]);
        assert!(ledger.limits.is_empty());

        // What was withdrawn links nothing.
        lines.push(lines[0].withdrawn(Id::from_u128(9)));
        lines.push(lines[3].withdrawn(Id::from_u128(9)));
        lines.push(lines[2].withdrawn(Id::from_u128(9)));
        let ledger = read(&mut recorded(lines), None, &["rennet", "cheese"]);
        assert_eq!(others(&ledger, "rennet"), [[""; 0]]);
        assert!(of(&ledger, "cheese").is_empty());
    }

    #[test]
    fn what_holds_a_lot_is_read_with_it() {
        let packed = |thing: &str, holder: &str| Movement {
            others: vec![holder.into()],
            ..line(1, thing, Role::Packed)
        };
        let mut lines = vec![packed("lot", "case"), packed("case", "pallet")];
        lines.push(line(2, "pallet", Role::Dispatched));
        let ledger = read(&mut recorded(lines.clone()), None, &["lot"]);
        let found = of(&ledger, "lot");
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].role, found[1].within.as_deref()), (Role::Dispatched, Some("case")));
        assert_eq!(ledger.queries, 3);
        // The shipment was withdrawn.
        lines.push(lines[2].withdrawn(Id::from_u128(9)));
        assert_eq!(of(&read(&mut recorded(lines), None, &["lot"]), "lot").len(), 1);
        // More units in each other than anybody packs.
        let deep = (0..20).map(|n| packed(&n.to_string(), &(n + 1).to_string())).collect();
        let ledger = read(&mut recorded(deep), None, &["0"]);
        assert_eq!(ledger.limits, BTreeSet::from([Limit::Nesting]));
    }

    #[test]
    fn a_bound_that_is_met_is_said() {
        let many = |count: usize, lot: &str| vec![line(1, lot, Role::Received); count];
        // More than a query gives, but not more than can be held.
        let mut lines = many(AT_A_TIME, "a");
        lines.extend(many(7, "b"));
        let ledger = read(&mut recorded(lines), None, &["a", "b"]);
        assert_eq!((of(&ledger, "a").len(), of(&ledger, "b").len()), (AT_A_TIME, 7));
        assert!(ledger.limits.is_empty());
        // More than can be held: nothing rather than a part.
        let ledger = read(&mut recorded(many(LINES + 1, "a")), None, &["a", "b"]);
        assert!(of(&ledger, "a").is_empty());
        assert_eq!(ledger.limits, BTreeSet::from([Limit::Lines]));
        // A transformation of too many links keeps those of its own events.
        let side = |role: Role, name: &str| -> Vec<Movement> {
            (0..600).map(|index| part(1, &format!("{name}-{index}"), role)).collect()
        };
        let lines = [side(Role::Consumed, "in"), side(Role::Produced, "out")].concat();
        let ledger = read(&mut recorded(lines), None, &["in-0"]);
        assert_eq!(of(&ledger, "in-0")[0].others, [""; 0]);
        assert_eq!(ledger.limits, BTreeSet::from([Limit::Links]));
    }
}
