//! Where a lot came from and what became of it, read from the ledger of
//! movements, depth by depth. docs/adr/0019 has the reasons.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use jiff::Timestamp;
use keystone::Problem;
use keystone::tenant::{Filter, Id, Page, Stored, Tenant};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::StoredEvent;
use crate::ledger::{AT_ONCE, LINES, LINKS, LOOKED_UP, Ledger, Limit, NAMED, NESTED, Source};
use crate::movement::{Amounts, Movement, NotCounted, Role, not_counted};
use crate::partner;

mod picture;
mod table;

pub use picture::svg;
pub use table::csv;

/// Most lots of a trace, and most parts of its answer: a function's answer has
/// at most 6 MB, and a part some 250 bytes.
pub const LOTS: usize = 20_000;
const PARTS: usize = 22_000;
/// Most bytes of the events behind a trace.
const EVENT_BYTES: usize = 4 * 1024 * 1024;
/// Depth of a trace unless the client says otherwise, and at most.
pub const DEPTH: u32 = 50;

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To what it was made of.
    Back,
    /// To what was made of it.
    Forward,
    /// To both.
    Both,
}

impl Direction {
    /// The roles whose lines lead there.
    const fn ways(self) -> &'static [&'static [Role]] {
        match self {
            Self::Back => &[BACK],
            Self::Forward => &[FORWARD],
            Self::Both => &[BACK, FORWARD],
        }
    }
}

/// The roles whose lines lead to what a lot was made of.
pub const BACK: &[Role] = &[Role::Produced, Role::MadeElsewhere, Role::Unpacked, Role::OfLot];
/// The roles whose lines lead to what was made of a lot.
pub const FORWARD: &[Role] = &[Role::Consumed, Role::UsedElsewhere, Role::Packed];

/// An amount in the unit of its dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AmountView {
    /// Decimal number as text; negative where more left than is known to have
    /// come.
    #[schemars(with = "String")]
    pub value: Decimal,
    /// `KGM`, `LTR` or `H87`.
    pub unit: &'static str,
}

/// The amounts, each dimension for itself.
pub fn amounts(sums: &Amounts) -> Vec<AmountView> {
    sums.all().map(|(dimension, value)| AmountView { value, unit: dimension.unit() }).collect()
}

/// A lot of a trace, or a logistic unit that lots are in, with what is known of
/// it.
#[derive(Serialize, JsonSchema)]
pub struct Node {
    /// GS1 element string: `01/<GTIN-14>/10/<lot>`, or `00/<SSCC>`.
    lot: String,
    /// How many steps away.
    depth: u32,
    /// How much arrived.
    received: Vec<AmountView>,
    /// How much was made.
    produced: Vec<AmountView>,
    /// How much went into something else.
    consumed: Vec<AmountView>,
    /// How much left.
    dispatched: Vec<AmountView>,
    /// How much was thrown away.
    wasted: Vec<AmountView>,
    /// How much more was counted than there should be; less if negative.
    adjusted: Vec<AmountView>,
    /// What is in none of these sums.
    not_counted: Vec<NotCounted>,
    /// Whom it came from and went to, and how much.
    partners: Vec<PartnerView>,
}

/// Goods that came from somebody or went to somebody.
#[derive(Clone, Serialize, JsonSchema)]
pub struct PartnerView {
    /// `urn:uuid:` and the id of a supplier or customer of ours, also where the
    /// event named them by GLN; else the GS1 element string of a party.
    pub partner: Option<String>,
    /// `received` or `dispatched`.
    pub role: &'static str,
    /// How much, as it was entered.
    #[schemars(with = "Option<String>")]
    pub quantity: Option<Decimal>,
    /// Its unit.
    pub unit: String,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The event that says so.
    pub event_id: Id,
    /// GS1 element string of the unit that it was in, where the event names that
    /// only.
    pub within: Option<String>,
}

/// That one lot went into another, or into a logistic unit or out of it.
#[derive(Serialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The lot that went in.
    from: String,
    /// The lot that came out.
    to: String,
    /// The event in which it did.
    event_id: Id,
    /// How much went in, over all that came out.
    #[schemars(with = "Option<String>")]
    quantity: Option<Decimal>,
    /// Its unit.
    unit: Option<String>,
}

