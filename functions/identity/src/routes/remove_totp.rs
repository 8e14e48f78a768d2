//! `DELETE /v1/mfa/totp`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec};
use keystone::letters::{self, AccountChange};
use keystone::mail;

use crate::sign_in;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "remove-totp",
        method: Method::Delete,
        path: "/v1/mfa/totp",
        summary: "Removes the caller's second factor and ends every session.",
        query: None,
        body: None,
        answer: Answer::empty(),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::FullRecent,
};

/// The handler. Whoever must have a second factor sets one up again at the
/// next sign-in.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let tenant = call.tenant();
    tenant
        .audited(&call.attribution()?, "user.remove_second_factor", async |tx| {
            let before = call.caller(tx).await?;
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
    sign_in::sweep(call.platform(), call.now(), call.principal().user(), None).await;
    Ok(Reply::empty())
}
