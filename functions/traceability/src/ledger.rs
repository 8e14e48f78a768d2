//! Reading the ledger of lots: all lines of a lot, or the word that there are
//! more than can be read. docs/adr/0033 has the reasons.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use futures::try_join;
use jiff::Timestamp;
use keystone::Problem;
use keystone::tenant::{Filter, Id, StoreError, Tenant, WriteTx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contents::{Contents, holders};
use crate::customer::Customer;
use crate::movement::{Movement, Role, in_force};
use crate::parts::{Gln, Known, parts_among};
use crate::places::{Places, glns};
use crate::posting::Posting;
use crate::site::Site;
use crate::steps::settled;
use crate::supplier::Supplier;

/// How many values one query looks for at least, where there are more.
pub const LOOKED_UP: usize = 64;
/// How many queries run at once: as many as there are connections.
pub const AT_ONCE: usize = 4;
/// Most lines that one answer is made of: what a function's memory holds.
pub const LINES: usize = 100_000;
/// Most lots that those lines name on their other side. Each line of a
/// transformation names all of them, so that few lines may fill the memory.
pub const NAMED: usize = 500_000;
/// Most lines of one of the queries that run at once, and most lots that they name.
/// Where there are more, its lots are asked for in halves.
const AT_A_TIME: usize = 25_000;
const NAMED_AT_A_TIME: usize = 125_000;
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
    /// 100,000 lines of the ledger, or 500,000 lots that they name on their other
    /// side. What could not be read is left out with all its amounts.
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
    /// 12,000 lots, links and dispatched lots of a recall: its links are left out,
    /// and no lot and nobody who got any is.
    FindingLinks,
}

/// How much may be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Lines.
    lines: usize,
    /// Lots that they name on their other side.
    named: usize,
}

impl Room {
    /// Whether these lines fit.
    fn holds(self, lines: &[(Id, Movement)]) -> bool {
        let named: usize = lines.iter().map(|(_, line)| beside(line)).sum();
        lines.len() <= self.lines && named <= self.named
    }

    /// How many lines are asked for: one more than fit, which says that there are
    /// more.
    fn asked_for(self) -> i64 {
        i64::try_from(self.lines).unwrap_or(i64::MAX).saturating_add(1)
    }
}

/// How many lots a line names on its other side.
fn beside(line: &Movement) -> usize {
    line.others.len()
}

/// Where lines are read: outside a transaction several queries at once, in one
/// of them one after the other.
pub(crate) trait Source {
    /// For each of the `parts`, the lines whose `field` has one of its values, which
    /// are sorted, recorded at `as_of` at the latest. Where they are more than there is room
    /// for, so many that they do not fit.
    async fn lines(
        &mut self,
        field: &'static str,
        parts: &[Vec<String>],
        as_of: Option<Timestamp>,
        room: Room,
    ) -> Result<Vec<Vec<(Id, Movement)>>, Problem>;

    /// Whose places these GLNs are.
    async fn places(&mut self, glns: BTreeSet<String>) -> Result<Places, Problem>;

    /// Which of these ids are those of customers, and which those of suppliers.
    async fn partners(&mut self, ids: BTreeSet<Id>) -> Result<[BTreeSet<Id>; 2], Problem>;
}

fn filter(field: &'static str, values: &[String], as_of: Option<Timestamp>) -> Filter {
    let filter = Filter::all().any(field, values.to_vec());
    match as_of {
        Some(as_of) => filter.made_until(as_of),
        None => filter,
    }
}

/// The lines of one query as they come.
struct Taking<'q> {
    field: &'static str,
    values: &'q [String],
    room: Room,
    lines: Vec<(Id, Movement)>,
    named: usize,
}

impl<'q> Taking<'q> {
    fn new(field: &'static str, values: &'q [String], room: Room) -> Self {
        Self { field, values, room, lines: Vec::new(), named: 0 }
    }

