//! Where a lot came from and what became of it, read from the ledger of
//! movements, depth by depth. docs/adr/0019 has the reasons.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use jiff::Timestamp;
use keystone::Problem;
use keystone::tenant::{Filter, Id, Tenant};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::movement::{Amounts, Movement, Role};

/// How many lots one query looks for; see [`crate::capture`].
pub const LOOKED_UP: usize = 64;
/// How many queries run at once: as many as there are connections.
pub const AT_ONCE: usize = 4;
/// Most lots of a trace, and most parts of its answer: a function's answer has
/// at most 6 MB, and a part some 250 bytes.
pub const LOTS: usize = 20_000;
const PARTS: usize = 22_000;
/// Most lines of the ledger that one query gives.
const LINES: i64 = 100_000;
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

/// A lot of a trace, with what is known of it.
#[derive(Serialize, JsonSchema)]
pub struct Node {
    /// GS1 element string of the lot: `01/<GTIN-14>/10/<lot>`.
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
    /// Whom it came from and went to, and how much.
    partners: Vec<PartnerView>,
}

/// Goods that came from somebody or went to somebody.
#[derive(Clone, Serialize, JsonSchema)]
pub struct PartnerView {
    /// `urn:uuid:` and the id of a supplier or customer, or the GS1 element
    /// string of a party.
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
}

/// That one lot went into another.
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
    /// How many queries it took.
    queries: u32,
}

/// An amount with its unit, as it was entered.
type Amount = (Option<Decimal>, String);

/// What went into what: both lots and the event, with how much went in.
pub type Edges = BTreeMap<(String, String, Id), Option<Amount>>;

/// What is known of the lots that were reached.
#[derive(Default)]
pub struct Walk {
    /// How many steps away each lot is.
    pub depth: BTreeMap<String, u32>,
    /// The lines of each.
    pub lines: BTreeMap<String, Vec<Movement>>,
    /// Whether it ends where its limit is, and not where the goods do.
    pub truncated: bool,
    /// How many queries it took.
    pub queries: u32,
}

/// The graph around a lot.
///
/// # Errors
/// 422 when the answer would be too large; 503 when the database does not
/// answer.
pub async fn graph(
    tenant: &Tenant,
    lot: &str,
    direction: Direction,
    depth: u32,
) -> Result<Graph, Problem> {
    let mut walk = Walk::default();
    let start = [lot.to_owned()];
    if direction != Direction::Forward {
        walk.go(tenant, &start, Role::Produced, depth).await?;
    }
    if direction != Direction::Back {
        walk.go(tenant, &start, Role::Consumed, depth).await?;
    }
    let graph = walk.into_graph(lot);
    if graph.parts() > PARTS {
        return Err(Problem::invalid(
            "depth",
            format!("More than {PARTS} lots, links and partners: ask for fewer steps."),
        ));
    }
    Ok(graph)
}

impl Graph {
    fn parts(&self) -> usize {
        let partners: usize = self.nodes.iter().map(|node| node.partners.len()).sum();
        self.nodes.len() + self.edges.len() + partners
    }
}

