//! `GET /v1/data-subject-requests`

use jiff::civil::Date;
use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::request::{RequestView, State, SubjectRequest};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-data-subject-requests",
        method: Method::Get,
        path: "/v1/data-subject-requests",
        summary: "Lists requests of people about their data, newest first, without their words.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<List<RequestView>>),
    },
    permission: Permission::HandleSubjectRequests,
    assurance: Assurance::Full,
};

/// What to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Only those that stand there.
    state: Option<State>,
    /// Only those whose time to answer ends before this day.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    due_before: Option<Date>,
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
    if let Some(state) = query.state {
        filter = filter.eq("state", state.name());
    }
    if let Some(day) = query.due_before {
        filter = filter.before_day("due_on", day);
    }
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    let page = call.page::<SubjectRequest>(filter, &page).await?;
    Reply::ok(&page.map(|request| RequestView::new(request, call.now())))
}