/// A graph of lots.
#[derive(Serialize, JsonSchema)]
pub struct Graph {
    /// The lot that was asked for.
    start: String,
    /// The lots, nearest first.
    nodes: Vec<Node>,
    /// What went into what.
    edges: Vec<Edge>,
    /// Whether it ends where the depth or size allowed ends, and not where the
    /// goods do.
    truncated: bool,
    /// Which bounds it met, if it is truncated.
    limits: Vec<Limit>,
    /// How many queries of the ledger it took.
    queries: u32,
    /// The events that say so.
    #[serde(skip)]
    events: BTreeSet<Id>,
}

/// What went into what: both lots, the event and the unit of the amount as it
/// was entered, with how much went in, unless an amount is not known.
pub type Edges = BTreeMap<(String, String, Id, String), Option<Decimal>>;

/// From one moment to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Its first moment.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub from: Timestamp,
    /// The moment at which it is over.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: Timestamp,
}

/// When goods were in a unit; without an end if they still are.
type Stay = (Timestamp, Option<Timestamp>);

/// What is known of the lots that were reached.
#[derive(Default)]
pub struct Walk {
    /// How many steps away each lot is.
    pub depth: BTreeMap<String, u32>,
    /// The lines of each; of units in `held` those from when goods were in them.
    pub lines: BTreeMap<String, Vec<Movement>>,
    /// The units that were reached since goods were in them, and when they were: on
    /// other journeys a crate carries other goods.
    pub held: BTreeMap<String, Vec<Stay>>,
    /// Lots of which only what was taken in this period is followed.
    pub within: Option<(BTreeSet<String>, Period)>,
    /// Where they come from.
    pub ledger: Ledger,
}

/// The graph around a lot, as it was known at `as_of`; as it is now if absent.
///
/// # Errors
/// 422 when the answer would be too large; 503 when the database does not
/// answer.
pub async fn graph(
    tenant: &Tenant,
    lot: &str,
    direction: Direction,
    depth: u32,
    as_of: Option<Timestamp>,
) -> Result<Graph, Problem> {
    let mut walk = Walk { ledger: Ledger::new(as_of), ..Walk::default() };
    let mut source = tenant;
    for roles in direction.ways() {
        walk.go(&mut source, &[lot.to_owned()], roles, depth).await?;
    }
    if !walk.depth.contains_key(lot) {
        return Err(too_long());
    }
    partner::join(tenant, walk.lines.values_mut().flatten()).await?;
    let graph = walk.into_graph(lot).filter(|graph| graph.parts() <= PARTS);
    graph.ok_or_else(|| {
        Problem::invalid(
            "depth",
            format!("More than {PARTS} lots, links and partners: ask for fewer steps."),
        )
    })
}

impl Graph {
    /// Whether any event says anything of the lot that was asked for.
    pub fn is_known(&self) -> bool {
        !self.events.is_empty()
    }

    /// Of a thing of which no event says where it came from or went to: the events
    /// that name it.
    pub fn seen_in(&mut self, events: BTreeSet<Id>) {
        self.events = events;
    }

    fn parts(&self) -> usize {
        let partners: usize = self.nodes.iter().map(|node| node.partners.len()).sum();
        self.nodes.len() + self.edges.len() + partners
    }

    /// The events that say what it shows, oldest first.
    ///
    /// # Errors
    /// 422 when they would not fit an answer; 503 when the database does not
    /// answer.
    pub async fn events(&self, tenant: &Tenant) -> Result<Vec<Stored<StoredEvent>>, Problem> {
        let ids: Vec<String> = self.events.iter().map(Id::to_string).collect();
        let parts: Vec<&[String]> = ids.chunks(LOOKED_UP).collect();
        let (mut events, mut bytes) = (Vec::with_capacity(ids.len()), 0);
        let page = Page { after: None, limit: 100 };
        for some in parts.chunks(AT_ONCE) {
            let found = try_join_all(some.iter().map(|ids| {
                tenant.list::<StoredEvent>(Filter::all().any("_id", ids.to_vec()), page)
            }))
            .await?;
            for event in found.into_iter().flatten() {
                bytes += event.entity.document.len() + event.entity.context.len();
                events.push(event);
            }
            if bytes > EVENT_BYTES {
                return Err(Problem::invalid(
                    "depth",
                    format!("More than {EVENT_BYTES} bytes of events: ask for fewer steps."),
                ));
            }
        }
        events.sort_by_key(|event| (event.entity.event_time, event.id));
        Ok(events)
    }
}

