//! `DELETE /v1/users/{id}/sessions`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::user::User;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec};
use keystone::tenant::Id;

use crate::sign_in;
use crate::user::Manager;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "end-user-sessions",
        method: Method::Delete,
        path: "/v1/users/{id}/sessions",
        summary: "Ends every session of a user, who may sign in again.",
        query: None,
        body: None,
        answer: Answer::empty(),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::FullRecent,
};

/// The handler. One's own go by `DELETE /v1/auth/sessions`.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id: Id = call.request().path("id")?;
    call.tenant()
        .audited(&call.attribution()?, "user.end_sessions", async |tx| {
            let manager = Manager::of(tx, &call).await?;
            let before = tx.get::<User>(id).await?.ok_or(Problem::NotFound)?;
            manager.over(before.entity.role)?;
            if manager.is(id) {
                return Err(Problem::Forbidden);
            }
            tx.replace(&before, before.entity.clone().signed_out()).await?;
            Ok(())
        })
        .await?;
    sign_in::sweep(call.platform(), call.now(), id, None).await;
    Ok(Reply::empty())
}
