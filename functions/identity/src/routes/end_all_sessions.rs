//! `POST /v1/tenant/end-sessions`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "end-all-sessions",
        method: Method::Post,
        path: "/v1/tenant/end-sessions",
        summary: "Ends every session of every user, the caller's too, and voids every link that was \
                  mailed; all may sign in again.",
        query: None,
        body: Some(schema_of::<EndOfSessions>),
        answer: Answer::empty(),
    },
    permission: Permission::ManageTenant,
    assurance: Assurance::FullRecent,
};

/// Why everybody is signed out.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndOfSessions {
    /// For the audit trail.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

/// The handler. From the commit on, no session and no half-finished sign-in
/// that was begun before is accepted, and no token that was mailed before: an
/// invitation, another password, another address. Their records stay until they
/// expire.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let end: EndOfSessions = call.request().body()?;
    call.audited("settings.end_sessions", async |tx| {
        tx.facts(&json!({ "reason": end.reason }), &["/reason"])?;
        call.caller_with(tx, Permission::ManageTenant).await?;
        let before = tx.settings().await?;
        let mut after = before.entity.clone();
        after.session_epoch += 1;
        tx.replace(&before, after).await?;
        Ok(Reply::empty())
    })
    .await
}
