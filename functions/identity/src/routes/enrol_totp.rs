//! `POST /v1/mfa/totp`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::password::PasswordInput;
use keystone::auth::totp::{Enrolment, Seed};
use keystone::auth::user::{SecondFactor, User, seed_place};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{own_password, sign_in};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "enrol-totp",
        method: Method::Post,
        path: "/v1/mfa/totp",
        summary: "Begins to set up an authenticator app; finish with its first code.",
        query: None,
        body: Some(schema_of::<OwnPassword>),
        answer: Answer::json(200, schema_of::<Enrolment>),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::AliveRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 2] = own_password::SETTINGS;

const ACTION: &str = "user.enrol_second_factor";

/// The caller's password, so that a stolen token does not set up an app of the
/// thief's.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnPassword {
    /// Password.
    #[schemars(length(min = 1, max = 1024))]
    password: PasswordInput,
}

/// The handler. The seed is shown in this answer only, and not kept for an
/// `Idempotency-Key`; asked for again before it is activated, another takes
/// its place.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let body: OwnPassword = call.request().body()?;
    let tenant = call.tenant();
    let user = sign_in::caller(&call).await?;
    if user.entity.second_factor_since().is_some() {
        return Err(active_already());
    }
    own_password::confirm(&call, &user, ("/password", &body.password), ACTION).await?;
    let seed = Seed::new()?;
    let enrolment = tenant
        .audited(&call.attribution()?, ACTION, async |tx| {
            let before = call.caller(tx).await?;
            let id = before.id;
            if before.entity.second_factor_since().is_some() {
                return Err(active_already());
            }
            let after = User {
                second_factor: Some(SecondFactor {
                    active_since: None,
                    recovery_codes: Vec::new(),
                }),
                totp_seed: Some(tenant.seal(seed_place(id), Subject::User(id), &seed).await?),
                ..before.entity.clone()
            };
            tx.replace(&before, after).await?;
            Ok(seed.enrolment(tenant.id().as_str(), &before.entity.email)?)
        })
        .await?;
    Reply::ok(&enrolment)
}

fn active_already() -> Problem {
    Problem::Conflict(
        "Your account has a second factor; remove it before you set up another.".into(),
    )
}
