//! `DELETE /v1/users/{id}/totp`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::user::User;
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec};
use keystone::letters::{self, AccountChange};
use keystone::mail;
use keystone::tenant::Id;

use crate::sign_in;
use crate::user::Manager;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "remove-user-totp",
        method: Method::Delete,
        path: "/v1/users/{id}/totp",
        summary: "Removes the second factor of a user who lost it, and ends their sessions.",
        query: None,
        body: None,
        answer: Answer::empty(),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::FullRecent,
};

/// The handler. One's own goes by `DELETE /v1/mfa/totp`.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id: Id = call.request().path("id")?;
    let tenant = call.tenant();
    tenant
        .audited(&call.attribution()?, "user.remove_second_factor", async |tx| {
            let manager = Manager::of(tx, &call).await?;
            let before = tx.get::<User>(id).await?.ok_or(Problem::NotFound)?;
            manager.over(before.entity.role)?;
            if manager.is(id) {
                return Err(Problem::Forbidden);
            }
            if before.entity.second_factor.is_none() {
                return Err(Problem::NotFound);
            }
            let after = before.entity.clone().without_second_factor();
            let removed = AccountChange::SecondFactorOff;
            let letter = letters::account_change(tenant.profile(), &after, removed)?;
            tx.replace(&before, after).await?;
            mail::enqueue(tx, call.now(), Subject::User(before.id), &letter).await?;
            Ok(())
        })
        .await?;
    sign_in::sweep(call.platform(), call.now(), id, None).await;
    Ok(Reply::empty())
}