    /// Takes up a posting, of which other lots may not have been asked for; false
    /// once there is more than there is room for.
    fn takes(&mut self, id: Id, posting: Posting) -> bool {
        let (field, values) = (self.field, self.values);
        let asked = |lot: &str| values.binary_search_by(|value| value.as_str().cmp(lot)).is_ok();
        let wanted = |lot: &str| field != "lot" || asked(lot);
        for line in posting.movements(wanted) {
            self.named += beside(&line);
            self.lines.push((id, line));
        }
        self.lines.len() <= self.room.lines && self.named <= self.room.named
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

/// The single items of a lot that its lines name.
fn items(lines: &[Movement]) -> impl Iterator<Item = &String> {
    lines.iter().filter(|line| line.role == Role::Itemised).flat_map(|line| &line.others)
}

impl Source for &Tenant {
    async fn lines(
        &mut self,
        field: &'static str,
        parts: &[Vec<String>],
        as_of: Option<Timestamp>,
        room: Room,
    ) -> Result<Vec<Vec<(Id, Movement)>>, Problem> {
        let found = parts.iter().map(async |values| {
            let (filter, mut taking) =
                (filter(field, values, as_of), Taking::new(field, values, room));
            let limit = room.asked_for();
            self.each_part(filter, limit, |id, posting| taking.takes(id, posting)).await?;
            Ok::<_, StoreError>(taking.lines)
        });
        Ok(try_join_all(found).await?)
    }

    async fn places(&mut self, glns: BTreeSet<String>) -> Result<Places, Problem> {
        let (sites, customers, suppliers) = try_join!(
            parts_among::<Gln<Site>>(self, "gln", glns.clone()),
            parts_among::<Gln<Customer>>(self, "gln", glns.clone()),
            parts_among::<Gln<Supplier>>(self, "gln", glns),
        )?;
        Ok(Places {
            ours: sites.0.into_iter().map(|(_, site)| site.gln).collect(),
            customers: customers.0.into_iter().map(|(id, customer)| (customer.gln, id)).collect(),
            suppliers: suppliers.0.into_iter().map(|(id, supplier)| (supplier.gln, id)).collect(),
            ..Places::default()
        })
    }

    async fn partners(&mut self, ids: BTreeSet<Id>) -> Result<[BTreeSet<Id>; 2], Problem> {
        let ids: BTreeSet<String> = ids.iter().map(Id::to_string).collect();
        let (customers, suppliers) = try_join!(
            parts_among::<Known<Customer>>(self, "_id", ids.clone()),
            parts_among::<Known<Supplier>>(self, "_id", ids),
        )?;
        let customers = customers.0.into_iter().map(|(id, _)| id).collect();
        Ok([customers, suppliers.0.into_iter().map(|(id, _)| id).collect()])
    }
}

impl Source for WriteTx<'_> {
    async fn lines(
        &mut self,
        field: &'static str,
        parts: &[Vec<String>],
        as_of: Option<Timestamp>,
        room: Room,
    ) -> Result<Vec<Vec<(Id, Movement)>>, Problem> {
        let mut found = Vec::with_capacity(parts.len());
        for values in parts {
            let (filter, mut taking) =
                (filter(field, values, as_of), Taking::new(field, values, room));
            let limit = room.asked_for();
            self.each_part(filter, limit, |id, posting| taking.takes(id, posting)).await?;
            found.push(taking.lines);
        }
        Ok(found)
    }

    async fn places(&mut self, glns: BTreeSet<String>) -> Result<Places, Problem> {
        let (glns, mut places) = (glns.into_iter().collect::<Vec<_>>(), Places::default());
        for some in glns.chunks(LOOKED_UP) {
            let with = || Filter::all().any("gln", some.to_vec());
            let sites = self.parts::<Gln<Site>>(with(), i64::MAX).await?;
            let customers = self.parts::<Gln<Customer>>(with(), i64::MAX).await?;
            places.ours.extend(sites.into_iter().map(|(_, site)| site.gln));
            let suppliers = self.parts::<Gln<Supplier>>(with(), i64::MAX).await?;
            places.customers.extend(customers.into_iter().map(|(id, customer)| (customer.gln, id)));
            places.suppliers.extend(suppliers.into_iter().map(|(id, supplier)| (supplier.gln, id)));
        }
        Ok(places)
    }

    async fn partners(&mut self, ids: BTreeSet<Id>) -> Result<[BTreeSet<Id>; 2], Problem> {
        let ids: Vec<String> = ids.iter().map(Id::to_string).collect();
        let [mut customers, mut suppliers] = [BTreeSet::new(), BTreeSet::new()];
        for some in ids.chunks(LOOKED_UP) {
            let with = || Filter::all().any("_id", some.to_vec());
            let known = self.parts::<Known<Customer>>(with(), i64::MAX).await?;
            customers.extend(known.into_iter().map(|(id, _)| id));
            let known = self.parts::<Known<Supplier>>(with(), i64::MAX).await?;
            suppliers.extend(known.into_iter().map(|(id, _)| id));
        }
        Ok([customers, suppliers])
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
    /// How many lines that is, and how many lots they name on their other side.
    held: usize,
    named: usize,
    /// Whose the places and the ids are that were asked for.
    places: Places,
    asked: BTreeSet<String>,
    asked_for: BTreeSet<Id>,
    /// From where which lot or unit was sent to us.
    senders: BTreeMap<String, BTreeSet<String>>,
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

    /// The lots on the other side of a line of this role.
    fn opposite(&self, role: Role) -> &BTreeSet<String> {
        let into = matches!(role, Role::Consumed | Role::UsedElsewhere);
        if into { &self.outputs } else { &self.inputs }
    }

    /// The lots on the other side of a line, beside those of its own event. What
    /// went in and came out again is no step.
    fn across<'t>(&'t self, line: &'t Movement) -> impl Iterator<Item = &'t String> {
        let others = self.opposite(line.role);
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
        let mut fetched: Vec<String> = Vec::new();
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
                return Ok(self.leave_out(&[lots, &fetched].concat()));
            };
            self.ask(source, &read).await?;
            // Where a lot went, what holds it went, and its single items.
            let beside = |lines: &Vec<Movement>| -> Vec<String> {
                holders(lines).into_iter().chain(items(lines)).cloned().collect()
            };
            wanted = read.values().flat_map(beside).collect();
            fetched.extend(read.keys().cloned());
            self.lines.extend(read);
        }
        // Only what is said of ourselves stays.
        for lot in &fetched {
            let senders = self.senders_of(lot);
            if let Some(lines) = self.lines.get_mut(lot) {
                *lines = self.places.seen(std::mem::take(lines), &senders);
            }
        }
        for lot in &fetched {
            self.itemise(lot);
        }
        self.join(source, lots).await
    }

