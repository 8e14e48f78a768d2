//! `POST /v1/users/{id}/offboard`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::user::{User, UserStatus};
use keystone::http::{Answer, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::Id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::user::{Manager, UserView, offboarded};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "offboard-user",
        method: Method::Post,
        path: "/v1/users/{id}/offboard",
        summary: "Ends a user's access at once: account, sessions, open invitation.",
        query: None,
        body: Some(schema_of::<Offboarding>),
        answer: Answer::json(200, schema_of::<Offboarded>),
    },
    permission: Permission::ManageUsers,
};

/// Why somebody leaves.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offboarding {
    /// For the audit trail.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

/// What was ended.
#[derive(Serialize, JsonSchema)]
pub struct Offboarded {
    /// The user, deactivated.
    user: UserView,
    /// How many sessions ended.
    sessions_ended: usize,
}

/// The handler. The transaction ends the access: from its commit on the
/// pipeline serves no request of the user's. Their session records, which are
/// then worth nothing, go afterwards.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id: Id = call.request().path("id")?;
    let offboarding: Offboarding = call.request().body()?;
    let sessions = call.platform().sessions().await?;
    let reply = call
        .audited("user.offboard", async |tx| {
            let manager = Manager::of(tx, &call).await?;
            let before = tx.get::<User>(id).await?.ok_or(Problem::NotFound)?;
            manager.over(before.entity.role)?;
            if manager.is(id) {
                return Err(Problem::Forbidden);
            }
            if before.entity.status == UserStatus::Deactivated {
                return Err(offboarded());
            }
            let sessions_ended = sessions.of_user(id, call.now()).await?.len();
            let facts = json!({ "reason": offboarding.reason, "sessions_ended": sessions_ended });
            tx.facts(&facts, &["/reason"])?;
            let after = tx.replace(&before, before.entity.clone().deactivated()).await?;
            let answer = Offboarded { user: UserView::from(&after), sessions_ended };
            Ok(Reply::ok(&answer)?.with_version(after.version))
        })
        .await?;
    if let Err(error) = sessions.revoke_all(call.now(), id, None).await {
        tracing::warn!(cause = %error, "session records of an offboarded user stay until they expire");
    }
    Ok(reply)
}
