//! `POST /v1/auth/password-reset/confirm`

use keystone::Problem;
use keystone::audit::entry::Outcome;
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use keystone::letters::{self, AccountChange};
use keystone::mail;

use crate::mailed_token::{Kind, TokenAndPassword, must_be_open, used_meanwhile};
use crate::sign_in;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "reset-password",
        method: Method::Post,
        path: "/v1/auth/password-reset/confirm",
        summary: "Sets a new password with a mailed token; ends every session.",
        query: None,
        body: Some(schema_of::<TokenAndPassword>),
        answer: Answer::empty(),
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 6] = [
    Setting::ThrottleTable,
    Setting::SessionTable,
    Setting::PepperSecret,
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
];

/// The handler. The change of credentials voids the token, and every other one
/// that was mailed to the user. Nobody is signed in by it: the second factor,
/// where there is one, is asked for as ever.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let chosen = Kind::Reset.redeem(&call, &call.request().body()?).await?;
    let (user, tenant, now) = (chosen.user, chosen.tenant, call.request().now);
    let letter = letters::account_change(tenant.profile(), &user.entity, AccountChange::Password)?;
    let by = sign_in::attribution(call.request(), Some(user.id), Outcome::Success)?;
    tenant
        .audited(&by, "user.reset_password", async |tx| {
            must_be_open(tx, &chosen.token, now).await?;
            let active = user.entity.clone().with_password(chosen.hash.clone());
            tx.replace(&user, active).await.map_err(used_meanwhile)?;
            mail::enqueue(tx, now, Subject::User(user.id), &letter).await?;
            Ok(())
        })
        .await?;
    sign_in::sweep(call.platform(), now, user.id, None).await;
    Ok(Reply::empty())
}