    /// Asks whose the places and the ids are that lines name, and notes from where
    /// their lots were sent to us.
    async fn ask(
        &mut self,
        source: &mut impl Source,
        read: &BTreeMap<String, Vec<Movement>>,
    ) -> Result<(), Problem> {
        let unknown: BTreeSet<String> = read
            .values()
            .flatten()
            .flat_map(glns)
            .filter(|gln| !self.asked.contains(*gln))
            .map(str::to_owned)
            .collect();
        if !unknown.is_empty() {
            self.count(3 * unknown.len().div_ceil(LOOKED_UP));
            self.places.extend(source.places(unknown.clone()).await?);
            self.asked.extend(unknown);
        }
        let open: BTreeSet<Id> =
            read.values().flatten().flat_map(|line| self.places.open_ids(line)).collect();
        let open = &open - &self.asked_for;
        if !open.is_empty() {
            self.count(2 * open.len().div_ceil(LOOKED_UP));
            let [customers, suppliers] = source.partners(open.clone()).await?;
            self.places.customer_ids.extend(customers);
            self.places.supplier_ids.extend(suppliers);
            self.asked_for.extend(open);
        }
        for (lot, lines) in read {
            let senders = self.places.senders(lines);
            if !senders.is_empty() {
                self.senders.insert(lot.clone(), senders);
            }
        }
        Ok(())
    }

    /// From where a lot was sent to us: by itself, in what it was in, or as items.
    fn senders_of(&self, lot: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        if self.senders.is_empty() {
            return all;
        }
        let (mut seen, mut next) = (BTreeSet::from([lot]), vec![lot]);
        while let Some(thing) = next.pop() {
            all.extend(self.senders.get(thing).into_iter().flatten().cloned());
            let lines = self.lines.get(thing).map_or(&[][..], Vec::as_slice);
            // Units may hold each other, and the items of a lot are many.
            for other in holders(lines).into_iter().chain(items(lines)) {
                if seen.insert(other) {
                    next.push(other);
                }
            }
        }
        all
    }