impl Walk {
    /// Goes from lot to lot by the lines of a role: `Produced` leads to what
    /// went in, `Consumed` to what came out. A lot is visited once, so a
    /// circle ends.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn go(
        &mut self,
        tenant: &Tenant,
        start: &[String],
        role: Role,
        deepest: u32,
    ) -> Result<(), Problem> {
        let mut seen: BTreeSet<String> = start.iter().cloned().collect();
        let mut frontier = start.to_vec();
        for lot in start {
            self.depth.entry(lot.clone()).or_insert(0);
        }
        for depth in 0.. {
            self.read(tenant, &frontier).await?;
            let mut next = Vec::new();
            for lot in &frontier {
                let lines = self.lines.get(lot).into_iter().flatten();
                for line in lines.filter(|line| line.role == role) {
                    for other in &line.others {
                        if seen.insert(other.clone()) {
                            next.push(other.clone());
                        }
                    }
                }
            }
            if next.is_empty() {
                break;
            }
            if depth == deepest || seen.len() > LOTS {
                self.truncated = true;
                break;
            }
            for lot in &next {
                self.depth.entry(lot.clone()).or_insert(depth + 1);
            }
            frontier = next;
        }
        Ok(())
    }

    /// Reads the lines of these lots that are not known yet.
    async fn read(&mut self, tenant: &Tenant, lots: &[String]) -> Result<(), Problem> {
        let unknown: Vec<String> =
            lots.iter().filter(|lot| !self.lines.contains_key(*lot)).cloned().collect();
        let parts: Vec<Vec<String>> = unknown.chunks(LOOKED_UP).map(<[String]>::to_vec).collect();
        for lot in unknown {
            self.lines.insert(lot, Vec::new());
        }
        for some in parts.chunks(AT_ONCE) {
            let found = try_join_all(some.iter().map(|lots| {
                tenant.parts::<Movement>(Filter::all().any("lot", lots.clone()), LINES)
            }))
            .await?;
            self.queries += u32::try_from(some.len()).unwrap_or(u32::MAX);
            for (_, line) in found.into_iter().flatten() {
                self.lines.entry(line.lot.clone()).or_default().push(line);
            }
        }
        Ok(())
    }

    /// What of the lots that were reached went into what.
    pub fn edges(&self) -> Edges {
        let mut edges = Edges::new();
        for (lot, lines) in &self.lines {
            for line in lines {
                for other in &line.others {
                    let (from, to) = match line.role {
                        Role::Consumed => (lot, other),
                        _ => (other, lot),
                    };
                    let known = self.depth.contains_key(from) && self.depth.contains_key(to);
                    if !known {
                        continue;
                    }
                    let amount =
                        (line.role == Role::Consumed).then(|| (line.quantity, line.unit.clone()));
                    let edge = edges.entry((from.clone(), to.clone(), line.event_id));
                    let edge = edge.or_default();
                    if amount.is_some() {
                        *edge = amount;
                    }
                }
            }
        }
        edges
    }

    fn into_graph(self, start: &str) -> Graph {
        let mut nodes: Vec<Node> = self
            .depth
            .iter()
            .map(|(lot, depth)| node(lot, *depth, self.lines.get(lot).map_or(&[], Vec::as_slice)))
            .collect();
        nodes.sort_by(|a, b| (a.depth, &a.lot).cmp(&(b.depth, &b.lot)));
        let edges = self.edges().into_iter().map(|((from, to, event_id), amount)| {
            let (quantity, unit) = match amount {
                Some((quantity, unit)) => (quantity, Some(unit)),
                None => (None, None),
            };
            Edge { from, to, event_id, quantity, unit }
        });
        Graph {
            start: start.to_owned(),
            nodes,
            edges: edges.collect(),
            truncated: self.truncated,
            queries: self.queries,
        }
    }
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
        partners: lines.iter().filter_map(partner).collect(),
    }
}

/// The partner of a line, if it arrived or left.
pub fn partner(line: &Movement) -> Option<PartnerView> {
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
    })
}

/// One step back and one step forward, and what is left: in = out + stock +
/// waste (Art. 18 of Regulation (EC) No 178/2002).
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
    /// What is left by the ledger; never less than nothing.
    stock: Vec<AmountView>,
    /// What left without having come: incoming less outgoing, waste and stock.
    unaccounted: Vec<AmountView>,
    /// `unaccounted` as a share of `incoming`, in percent to two decimals;
    /// absent where nothing came.
    unaccounted_percent: Vec<AmountView>,
}

/// The ledger of one lot.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn lines(tenant: &Tenant, lot: &str) -> Result<Vec<Movement>, Problem> {
    let found = tenant.parts::<Movement>(Filter::all().eq("lot", lot), LINES).await?;
    Ok(found.into_iter().map(|(_, line)| line).collect())
}

/// The mass balance of a lot.
pub fn balance(lot: &str, lines: &[Movement]) -> Balance {
    let (mut incoming, mut outgoing, mut wasted) =
        (Amounts::default(), Amounts::default(), Amounts::default());
    for line in lines {
        match line.role {
            Role::Received | Role::Produced => incoming.add(line),
            Role::Consumed | Role::Dispatched => outgoing.add(line),
            Role::Wasted => wasted.add(line),
        }
    }
    let dimensions: BTreeSet<_> = incoming
        .all()
        .chain(outgoing.all())
        .chain(wasted.all())
        .map(|(dimension, _)| dimension)
        .collect();
    let (mut stock, mut unaccounted, mut percent) = (Vec::new(), Vec::new(), Vec::new());
    for dimension in dimensions {
        let (came, unit) = (incoming.of(dimension), dimension.unit());
        let left = came - outgoing.of(dimension) - wasted.of(dimension);
        let missing = left.min(Decimal::ZERO).normalize();
        stock.push(AmountView { value: left.max(Decimal::ZERO).normalize(), unit });
        unaccounted.push(AmountView { value: missing, unit });
        if came > Decimal::ZERO {
            let share = (missing * Decimal::ONE_HUNDRED / came).round_dp(2).normalize();
            percent.push(AmountView { value: share, unit });
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
    }
}
