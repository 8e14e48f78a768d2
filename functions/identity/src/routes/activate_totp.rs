//! `POST /v1/mfa/totp/activate`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::totp::{self, Code};
use keystone::auth::user::{SecondFactor, User};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::letters::{self, AccountChange};
use keystone::mail;
use keystone::tenant::Stored;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::second_factor;
use crate::sign_in::{self, SignedIn};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "activate-totp",
        method: Method::Post,
        path: "/v1/mfa/totp/activate",
        summary: "Shows that the app works; gives recovery codes and a new session.",
        query: None,
        body: Some(schema_of::<FirstCode>),
        answer: Answer::json(200, schema_of::<Activated>),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::AliveRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 1] = [Setting::ThrottleTable];

/// The first code of the app.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FirstCode {
    /// Six digits.
    code: Code,
}

/// An account with a second factor.
#[derive(Serialize, JsonSchema)]
pub struct Activated {
    /// The session that was opened with it; every other one ended.
    session: SignedIn,
    /// Each of these signs in once without the app. They are shown this once.
    recovery_codes: Vec<String>,
}

/// The handler. The new session is made for the credentials that the write
/// then gives the user, so that it lives from the commit on, and every other
/// one until then.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let body: FirstCode = call.request().body()?;
    let (platform, request, tenant) = (call.platform(), call.request(), call.tenant());
    let user = pending(&call).await?;
    let throttle = platform.throttle().await?;
    let slug = tenant.id().as_str();
    let admission = second_factor::admit(platform, request, &throttle, slug, user.id).await?;
    let code = &body.code;
    if !second_factor::app_code_fits(request, &throttle, &admission, tenant, &user, code).await? {
        return Err(Problem::invalid("/code", "Is not the code that the app shows now."));
    }
    let _ = admission.succeeded().await?;
    let (recovery_codes, stored) = totp::recovery_codes()?;
    let factor = SecondFactor { active_since: Some(request.now), recovery_codes: stored };
    let after = User {
        second_factor: Some(factor),
        credentials: user.entity.credentials + 1,
        ..user.entity.clone()
    };
    let letter = letters::account_change(tenant.profile(), &after, AccountChange::SecondFactorOn)?;
    let session = sign_in::carry_on(&call, after.credentials, true).await?;
    let sid = session.sid;
    let recorded = tenant
        .audited(&call.attribution()?, "user.activate_second_factor", async |tx| {
            tx.replace(&user, after.clone()).await?;
            mail::enqueue(tx, request.now, Subject::User(user.id), &letter).await?;
            Ok(())
        })
        .await;
    let session = sign_in::answer(platform, session, recorded).await?;
    sign_in::sweep(platform, request.now, user.id, Some(sid)).await;
    Reply::ok(&Activated { session, recovery_codes })
}

/// The caller, who began to set up an app and did not finish.
async fn pending(call: &Call) -> Result<Stored<User>, Problem> {
    let user = sign_in::caller(call).await?;
    match &user.entity.second_factor {
        Some(factor) if factor.active_since.is_none() => Ok(user),
        Some(_) => Err(Problem::Conflict("The second factor is active already.".into())),
        None => Err(Problem::Conflict("Begin with POST /v1/mfa/totp.".into())),
    }
}
