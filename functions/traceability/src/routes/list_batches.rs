//! `GET /v1/batches`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::{Filter, Id};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::batch::{Batch, BatchView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-batches",
        method: Method::Get,
        path: "/v1/batches",
        summary: "Lists batches, newest first.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<List<BatchView>>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// What to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Only batches of this product.
    product_id: Option<Id>,
    /// Only batches with this lot number.
    #[schemars(length(min = 1, max = 20))]
    lot_number: Option<String>,
    /// At most this many; 50 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<i64>,
    /// Where the page before ended.
    #[schemars(length(min = 1, max = 200))]
    cursor: Option<String>,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let mut filter = Filter::all();
    if let Some(product) = query.product_id {
        filter = filter.eq("product_id", product.to_string());
    }
    if let Some(lot_number) = query.lot_number {
        filter = filter.eq("lot_number", lot_number);
    }
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    Reply::ok(&call.page::<Batch>(filter, &page).await?.map(BatchView::new))
}
