//! `POST /v1/operator-accesses/{id}/end`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::operator_access::{AccessView, end};

/// The route. It asks for no recent sign-in: what protects the tenant must not
/// wait for one.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "end-operator-access",
        method: Method::Post,
        path: "/v1/operator-accesses/{id}/end",
        summary: "Ends an access of the provider's staff at once; again, it changes nothing.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<AccessView>),
    },
    permission: Permission::EndOperatorAccesses,
    assurance: Assurance::Full,
};

/// The handler. From the commit on the pipeline refuses the access.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    end(&call, call.request().path("id")?).await
}
