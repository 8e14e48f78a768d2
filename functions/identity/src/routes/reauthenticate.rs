//! `POST /v1/auth/reauthenticate`

use keystone::Problem;
use keystone::audit::entry::Outcome;
use keystone::auth::Permission;
use keystone::auth::password::PasswordInput;
use keystone::auth::throttle::Cleared;
use keystone::auth::totp::Code;
use keystone::auth::user::User;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::Stored;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::own_password;
use crate::second_factor::{self, Proof};
use crate::sign_in::{self, SignedIn};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "reauthenticate",
        method: Method::Post,
        path: "/v1/auth/reauthenticate",
        summary: "Signs the caller in again, for what needs a recent sign-in; ends the old session.",
        query: None,
        body: Some(schema_of::<Proofs>),
        answer: Answer::json(200, schema_of::<SignedIn>),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::Alive,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 2] = own_password::SETTINGS;

/// The caller's password and, if they have one, second factor.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proofs {
    /// Password.
    #[schemars(length(min = 1, max = 1024))]
    password: PasswordInput,
    /// A code of the app or a recovery code.
    #[serde(default)]
    #[schemars(with = "Code")]
    code: Option<Code>,
}

/// The handler. The token is a new one (OWASP ASVS 5.0, 7.2.4), so that
/// whoever holds the old one gains nothing.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let proofs: Proofs = call.request().body()?;
    let (platform, request, tenant) = (call.platform(), call.request(), call.tenant());
    let user = sign_in::caller(&call).await?;
    let has_factor = user.entity.second_factor_since().is_some();
    if has_factor && proofs.code.is_none() {
        return Err(Problem::invalid("/code", "Is required: your account has a second factor."));
    }
    let Some(mut cleared) = own_password::check(&call, &user, &proofs.password).await? else {
        return Err(refused(&call, "password").await?);
    };
    let mut proof = None;
    if let Some(code) = proofs.code.as_ref().filter(|_| has_factor) {
        let (second, shown) = check_code(&call, &user, code).await?;
        cleared = second;
        proof = Some(shown);
    }
    let required =
        !has_factor && tenant.settings().await?.entity.require_second_factor(user.entity.role);
    let by = (&user, call.principal().epoch());
    let opening = Box::pin(sign_in::open(platform, request, cleared, by, has_factor));
    let facts = json!({ "second_factor": proof.as_ref().map(Proof::name) });
    let attribution = call.attribution()?;
    let recording = Box::pin(tenant.audited(&attribution, "session.renew", async |tx| {
        tx.about(sign_in::resource(Some(user.id)));
        tx.facts(&facts, &[])?;
        match &proof {
            Some(proof) => proof.spend(tx, request, user.id).await,
            None => Ok(()),
        }
    }));
    let answer = sign_in::answer_both(platform, opening, recording).await?;
    let answer = answer.requiring_second_factor(required);
    platform.sessions().await?.revoke(call.principal().session()).await?;
    Reply::ok(&answer)
}

async fn check_code(
    call: &Call,
    user: &Stored<User>,
    code: &Code,
) -> Result<(Cleared, Proof), Problem> {
    let (platform, request) = (call.platform(), call.request());
    let throttle = platform.throttle().await?;
    let slug = call.tenant().id().as_str();
    let admission = second_factor::admit(platform, request, &throttle, slug, user.id).await?;
    let proof =
        second_factor::check(request, &throttle, &admission, call.tenant(), user, code).await?;
    match proof {
        Some(proof) => Ok((admission.succeeded().await?, proof)),
        None => Err(refused(call, "second_factor").await?),
    }
}

async fn refused(call: &Call, what: &str) -> Result<Problem, Problem> {
    let user = sign_in::resource(Some(call.principal().user()));
    let (by, facts) = (call.attribution()?, json!({ "refused": what }));
    call.tenant().record(&by, "session.renew", user, Outcome::Failed, facts).await?;
    Ok(Problem::InvalidCredentials)
}
