//! `POST /v1/auth/logout`

use keystone::Problem;
use keystone::audit::entry::{Outcome, Resource};
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "logout",
        method: Method::Post,
        path: "/v1/auth/logout",
        summary: "Ends the session at once.",
        query: None,
        body: None,
        answer: Answer::empty(),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::Alive,
};

/// The handler. The session ends first: if it cannot be recorded the client
/// is told so, but nobody goes on using it.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    call.platform().sessions().await?.revoke(call.principal().session()).await?;
    let user = call.principal().user().to_string();
    let resource = Resource { kind: "user".into(), id: user };
    call.tenant()
        .record(
            &call.attribution()?,
            "session.end",
            resource,
            Outcome::Success,
            serde_json::json!({ "session": call.principal().session().to_string() }),
        )
        .await?;
    Ok(Reply::empty())
}
