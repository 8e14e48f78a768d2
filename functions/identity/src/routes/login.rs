//! `POST /v1/auth/login`

use std::time::Duration;

use keystone::Problem;
use keystone::audit::entry::Outcome;
use keystone::auth::password::{self, PasswordHash, PasswordInput};
use keystone::auth::throttle::{AccountKey, Admission, Purpose};
use keystone::auth::user::{User, UserStatus};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Request, Spec, schema_of};
use keystone::tenant::{Account, Settings, Stored, Tenant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::sign_in::{self, SignedIn};

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "login",
        method: Method::Post,
        path: "/v1/auth/login",
        summary: "Signs in, or asks for the second factor. After 10 failures in 15 minutes: 429.",
        query: None,
        body: Some(schema_of::<Login>),
        answer: Answer::json(200, schema_of::<LoggedIn>),
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 7] = [
    Setting::ThrottleTable,
    Setting::SessionTable,
    Setting::SessionSecret,
    Setting::PepperSecret,
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
];

/// Sign-in details. Their form is not checked further: a malformed address is
/// an account that does not exist.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Slug of the tenant.
    #[schemars(length(min = 1, max = 64))]
    tenant: String,
    /// E-mail address of the account.
    #[schemars(length(min = 1, max = 254))]
    email: String,
    /// Password.
    #[schemars(length(min = 1, max = 1024))]
    password: PasswordInput,
}

/// A session, or a question.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub enum LoggedIn {
    /// The user is signed in.
    SignedIn(SignedIn),
    /// The password is right and a second factor is asked for.
    Challenged {
        /// What to answer with `POST /v1/auth/mfa`.
        mfa: Asked,
    },
}

/// A second factor asked for.
#[derive(Serialize, JsonSchema)]
pub struct Asked {
    /// Send it back with the code, within 5 minutes.
    challenge: String,
    /// What is accepted.
    methods: [FactorMethod; 2],
}

/// A way to prove a second factor.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FactorMethod {
    /// A code of the authenticator app.
    Totp,
    /// One of the recovery codes.
    RecoveryCode,
}

/// After how long a sign-in that fails is answered: longer than the work takes,
/// so that the time does not tell whether there is such a tenant, in whose
/// audit trail a failure is entered.
const FAILS_AFTER: Duration = Duration::from_millis(750);

/// The handler.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let fails_at = Instant::now() + FAILS_AFTER;
    let login: Login = call.request().body()?;
    let outcome = Box::pin(sign_in(&call, login)).await;
    if outcome.is_err() {
        sleep_until(fails_at).await;
    }
    outcome
}

/// The types are the guarantee: what is read while the attempt is being counted
/// opens with the admission only, and a session is made from nothing but the
/// cleared admission.
async fn sign_in(call: &PublicCall, login: Login) -> Result<Reply, Problem> {
    let now = call.request().now;
    let throttle = call.platform().throttle().await?;
    let account = AccountKey::new(&login.tenant, &login.email);
    let ip = call.request().ip()?;
    let registry = call.platform().registry(now).await?;
    let (admitted, named) = tokio::join!(
        throttle.admit(now, ip, &account, Purpose::SignIn),
        registry.named(&login.tenant, &login.email),
    );
    let admission = match admitted {
        Ok(admission) => admission,
        Err(denial) => return Err(sign_in::denied(call.platform(), call.request(), denial).await),
    };
    let found = registry.account_of_attempt(&admission, named?, now).await?;
    let (tenant, user) = match found {
        Some(Account { tenant, user }) => {
            let user = user.filter(|user| user.entity.status == UserStatus::Active);
            (Some(tenant), user)
        }
        None => (None, None),
    };
    let stored = user.as_ref().and_then(|user| user.entity.password.as_ref());
    let pepper = call.platform().pepper(now).await?;
    // What a success needs is read while bcrypt takes its time.
    let (matches, settings) = tokio::join!(
        password::verify(&admission, &login.password, stored, &pepper),
        preparation(tenant.as_ref(), user.as_ref()),
    );
    match (tenant, user, settings?) {
        (Some(tenant), Some(user), Some(settings)) if matches => {
            let renewed = match &user.entity.password {
                Some(stored) => password::renewed(&login.password, stored, &pepper)?,
                None => None,
            };
            let epoch = settings.session_epoch;
            let answer = if user.entity.second_factor_since().is_some() {
                challenge(call, &tenant, (&user, epoch), admission, renewed).await?
            } else {
                let required = settings.require_second_factor(user.entity.role);
                let session = enter(call, &tenant, (&user, epoch), admission, renewed).await?;
                LoggedIn::SignedIn(session.requiring_second_factor(required))
            };
            Reply::ok(&answer)
        }
        (Some(tenant), user, _) => {
            let user = user.map(|user| user.id);
            let (action, failed) = ("session.create", Outcome::Failed);
            sign_in::record(call.request(), &tenant, user, action, failed, json!({})).await?;
            Err(Problem::InvalidCredentials)
        }
        (None, ..) => Err(Problem::InvalidCredentials),
    }
}

