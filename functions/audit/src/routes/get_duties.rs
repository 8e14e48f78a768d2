//! `GET /v1/duties`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::duties::Duties;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-duties",
        method: Method::Get,
        path: "/v1/duties",
        summary: "Shows what the tenant owes to its own security: reviews, contacts, accounts.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<Duties>),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    Reply::ok(&Duties::of(call.tenant(), call.now()).await?)
}
