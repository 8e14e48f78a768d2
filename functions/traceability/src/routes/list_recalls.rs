//! `GET /v1/recalls`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::recall::{Kind, Recall, RecallView, State};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-recalls",
        method: Method::Get,
        path: "/v1/recalls",
        summary: "Lists recalls and exercises, newest first.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<List<RecallView>>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// What to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Only real ones, or only exercises.
    kind: Option<Kind>,
    /// Only open ones, or only closed ones.
    state: Option<State>,
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
    if let Some(kind) = query.kind {
        filter = filter.eq("kind", kind.name());
    }
    if let Some(state) = query.state {
        filter = filter.eq("state", state.name());
    }
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    let page = call.page::<Recall>(filter, &page).await?;
    Reply::ok(&page.map(|recall| RecallView::new(recall, call.now())))
}
