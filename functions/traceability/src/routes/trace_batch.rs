//! `GET /v1/batches/{id}/trace`

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, CSV, Call, Method, Reply, Route, Spec, schema_of};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::article_18::Lot;
use crate::event::document;
use crate::trace::{DEPTH, Direction, Graph, csv, graph, svg};

const JSON: &str = "application/json";
const EPCIS: &str = "application/ld+json";
const SVG: &str = "image/svg+xml";

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "trace-batch",
        method: Method::Get,
        path: "/v1/batches/{id}/trace",
        summary: "Traces a lot to what it was made of and what was made of it: as a graph, as the \
                  events behind it, as a table or as a picture. The lot is named by the id of its \
                  batch, or by its EPC URN, its GS1 Digital Link or its GS1 element string, the \
                  last two escaped twice.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer {
            status: 200,
            media_type: JSON,
            schema: Some(schema_of::<Graph>),
            also: &[EPCIS, CSV, SVG],
        },
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// Which way and how far to go.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Which way to go; both unless given.
    direction: Option<Direction>,
    /// How many steps at most; 50 unless given.
    #[schemars(range(min = 1, max = DEPTH))]
    depth: Option<i64>,
    /// As it was known then; as it is now unless given.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    as_of: Option<Timestamp>,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let id: String = call.request().path("id")?;
    let lot = Lot::find(call.tenant(), &id).await?;
    let direction = query.direction.unwrap_or(Direction::Both);
    let depth = query.depth.and_then(|depth| u32::try_from(depth).ok()).unwrap_or(DEPTH);
    let form = call.request().accepted(&[JSON, EPCIS, CSV, SVG])?;
    let mut graph = graph(call.tenant(), &lot.key, direction, depth, query.as_of).await?;
    if !graph.is_known() {
        graph.seen_in(lot.seen_in(call.tenant(), query.as_of).await?);
    }
    if !lot.is_recorded() && !graph.is_known() {
        return Err(Problem::NotFound);
    }
    let reply = match form {
        EPCIS => {
            let events = graph.events(call.tenant()).await?;
            Reply::linked_data(None, document(&events, call.now()))
        }
        CSV => Reply::text("text/csv; charset=utf-8; header=present", csv(&graph)?),
        SVG => Reply::text(SVG, svg(&graph)),
        _ => Reply::ok(&graph)?,
    };
    if reply.fits() {
        return Ok(reply);
    }
    Err(Problem::invalid("depth", "The answer would have more than 6 MB: ask for fewer steps."))
}
