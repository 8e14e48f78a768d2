//! `POST /v1/auth/password`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::password::{Password, PasswordContext, PasswordInput};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::letters::{self, AccountChange};
use keystone::mail;
use schemars::JsonSchema;
use serde::Deserialize;

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
/// one until then. It is as old as the caller's: the password alone is no
/// sign-in of who has a second factor.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let change: PasswordChange = call.request().body()?;
    let (platform, request, tenant) = (call.platform(), call.request(), call.tenant());
    let user = sign_in::caller(&call).await?;
    let context = PasswordContext {
        email: &user.entity.email,
        name: &user.entity.name,
        tenant: tenant.id().as_str(),
        organisation: &tenant.profile().legal_name,
    };
    let password = Password::new("/new_password", &change.new_password, context)
        .map_err(|error| Problem::Invalid(vec![error]))?;
    if password.is(&change.current_password) {
        return Err(Problem::invalid("/new_password", "Is the password that you have."));
    }
    own_password::confirm(
        &call,
        &user,
        ("/current_password", &change.current_password),
        "user.change_password",
    )
    .await?;
    let hash = password.hash(&platform.pepper(request.now).await?)?;
    let after = user.entity.clone().with_password(hash);
    let letter = letters::account_change(tenant.profile(), &after, AccountChange::Password)?;
    let session = sign_in::carry_on(&call, after.credentials, false).await?;
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