impl Walk {
    /// Goes from lot to lot by the lines of these roles: `Produced` leads to
    /// what went in, `Consumed` to what came out, `Packed` to what holds it. A
    /// lot is visited once, so a circle ends. What holds a lot leads to no other
    /// lot in it: they share a pallet, and nothing of one is in the other. It leads
    /// on only while the lot is in it, so it is visited again for another stay.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub(crate) async fn go(
        &mut self,
        source: &mut impl Source,
        start: &[String],
        roles: &[Role],
        deepest: u32,
    ) -> Result<(), Problem> {
        let before: BTreeSet<String> = self.depth.keys().cloned().collect();
        let mut reached = Reached { seen: start.iter().cloned().collect(), ..Reached::default() };
        let mut frontier = start.to_vec();
        for depth in 0.. {
            if !self.read(source, &frontier).await? {
                break;
            }
            for lot in &frontier {
                self.depth.entry(lot.clone()).or_insert(depth);
            }
            for lot in &frontier {
                let lines = self.lines.get(lot).into_iter().flatten();
                for line in lines.filter(|line| roles.contains(&line.role) && self.follows(line)) {
                    reached.by(line);
                }
            }
            let next = std::mem::take(&mut reached.next);
            if next.is_empty() {
                break;
            }
            if depth == deepest {
                self.ledger.limits.insert(Limit::Depth);
                break;
            }
            if reached.seen.len() > LOTS {
                self.ledger.limits.insert(Limit::Lots);
                break;
            }
            frontier = next.into_iter().collect();
        }
        for (unit, stays) in reached.held {
            // What also leads back is shown with all that is known of it.
            if before.contains(&unit) {
                continue;
            }
            if let Some(lines) = self.lines.get_mut(&unit) {
                lines.retain(|line| !common(line, &stays).is_empty());
            }
            self.held.insert(unit, stays);
        }
        Ok(())
    }

    /// Whether a line is among those that are looked at.
    pub fn follows(&self, line: &Movement) -> bool {
        self.within.as_ref().is_none_or(|(lots, period)| {
            !lots.contains(&line.lot) || line.at >= period.from && line.at < period.until
        })
    }

    /// Reads the lines of these lots that are not known yet; false when they are
    /// more than can be held. What is not read is not shown: it would look as if
    /// nothing had become of it.
    async fn read(&mut self, source: &mut impl Source, lots: &[String]) -> Result<bool, Problem> {
        let unknown: Vec<String> =
            lots.iter().filter(|lot| !self.lines.contains_key(*lot)).cloned().collect();
        if !self.ledger.read(source, &unknown).await? {
            return Ok(false);
        }
        self.lines.extend(self.ledger.whole(&unknown));
        Ok(true)
    }

    /// What of the lots that were reached went into what; `None` when that is
    /// more than `most` links. What was made is linked by the lines of what went
    /// in, which have the amounts; those of one event are added up.
    pub fn edges(&self, most: usize) -> Option<Edges> {
        let mut edges = Edges::new();
        for (lot, lines) in &self.lines {
            for line in lines.iter().filter(|line| self.follows(line)) {
                for other in &line.others {
                    let (from, to) = match line.role {
                        Role::Consumed | Role::UsedElsewhere | Role::Packed => (lot, other),
                        Role::Unpacked | Role::OfLot => (other, lot),
                        _ => continue,
                    };
                    if !self.depth.contains_key(from) || !self.depth.contains_key(to) {
                        continue;
                    }
                    let link = (from.clone(), to.clone(), line.event_id, line.unit.clone());
                    let sum = edges.entry(link).or_insert(Some(Decimal::ZERO));
                    *sum = sum.zip(line.quantity).and_then(|(sum, one)| sum.checked_add(one));
                    if edges.len() > most {
                        return None;
                    }
                }
            }
        }
        Some(edges)
    }

    /// The graph, unless it has more links than an answer holds.
    fn into_graph(self, start: &str) -> Option<Graph> {
        let known = self.lines.iter().filter(|(lot, _)| self.depth.contains_key(*lot));
        let events = known.flat_map(|(_, lines)| lines).map(|line| line.event_id).collect();
        let mut nodes: Vec<Node> = self
            .depth
            .iter()
            .map(|(lot, depth)| node(lot, *depth, self.lines.get(lot).map_or(&[], Vec::as_slice)))
            .collect();
        nodes.sort_by(|a, b| (a.depth, &a.lot).cmp(&(b.depth, &b.lot)));
        let edges = self.edges(PARTS)?.into_iter().map(|((from, to, event_id, unit), quantity)| {
            Edge { from, to, event_id, quantity, unit: Some(unit) }
        });
        Some(Graph {
            start: start.to_owned(),
            nodes,
            edges: edges.collect(),
            truncated: !self.ledger.limits.is_empty(),
            limits: self.ledger.limits.into_iter().collect(),
            queries: self.ledger.queries,
            events,
        })
    }
}