/// What only a right password leads to, for an account that exists.
async fn preparation(
    tenant: Option<&Tenant>,
    user: Option<&Stored<User>>,
) -> Result<Option<Settings>, Problem> {
    let (Some(tenant), Some(user)) = (tenant, user) else { return Ok(None) };
    let subject = [Subject::User(user.id)];
    let (settings, fetched) = tokio::join!(tenant.settings(), tenant.prefetch(subject));
    fetched?;
    Ok(Some(settings?.entity))
}

async fn enter(
    call: &PublicCall,
    tenant: &Tenant,
    (user, epoch): (&Stored<User>, i64),
    admission: Admission<'_>,
    renewed: Option<PasswordHash>,
) -> Result<SignedIn, Problem> {
    let (platform, request) = (call.platform(), call.request());
    let opening = Box::pin(async {
        let cleared = admission.succeeded().await?;
        sign_in::open(platform, request, cleared, (user, epoch), false).await
    });
    let what = ("session.create", json!({ "role": user.entity.role.name() }));
    let recording = Box::pin(record_match(request, tenant, user, what, renewed));
    sign_in::answer_both(platform, opening, recording).await
}

async fn challenge(
    call: &PublicCall,
    tenant: &Tenant,
    (user, epoch): (&Stored<User>, i64),
    admission: Admission<'_>,
    renewed: Option<PasswordHash>,
) -> Result<LoggedIn, Problem> {
    let opening = Box::pin(async {
        let cleared = admission.succeeded().await?;
        let sessions = call.platform().sessions().await?;
        let counts = (user.entity.credentials, epoch);
        sessions.challenge(call.request().now, cleared, user.id, counts).await
    });
    let what = ("session.challenge", json!({}));
    let recording = Box::pin(record_match(call.request(), tenant, user, what, renewed));
    let (challenge, recorded) = tokio::join!(opening, recording);
    recorded?;
    let challenge = challenge?;
    let methods = [FactorMethod::Totp, FactorMethod::RecoveryCode];
    Ok(LoggedIn::Challenged { mfa: Asked { challenge, methods } })
}

/// Records that the password was right. Where a former pepper made its hash,
/// `renewed` takes its place in the same transaction, unless the user chose
/// another password meanwhile.
async fn record_match(
    request: &Request,
    tenant: &Tenant,
    user: &Stored<User>,
    (action, facts): (&'static str, Value),
    renewed: Option<PasswordHash>,
) -> Result<(), Problem> {
    let by = sign_in::attribution(request, Some(user.id), Outcome::Success)?;
    tenant
        .audited(&by, action, async |tx| {
            tx.about(sign_in::resource(Some(user.id)));
            tx.facts(&facts, &[])?;
            let Some(renewed) = &renewed else { return Ok(()) };
            let found = tx.get::<User>(user.id).await?;
            let same = found.filter(|found| found.entity.password == user.entity.password);
            if let Some(before) = same {
                let password = Some(renewed.clone());
                tx.replace(&before, User { password, ..before.entity.clone() }).await?;
            }
            Ok(())
        })
        .await
}
