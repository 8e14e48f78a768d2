//! `GET /v1/users`

use keystone::Problem;
use keystone::auth::user::{User, UserStatus};
use keystone::auth::{Permission, Role};
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::user::UserView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-users",
        method: Method::Get,
        path: "/v1/users",
        summary: "Lists users, newest first.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<List<UserView>>),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::Full,
};

/// What to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Only users of this role.
    role: Option<Role>,
    /// Only users of this status.
    status: Option<UserStatus>,
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
    if let Some(role) = query.role {
        filter = filter.eq("role", role.name());
    }
    if let Some(status) = query.status {
        filter = filter.eq("status", status.name());
    }
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    Reply::ok(&call.page::<User>(filter, &page).await?.map(|stored| UserView::from(stored)))
}
