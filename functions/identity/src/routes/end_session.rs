//! `DELETE /v1/auth/sessions/{id}`

use keystone::Problem;
use keystone::audit::entry::{Outcome, Resource};
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec};
use keystone::tenant::Id;
use serde_json::json;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "end-session",
        method: Method::Delete,
        path: "/v1/auth/sessions/{id}",
        summary: "Ends one of the caller's own sessions at once.",
        query: None,
        body: None,
        answer: Answer::empty(),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::FullRecent,
};

/// The handler. As with signing out, the session ends before that is
/// recorded.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id: Id = call.request().path("id")?;
    let user = call.principal().user();
    if !call.platform().sessions().await?.revoke_of(call.now(), user, id).await? {
        return Err(Problem::NotFound);
    }
    let resource = Resource { kind: "user".into(), id: user.to_string() };
    let facts = json!({ "session": id.to_string() });
    call.tenant()
        .record(&call.attribution()?, "session.end", resource, Outcome::Success, facts)
        .await?;
    Ok(Reply::empty())
}
