//! `PATCH /v1/users/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::user::{User, UserStatus};
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::user::{Manager, UserPatch, UserView, offboarded};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "update-user",
        method: Method::Patch,
        path: "/v1/users/{id}",
        summary: "Changes a user (JSON merge patch); needs If-Match.",
        query: None,
        body: Some(schema_of::<UserPatch>),
        answer: Answer::json(200, schema_of::<UserView>),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::FullRecent,
};

/// The handler. A changed role acts on the user's very next request, since
/// the pipeline reads it from the user's document.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let version = call.request().if_match()?;
    let patch: UserPatch = call.request().body()?;
    call.audited("user.update", async |tx| {
        let manager = Manager::of(tx, &call).await?;
        let before = tx.get::<User>(id).await?.ok_or(Problem::NotFound)?;
        manager.over(before.entity.role)?;
        let after = patch.apply(&before.entity);
        manager.over(after.role)?;
        if manager.is(id) && after.role != before.entity.role {
            return Err(Problem::Forbidden);
        }
        if before.entity.status == UserStatus::Deactivated {
            return Err(offboarded());
        }
        let after = tx.replace(&before.at_version(version)?, after).await?;
        Ok(Reply::ok(&UserView::from(&after))?.with_version(after.version))
    })
    .await
}
