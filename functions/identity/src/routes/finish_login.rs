//! `POST /v1/auth/mfa`

use keystone::Problem;
use keystone::audit::entry::Outcome;
use keystone::auth::totp::Code;
use keystone::auth::user::{User, UserStatus};
use keystone::config::Setting;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use keystone::tenant::{Stored, Tenant};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::second_factor;
use crate::sign_in::{self, SignedIn};

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "finish-login",
        method: Method::Post,
        path: "/v1/auth/mfa",
        summary: "Finishes a sign-in with the second factor.",
        query: None,
        body: Some(schema_of::<SecondFactorAnswer>),
        answer: Answer::json(200, schema_of::<SignedIn>),
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 6] = [
    Setting::ThrottleTable,
    Setting::SessionTable,
    Setting::SessionSecret,
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
];

/// The answer to a challenge.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondFactorAnswer {
    /// As `POST /v1/auth/login` gave it.
    #[schemars(length(min = 1, max = 128))]
    challenge: String,
    /// A code of the app or a recovery code.
    code: Code,
}

/// The handler. The challenge, 256 random bits, names the account whose count
/// the attempt goes to; it is used up by success only, so that a mistyped code
/// can be corrected.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let body: SecondFactorAnswer = call.request().body()?;
    let (platform, request) = (call.platform(), call.request());
    let sessions = platform.sessions().await?;
    let challenge = sessions
        .challenged(request.now, &body.challenge)
        .await?
        .ok_or(Problem::InvalidCredentials)?;
    let throttle = platform.throttle().await?;
    let (slug, user) = (&challenge.tenant, challenge.user);
    let admission = second_factor::admit(platform, request, &throttle, slug, user).await?;
    let registry = platform.registry(request.now).await?;
    let tenant =
        registry.of_attempt(&admission, request.now).await?.ok_or(Problem::InvalidCredentials)?;
    let (user, settings) = tokio::join!(tenant.get::<User>(user), tenant.settings());
    let epoch = settings?.entity.session_epoch;
    let user = user?
        .filter(|user| user.entity.status == UserStatus::Active)
        .filter(|user| user.entity.credentials == challenge.credentials)
        .filter(|_| epoch == challenge.epoch)
        .ok_or(Problem::InvalidCredentials)?;
    let proof =
        second_factor::check(request, &throttle, &admission, &tenant, &user, &body.code).await?;
    let Some(proof) = proof else { return Err(refused(&call, &tenant, &user).await?) };
    let cleared = admission.succeeded().await?;
    if !sessions.redeem(&body.challenge).await? {
        return Err(Problem::InvalidCredentials);
    }
    let opening = Box::pin(sign_in::open(platform, request, cleared, (&user, epoch), true));
    let by = sign_in::attribution(request, Some(user.id), Outcome::Success)?;
    let facts = json!({ "role": user.entity.role.name(), "second_factor": proof.name() });
    let recording = Box::pin(tenant.audited(&by, "session.create", async |tx| {
        tx.about(sign_in::resource(Some(user.id)));
        tx.facts(&facts, &[])?;
        proof.spend(tx, request, user.id).await
    }));
    Reply::ok(&sign_in::answer_both(platform, opening, recording).await?)
}

async fn refused(
    call: &PublicCall,
    tenant: &Tenant,
    user: &Stored<User>,
) -> Result<Problem, Problem> {
    let facts = json!({ "second_factor": "refused" });
    let (action, failed) = ("session.create", Outcome::Failed);
    sign_in::record(call.request(), tenant, Some(user.id), action, failed, facts).await?;
    Ok(Problem::InvalidCredentials)
}