/// What a walk has come to.
#[derive(Default)]
struct Reached {
    seen: BTreeSet<String>,
    /// Of what was reached only since goods were in it, when they were.
    held: BTreeMap<String, Vec<Stay>>,
    /// Where it goes on.
    next: BTreeSet<String>,
}

impl Reached {
    /// What a line leads to.
    fn by(&mut self, line: &Movement) {
        let stays = match self.held.get(&line.lot) {
            Some(stays) => common(line, stays),
            None => vec![(line.at, line.until)],
        };
        for other in line.others.iter().filter(|_| !stays.is_empty()) {
            let is_new = self.seen.insert(other.clone());
            if line.role != Role::Packed {
                if self.held.remove(other).is_some() || is_new {
                    self.next.insert(other.clone());
                }
            } else if is_new || self.held.contains_key(other) {
                let known = self.held.entry(other.clone()).or_default();
                let before = known.len();
                for stay in &stays {
                    if !known.contains(stay) {
                        known.push(*stay);
                    }
                }
                if known.len() > before {
                    self.next.insert(other.clone());
                }
            }
        }
    }
}

/// When what a line says of a unit was so while goods were in it: what was packed
/// stays for a time, all else is a moment.
fn common(line: &Movement, stays: &[Stay]) -> Vec<Stay> {
    let earlier = |a: Option<Timestamp>, b: Option<Timestamp>| match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    };
    let common = |(from, until): &Stay| match line.role {
        Role::Packed => (line.at.max(*from), earlier(line.until, *until)),
        _ if line.at < *from => (*from, Some(line.at)),
        _ => (line.at, *until),
    };
    let lasts = |(from, until): &Stay| until.is_none_or(|until| *from < until);
    stays.iter().map(common).filter(lasts).collect()
}

/// That of one lot more is known than can be read.
fn too_long() -> Problem {
    let message = format!(
        "More is recorded of this lot than can be read ({LINES} lines, {NAMED} lots that they \
         name, {LINKS} links of a transformation, {NESTED} units in each other): ask for an \
         earlier time."
    );
    Problem::invalid("as_of", message)
}

fn node(lot: &str, depth: u32, lines: &[Movement]) -> Node {
    let sum = |role: Role| {
        let mut sum = Amounts::default();
        lines.iter().filter(|line| line.role == role).for_each(|line| sum.add(line));
        amounts(&sum)
    };
    Node {
        lot: lot.to_owned(),
        depth,
        received: sum(Role::Received),
        produced: sum(Role::Produced),
        consumed: sum(Role::Consumed),
        dispatched: sum(Role::Dispatched),
        wasted: sum(Role::Wasted),
        adjusted: {
            let mut sum = Amounts::default();
            let counts = |line: &&Movement| matches!(line.role, Role::Found | Role::Missing);
            lines.iter().filter(counts).for_each(|line| sum.count(line));
            amounts(&sum)
        },
        not_counted: not_counted(lines.iter()),
        partners: lines.iter().filter_map(partner_view).collect(),
    }
}

