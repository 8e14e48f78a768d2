//! `POST /v1/auth/password`

use keystone::Problem;
use keystone::audit::entry::Outcome;
use keystone::auth::Permission;
use keystone::auth::password::{Password, PasswordContext, PasswordInput};
use keystone::auth::user::User;
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::letters::{self, AccountChange};
use keystone::mail;
use keystone::tenant::Stored;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::own_password;
use crate::sign_in::{self, SignedIn};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "change-password",
        method: Method::Post,
        path: "/v1/auth/password",
        summary: "Changes the caller's password; ends every session and opens a new one.",
        query: None,
        body: Some(schema_of::<PasswordChange>),
        answer: Answer::json(200, schema_of::<SignedIn>),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 2] = own_password::SETTINGS;

/// The old password and the new one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The password until now.
    #[schemars(length(min = 1, max = 1024))]
    current_password: PasswordInput,
    /// The password from now on: 12 to 128 characters of any script, not
    /// easily guessed.
    #[schemars(length(min = 1, max = 1024))]
    new_password: PasswordInput,
}

/// The handler. The new session is made for the credentials that the write
/// then gives the user, so that it lives from the commit on, and every other
/// one until then.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let change: PasswordChange = call.request().body()?;
    let (platform, request, tenant) = (call.platform(), call.request(), call.tenant());
    let user =
        tenant.get::<User>(call.principal().user()).await?.ok_or(Problem::Unauthenticated)?;
    let context = PasswordContext {
        email: &user.entity.email,
        name: &user.entity.name,
        tenant: tenant.id().as_str(),
    };
    let password = Password::new("/new_password", &change.new_password, context)
        .map_err(|error| Problem::Invalid(vec![error]))?;
    let Some(cleared) = own_password::check(&call, &user, &change.current_password).await? else {
        return Err(refused(&call, &user).await?);
    };
    let hash = password.hash(&platform.pepper(request.now).await?)?;
    let after = user.entity.clone().with_password(hash);
    let letter = letters::account_change(tenant.id(), &after, AccountChange::Password)?;
    let second_factor = after.second_factor_since().is_some();
    let session =
        sign_in::open(platform, request, cleared, &user, after.credentials, second_factor).await?;
    let sid = session.sid;
    let recorded = tenant
        .audited(&call.attribution()?, "user.change_password", async |tx| {
            tx.replace(&user, after.clone()).await?;
            mail::enqueue(tx, request.now, Subject::User(user.id), &letter).await?;
            Ok(())
        })
        .await;
    let answer = sign_in::answer(platform, session, recorded).await?;
    sign_in::sweep(platform, request.now, user.id, Some(sid)).await;
    Reply::ok(&answer)
}

async fn refused(call: &Call, user: &Stored<User>) -> Result<Problem, Problem> {
    let (by, action) = (call.attribution()?, "user.change_password");
    let about = sign_in::resource(Some(user.id));
    call.tenant().record(&by, action, about, Outcome::Failed, json!({})).await?;
    Ok(Problem::invalid("/current_password", "Is not your password."))
}
