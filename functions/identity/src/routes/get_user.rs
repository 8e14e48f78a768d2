//! `GET /v1/users/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::user::User;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::user::UserView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-user",
        method: Method::Get,
        path: "/v1/users/{id}",
        summary: "Reads a user.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<UserView>),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let stored = call.tenant().get::<User>(id).await?.ok_or(Problem::NotFound)?;
    Ok(Reply::ok(&UserView::from(&stored))?.with_version(stored.version))
}