    /// Adds a line of a lot that was read.
    pub(crate) fn add(&mut self, line: Movement) {
        self.lines.entry(line.lot.clone()).or_default().push(line);
    }

    /// Takes away the line that was added last.
    pub(crate) fn forget_last(&mut self, lot: &str) {
        if let Some(lines) = self.lines.get_mut(lot) {
            lines.pop();
        }
    }

    /// Adds to the lines of a lot what events say of its items by their serials
    /// alone. An event that states the lot of an item has said it of the lot.
    fn itemise(&mut self, lot: &str) {
        let Some(own) = self.lines.get(lot) else { return };
        let mut stated: BTreeMap<&String, BTreeSet<Id>> = BTreeMap::new();
        for line in own.iter().filter(|line| line.role == Role::Itemised) {
            for item in &line.others {
                stated.entry(item).or_default().insert(line.event_id);
            }
        }
        if stated.is_empty() {
            return;
        }
        let mut added: BTreeMap<(Id, Role), Movement> = BTreeMap::new();
        for (item, events) in &stated {
            for line in self.lines.get(*item).into_iter().flatten() {
                let of_itself = matches!(line.role, Role::OfLot | Role::Emptied | Role::Filled);
                if of_itself || events.contains(&line.event_id) {
                    continue;
                }
                match added.entry((line.event_id, line.role)) {
                    Entry::Vacant(place) => {
                        place.insert(Movement { lot: lot.to_owned(), ..line.clone() });
                    }
                    Entry::Occupied(mut same) => {
                        let sum = &mut same.get_mut().quantity;
                        *sum = sum.zip(line.quantity).and_then(|(a, b)| a.checked_add(b));
                    }
                }
            }
        }
        if let Some(lines) = self.lines.get_mut(lot) {
            lines.retain(|line| line.role != Role::Itemised);
            lines.extend(added.into_values());
        }
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
        // What is joined is named by each of their lines.
        let joined = self.named.saturating_add(self.joined(lots));
        if joined > NAMED {
            return Ok(self.leave_out(lots));
        }
        self.named = joined;
        Ok(true)
    }

    /// How many lots the lines of these lots name once those of other events are
    /// joined, beside those that they name by themselves.
    fn joined(&self, lots: &[String]) -> usize {
        let lines = lots.iter().filter_map(|lot| self.lines.get(lot)).flatten();
        lines
            .filter_map(|line| {
                let whole = self.transformations.get(line.transformation.as_ref()?)?;
                Some(whole.opposite(line.role).len().saturating_sub(beside(line)))
            })
            .sum()
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
        let (mut found, mut others, mut large) = (Vec::new(), 0, Vec::new());
        let at_a_time = Room { lines: AT_A_TIME, named: NAMED_AT_A_TIME };
        let all: Vec<String> = values.iter().cloned().collect();
        // As many queries as run at once, however many values there are.
        let at_least = all.len().div_ceil(AT_ONCE).max(LOOKED_UP);
        let mut parts: Vec<Vec<String>> = all.chunks(at_least).map(<[String]>::to_vec).collect();
        while !parts.is_empty() {
            let some = parts.split_off(parts.len().saturating_sub(AT_ONCE));
            self.count(some.len());
            let answers = source.lines(field, &some, self.as_of, at_a_time).await?;
            for (values, lines) in some.iter().zip(answers) {
                if at_a_time.holds(&lines) {
                    let lines = in_force(lines, self.as_of);
                    others += lines.iter().map(beside).sum::<usize>();
                    found.extend(lines);
                } else if values.len() < 3 {
                    large.extend(values.iter().cloned());
                } else {
                    let (some, others) = values.split_at(values.len() / 2);
                    parts.extend([some.to_vec(), others.to_vec()]);
                }
            }
            if self.room_beside(found.len(), others).is_none() {
                return Ok(None);
            }
        }
        for value in large {
            let Some(room) = self.room_beside(found.len(), others) else { return Ok(None) };
            self.count(1);
            let answer = source.lines(field, &[vec![value]], self.as_of, room).await?;
            for lines in answer {
                if !room.holds(&lines) {
                    return Ok(None);
                }
                let lines = in_force(lines, self.as_of);
                others += lines.iter().map(beside).sum::<usize>();
                found.extend(lines);
            }
        }
        self.held += found.len();
        self.named += others;
        let mut by_value: BTreeMap<String, Vec<Movement>> =
            values.into_iter().map(|value| (value, Vec::new())).collect();
        for line in found {
            if let Some(lines) = value(field, &line).and_then(|value| by_value.get_mut(&value)) {
                lines.push(line);
            }
        }
        Ok(Some(by_value))
    }

