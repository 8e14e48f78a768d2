//! `DELETE /v1/auth/sessions`

use keystone::Problem;
use keystone::audit::entry::{Outcome, Resource};
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec};
use serde_json::json;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "end-other-sessions",
        method: Method::Delete,
        path: "/v1/auth/sessions",
        summary: "Ends all of the caller's sessions but the one in use.",
        query: None,
        body: None,
        answer: Answer::empty(),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::FullRecent,
};

/// The handler. As with signing out, the sessions end before that is
/// recorded.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let (user, current) = (call.principal().user(), call.principal().session());
    let sessions = call.platform().sessions().await?;
    let ended = sessions.revoke_all(call.now(), user, Some(current)).await?;
    let resource = Resource { kind: "user".into(), id: user.to_string() };
    let facts = json!({ "sessions_ended": ended });
    call.tenant()
        .record(&call.attribution()?, "session.end", resource, Outcome::Success, facts)
        .await?;
    Ok(Reply::empty())
}