/// The partner of a line, if it arrived or left.
pub fn partner_view(line: &Movement) -> Option<PartnerView> {
    let role = match line.role {
        Role::Received => "received",
        Role::Dispatched => "dispatched",
        _ => return None,
    };
    Some(PartnerView {
        partner: line.partner.clone(),
        role,
        quantity: line.quantity,
        unit: line.unit.clone(),
        at: line.at,
        event_id: line.event_id,
        within: line.within.clone(),
    })
}

/// One step back and one step forward, and what is left: in = out + stock +
/// waste + unaccounted (Art. 18 of Regulation (EC) No 178/2002).
#[derive(Serialize, JsonSchema)]
pub struct Balance {
    /// GS1 element string of the lot.
    lot: String,
    /// What arrived or was made.
    incoming: Vec<AmountView>,
    /// What went into something else or left.
    outgoing: Vec<AmountView>,
    /// What was thrown away.
    wasted: Vec<AmountView>,
    /// What is left by the ledger and the counts; never less than nothing.
    stock: Vec<AmountView>,
    /// Incoming less outgoing, waste and stock: what a count did not find, or,
    /// negative, what left or was found without having come.
    unaccounted: Vec<AmountView>,
    /// `unaccounted` as a share of `incoming`, in percent to two decimals;
    /// absent where nothing came.
    unaccounted_percent: Vec<AmountView>,
    /// What is in none of these sums.
    not_counted: Vec<NotCounted>,
}

/// The lines of one lot, as they were known at `as_of`, as they are now if absent,
/// and the ledger that they were read from.
///
/// # Errors
/// 422 naming `as_of` when they are more than can be read, or it was made in a
/// transformation that is; 503 when the database does not answer.
pub async fn lines(
    tenant: &Tenant,
    lot: &str,
    as_of: Option<Timestamp>,
) -> Result<(Vec<Movement>, Ledger), Problem> {
    let (mut ledger, mut source, lot) = (Ledger::new(as_of), tenant, [lot.to_owned()]);
    let read = ledger.read(&mut source, &lot).await?;
    if !read || !ledger.limits.is_empty() {
        return Err(too_long());
    }
    let mut lines: Vec<Movement> = ledger.whole(&lot).flat_map(|(_, lines)| lines).collect();
    partner::join(tenant, lines.iter_mut()).await?;
    Ok((lines, ledger))
}