    /// How much may be read beside what is held and these; `None` where that is too
    /// much already.
    fn room_beside(&self, lines: usize, named: usize) -> Option<Room> {
        Some(Room {
            lines: LINES.checked_sub(self.held + lines)?,
            named: NAMED.checked_sub(self.named + named)?,
        })
    }

    fn count(&mut self, queries: usize) {
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
            let (carried, stays) = contents.of(lot);
            for line in lines.iter_mut().filter(|line| line.role == Role::Packed) {
                line.until = stays.end(line);
            }
            lines.extend(carried);
            let mut lines = settled(lines);
            lines.retain(|line| !line.internal);
            (lot.clone(), lines)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::posting::Lots;

    /// The GLN of the one site of ours; every other is a customer's.
    const OURS: &str = "4000001000050";

    /// A ledger in memory, with how many lines each query may give.
    pub(crate) struct Kept(pub(crate) Vec<(Id, Movement)>);

    impl Source for Kept {
        async fn lines(
            &mut self,
            field: &'static str,
            parts: &[Vec<String>],
            as_of: Option<Timestamp>,
            room: Room,
        ) -> Result<Vec<Vec<(Id, Movement)>>, Problem> {
            let fits = |(id, line): &&(Id, Movement), values: &[String]| {
                as_of.is_none_or(|as_of| id.made_at() <= as_of)
                    && value(field, line).is_some_and(|value| values.contains(&value))
            };
            let of = |values: &Vec<String>| {
                let (mut lines, mut weighed) = (Vec::new(), 0);
                for line in self.0.iter().filter(|line| fits(line, values)) {
                    if lines.len() > room.lines || weighed > room.named {
                        break;
                    }
                    weighed += beside(&line.1);
                    lines.push(line.clone());
                }
                lines
            };
            Ok(parts.iter().map(of).collect())
        }

        async fn places(&mut self, glns: BTreeSet<String>) -> Result<Places, Problem> {
            let (ours, customers): (BTreeSet<_>, _) = glns.into_iter().partition(|gln| gln == OURS);
            let with_ids = |glns: BTreeSet<String>| {
                glns.into_iter().map(|gln| (gln, Id::from_u128(77))).collect()
            };
            Ok(Places { ours, customers: with_ids(customers), ..Places::default() })
        }

        async fn partners(&mut self, ids: BTreeSet<Id>) -> Result<[BTreeSet<Id>; 2], Problem> {
            Ok([ids, BTreeSet::new()])
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
            quantity: Some(rust_decimal::Decimal::ONE),
            unit: "KGM".into(),
            ..Movement::new(Id::from_u128(event), lot, role, Timestamp::UNIX_EPOCH)
        }
    }

    /// A line at this second.
    pub(crate) fn at(second: i64, lot: &str, role: Role, others: &[&str]) -> Movement {
        Movement {
            at: Timestamp::from_second(second).unwrap(),
            others: others.iter().map(|other| (*other).to_owned()).collect(),
            ..line(second.unsigned_abs().into(), lot, role)
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

    /// What the ledger says of a lot: role, amount, and the event.
    fn said(ledger: &Ledger, lot: &str) -> Vec<(Role, String, Id)> {
        let amount = |line: &Movement| line.quantity.map_or("?".into(), |q| q.to_string());
        of(ledger, lot).iter().map(|line| (line.role, amount(line), line.event_id)).collect()
    }

    #[test]
    fn what_happens_to_an_item_happens_to_its_lot() {
        use Role::{Dispatched, Itemised, OfLot, Packed, Produced};
        let pieces = |line: Movement| Movement { unit: "H87".into(), ..line };
        let mut lines: Vec<Movement> = [
            // Shipped by their serials before anything tells of their lot.
            at(5, "one", Dispatched, &[]),
            at(5, "two", Dispatched, &[]),
            at(6, "three", Packed, &["pallet"]),
            at(7, "pallet", Dispatched, &[]),
            Movement { quantity: Some(3.into()), ..at(1, "lot", Produced, &[]) },
            at(1, "lot", Itemised, &["one", "two", "three"]),
            at(1, "one", OfLot, &["lot"]),
            // An event that states the lot says it of the lot, and not twice.
            at(8, "lot", Dispatched, &[]),
            at(8, "lot", Itemised, &["one"]),
            at(8, "one", Dispatched, &[]),
        ]
        .map(pieces)
        .to_vec();
        let event = |number: u128| Id::from_u128(number);
        let ledger = read(&mut recorded(lines.clone()), None, &["lot"]);
        let expected = [
            (Produced, "3".to_owned(), event(1)),
            (Dispatched, "1".to_owned(), event(8)),
            (Dispatched, "2".to_owned(), event(5)),
            (Packed, "1".to_owned(), event(6)),
            (Dispatched, "1".to_owned(), event(7)),
        ];
        assert_eq!(said(&ledger, "lot"), expected);
        // What told of their lot is withdrawn.
        let withdrawn = lines.iter().filter(|line| line.event_id == event(1));
        let withdrawn: Vec<Movement> = withdrawn.map(|line| line.withdrawn(event(9))).collect();
        lines.extend(withdrawn);
        let ledger = read(&mut recorded(lines), None, &["lot"]);
        let left = [(Dispatched, "1".to_owned(), event(8)), (Dispatched, "1".to_owned(), event(5))];
        assert_eq!(said(&ledger, "lot"), left);
    }

    #[test]
    fn what_a_customer_receives_is_not_with_us() {
        use Role::{Accepted, Dispatched, Packed, Received};
        let place = |gln: &str, line: Movement| Movement { place: Some(gln.into()), ..line };
        let theirs = "4012345000054";
        let sent = Movement { quantity: Some(4.into()), ..at(4, "lot", Packed, &["pallet"]) };
        let lines = vec![
            Movement { quantity: Some(9.into()), ..place(OURS, at(1, "lot", Received, &[])) },
            Movement { quantity: Some(9.into()), ..place(OURS, at(2, "lot", Accepted, &[])) },
            at(3, "lot", Dispatched, &[]),
            place(theirs, at(4, "lot", Received, &[])),
            place(theirs, at(4, "lot", Accepted, &[])),
            sent,
            at(5, "pallet", Dispatched, &[]),
            place(theirs, at(6, "pallet", Received, &[])),
        ];
        let ledger = read(&mut recorded(lines), None, &["lot"]);
        let event = |number: u128| Id::from_u128(number);
        let expected = [
            (Received, "9".to_owned(), event(1)),
            (Dispatched, "1".to_owned(), event(3)),
            (Packed, "4".to_owned(), event(4)),
            (Dispatched, "4".to_owned(), event(5)),
        ];
        assert_eq!(said(&ledger, "lot"), expected);
    }

    #[test]
    fn a_lot_is_not_made_by_us_where_what_it_is_in_was_sent_from() {
        use Role::{Dispatched, MadeElsewhere, Packed, Produced, Received};
        let there = |line: Movement| Movement { place: Some("unknown".into()), ..line };
        let to_us = |line| Movement { partner: Some(format!("414/{OURS}")), ..there(line) };
        let here = |line: Movement| Movement { place: Some(OURS.into()), ..line };
        let mut kept = recorded(vec![
            there(at(1, "lot", Produced, &[])),
            at(2, "lot", Packed, &["case"]),
            at(3, "case", Packed, &["pallet"]),
            to_us(at(4, "pallet", Dispatched, &[])),
            here(at(5, "lot", Received, &[])),
        ]);
        let roles = |kept: &mut Kept| -> Vec<Role> {
            of(&read(kept, None, &["lot"]), "lot").iter().map(|line| line.role).collect()
        };
        assert_eq!(roles(&mut kept), [MadeElsewhere, Packed, Received]);
        // Each of many units in each other is looked at once.
        let units: Vec<String> = (0..NESTED).map(|unit| format!("unit-{unit}")).collect();
        let names: Vec<&str> = units.iter().map(String::as_str).collect();
        let circles = units.iter().map(|unit| at(3, unit, Packed, &names));
        kept.0.extend(recorded(circles.collect()).0);
        kept.0.extend(recorded(vec![at(3, "pallet", Packed, &names)]).0);
        assert_eq!(roles(&mut kept), [MadeElsewhere, Packed, Received]);
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

    #[test]
    fn of_a_posting_the_lots_that_were_asked_for_are_taken() {
        let posting = || {
            let lots = Lots::from(["a", "b", "c"].map(str::to_owned).to_vec());
            let named = at(1, "", Role::Packed, &["case", "pallet"]);
            named.of(lots).1
        };
        let values = ["b".to_owned(), "d".to_owned()];
        let taken = |field, room: Room| {
            let mut taking = Taking::new(field, &values, room);
            let more = taking.takes(Id::from_u128(1), posting());
            let lots: Vec<String> = taking.lines.into_iter().map(|(_, line)| line.lot).collect();
            (lots, taking.named, more)
        };
        let room = Room { lines: 3, named: 6 };
        assert_eq!(taken("lot", room), (vec!["b".into()], 2, true));
        let all: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(taken("event_id", room), (all.clone(), 6, true));
        assert_eq!(taken("event_id", Room { lines: 2, ..room }), (all.clone(), 6, false));
        assert_eq!(taken("transformation", Room { named: 5, ..room }), (all, 6, false));
    }

    #[test]
    fn however_many_lots_are_asked_for_it_takes_four_queries_unless_they_are_long() {
        let names: Vec<String> = (0..1_000).map(|lot| format!("lot-{lot}")).collect();
        let lots: Vec<&str> = names.iter().map(String::as_str).collect();
        let lines = lots.iter().map(|lot| line(1, lot, Role::Received)).collect();
        let ledger = read(&mut recorded(lines), None, &lots);
        assert_eq!((ledger.queries, ledger.held), (4, 1_000));
        // Of eight at once two fit at once.
        let of_each = AT_A_TIME / 2;
        let long = |lot: &&str| vec![line(1, lot, Role::Received); of_each];
        let lines: Vec<Movement> = lots[..8].iter().flat_map(long).collect();
        let ledger = read(&mut recorded(lines), None, &lots[..8]);
        assert_eq!((ledger.queries, ledger.held), (1 + 2 + 4, 8 * of_each));
        assert!(ledger.limits.is_empty());
    }

    #[test]
    fn the_lots_that_lines_name_are_bounded_too() {
        let naming = |count: usize, lot: &str| {
            let others = vec![String::new(); 1_000];
            vec![Movement { others, ..line(1, lot, Role::Produced) }; count]
        };
        let most = NAMED / 1_000;
        // More than a query gives, but not more than can be held.
        let ledger = read(&mut recorded(naming(most, "a")), None, &["a", "b"]);
        assert_eq!((of(&ledger, "a").len(), ledger.queries), (most, 3));
        assert!(ledger.limits.is_empty());
        let ledger = read(&mut recorded(naming(most + 1, "a")), None, &["a", "b"]);
        assert!(of(&ledger, "a").is_empty());
        assert_eq!(ledger.limits, BTreeSet::from([Limit::Lines]));
        // Nor do several lots together name more.
        let lines = [naming(most / 2, "a"), naming(most / 2 + 1, "b")].concat();
        let ledger = read(&mut recorded(lines), None, &["a", "b"]);
        assert_eq!(ledger.limits, BTreeSet::from([Limit::Lines]));
        // What other events of a transformation name counts for each line.
        let vat = |lines: usize| {
            let mut vat = vec![part(1, "milk", Role::Consumed); lines];
            vat.extend((0..1_000).map(|n| part(2, &format!("cheese-{n}"), Role::Produced)));
            read(&mut recorded(vat), None, &["milk"])
        };
        let ledger = vat(most);
        assert_eq!(of(&ledger, "milk").len(), most);
        assert!(ledger.limits.is_empty());
        let ledger = vat(most + 1);
        assert!(of(&ledger, "milk").is_empty());
        assert_eq!(ledger.limits, BTreeSet::from([Limit::Lines]));
    }
}
