//! `GET /v1/products`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::product::{Product, ProductView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-products",
        method: Method::Get,
        path: "/v1/products",
        summary: "Lists products, newest first.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<List<ProductView>>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// What to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Only the product with this GTIN.
    #[schemars(extend("format" = "gtin"))]
    gtin: Option<String>,
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
    if let Some(gtin) = query.gtin {
        filter = filter.eq("gtin", gtin);
    }
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    Reply::ok(&call.page::<Product>(filter, &page).await?.map(ProductView::new))
}