/// The mass balance of a lot.
pub fn balance(lot: &str, lines: &[Movement]) -> Balance {
    let (mut incoming, mut outgoing, mut wasted) =
        (Amounts::default(), Amounts::default(), Amounts::default());
    let mut left = Amounts::default();
    for line in lines {
        left.count(line);
        match line.role {
            Role::Received | Role::Produced => incoming.add(line),
            Role::Consumed | Role::Dispatched => outgoing.add(line),
            Role::Wasted => wasted.add(line),
            _ => {}
        }
    }
    let (mut stock, mut unaccounted, mut percent) = (Vec::new(), Vec::new(), Vec::new());
    // Whatever moved stands in what is left.
    for (dimension, left) in left.all() {
        let (came, unit) = (incoming.of(dimension), dimension.unit());
        let there = left.max(Decimal::ZERO);
        let missing = came - outgoing.of(dimension) - wasted.of(dimension) - there;
        let missing = missing.normalize();
        stock.push(AmountView { value: there, unit });
        unaccounted.push(AmountView { value: missing, unit });
        // A share that no number holds is left out: of next to nothing that came.
        let share = missing.checked_mul(Decimal::ONE_HUNDRED).and_then(|all| all.checked_div(came));
        if let Some(share) = share.filter(|_| came > Decimal::ZERO) {
            percent.push(AmountView { value: share.round_dp(2).normalize(), unit });
        }
    }
    Balance {
        lot: lot.to_owned(),
        incoming: amounts(&incoming),
        outgoing: amounts(&outgoing),
        wasted: amounts(&wasted),
        stock,
        unaccounted,
        unaccounted_percent: percent,
        not_counted: not_counted(lines.iter()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph around `start` with these links, 2.5 kg each.
    pub(super) fn graph(links: &[(&str, &str)]) -> Graph {
        let event_id = Id::from_u128(1);
        let edge = |(from, to): &(&str, &str)| Edge {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            event_id,
            quantity: Some(Decimal::new(25, 1)),
            unit: Some("KGM".into()),
        };
        let lots: BTreeSet<&str> =
            links.iter().flat_map(|(from, to)| [*from, *to]).chain(["start"]).collect();
        Graph {
            start: "start".into(),
            nodes: lots.iter().map(|lot| node(lot, 0, &[])).collect(),
            edges: links.iter().map(edge).collect(),
            truncated: false,
            limits: Vec::new(),
            queries: 0,
            events: BTreeSet::new(),
        }
    }

    fn line(role: Role, value: &str) -> Movement {
        Movement {
            quantity: Some(value.parse().unwrap()),
            unit: "KGM".into(),
            ..Movement::new(Id::from_u128(1), "lot", role, Timestamp::UNIX_EPOCH)
        }
    }

    #[test]
    fn what_came_is_what_left_what_is_there_and_what_is_missing() {
        use Role::{Dispatched, Found, Missing, Packed, Received, Wasted};
        for (lines, stock, unaccounted) in [
            (vec![(Received, "10"), (Dispatched, "4"), (Wasted, "1")], "5", "0"),
            (vec![(Received, "10"), (Dispatched, "4"), (Missing, "0.5")], "5.5", "0.5"),
            (vec![(Received, "10"), (Found, "0.25")], "10.25", "-0.25"),
            (vec![(Received, "10"), (Dispatched, "12")], "0", "-2"),
            (vec![(Received, "10"), (Packed, "10")], "10", "0"),
        ] {
            let lines: Vec<Movement> =
                lines.iter().map(|(role, value)| line(*role, value)).collect();
            let balance = balance("lot", &lines);
            let value = |amounts: &[AmountView]| amounts[0].value.to_string();
            assert_eq!(value(&balance.stock), stock, "{lines:?}");
            assert_eq!(value(&balance.unaccounted), unaccounted, "{lines:?}");
        }
    }

    #[test]
    fn what_goes_in_twice_is_added_up() {
        let went_in = |quantity: &str, unit: &str| Movement {
            unit: unit.into(),
            others: vec!["out".into()],
            ..line(Role::Consumed, quantity)
        };
        let lines = vec![went_in("2.5", "KGM"), went_in("1", "KGM"), went_in("3", "LTR")];
        let walk = Walk {
            depth: BTreeMap::from([("lot".into(), 0), ("out".into(), 1)]),
            lines: BTreeMap::from([("lot".into(), lines)]),
            ..Walk::default()
        };
        let edges = walk.edges(9).unwrap();
        let said: Vec<(&str, String)> =
            edges.iter().map(|((.., unit), sum)| (&**unit, sum.unwrap().to_string())).collect();
        assert_eq!(said, [("KGM", "3.5".to_owned()), ("LTR", "3".to_owned())]);
    }

    #[test]
    fn a_share_of_next_to_nothing_is_left_out() {
        let lines =
            [line(Role::Received, "0.000000000000001"), line(Role::Dispatched, "999999999999000")];
        assert!(balance("lot", &lines).unaccounted_percent.is_empty());
        let lines = [line(Role::Received, "3"), line(Role::Dispatched, "4")];
        assert_eq!(balance("lot", &lines).unaccounted_percent[0].value.to_string(), "-33.33");
    }

    #[test]
    fn an_amount_that_is_not_known_is_said_beside_the_balance() {
        let unknown = Movement { quantity: None, ..line(Role::Dispatched, "1") };
        let balance = balance("lot", &[line(Role::Received, "3"), unknown]);
        assert_eq!(balance.stock[0].value.to_string(), "3");
        let said = &balance.not_counted[0];
        assert_eq!((said.role, said.quantity, said.movements), (Role::Dispatched, None, 1));
    }
}
