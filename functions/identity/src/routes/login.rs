//! `POST /v1/auth/login`

use jiff::Timestamp;
use keystone::Problem;
use keystone::audit::entry::{Actor, ActorKind, Outcome, Resource};
use keystone::auth::password::{self, PasswordInput};
use keystone::auth::session::SessionSubject;
use keystone::auth::throttle::{AccountKey, Admission, AdmitError, LockedBy, Purpose};
use keystone::auth::token::Claims;
use keystone::auth::user::{User, UserStatus, canonical_email};
use keystone::config::Setting;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use keystone::tenant::{Filter, Stored, Tenant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "login",
        method: Method::Post,
        path: "/v1/auth/login",
        summary: "Signs in. After 10 failures in 15 minutes: 429.",
        query: None,
        body: Some(schema_of::<Login>),
        answer: Answer::json(200, schema_of::<SignedIn>),
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 6] = [
    Setting::ThrottleTable,
    Setting::SessionTable,
    Setting::SessionSecret,
    Setting::PepperSecret,
    Setting::MongodbSecret,
    Setting::DataKey,
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

/// A new session.
#[derive(Serialize, JsonSchema)]
pub struct SignedIn {
    /// Send it as `Authorization: Bearer <token>`.
    token: String,
    /// When the session ends at the latest; sooner after 8 hours of disuse.
    #[schemars(with = "String", extend("format" = "date-time"))]
    expires_at: Timestamp,
}

/// The handler. The order is the guarantee: the attempt is counted before
/// anything is looked up, and a session is made from nothing but the cleared
/// admission.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let login: Login = call.request().body()?;
    let now = call.request().now;
    let throttle = call.platform().throttle().await?;
    let account = AccountKey::new(&login.tenant, &login.email);
    let ip = call.request().ip()?;
    let admission = match throttle.admit(now, ip, &account, Purpose::SignIn).await {
        Ok(admission) => admission,
        Err(denial) => return Err(denied(&call, denial).await),
    };
    let tenant = call.platform().registry(now).await?.of_attempt(&admission, now).await?;
    let user = match &tenant {
        Some(tenant) => find_active(tenant, &login.email).await?,
        None => None,
    };
    let stored = user.as_ref().and_then(|user| user.entity.password.as_ref());
    let pepper = call.platform().pepper(now).await?;
    let matches = password::verify(&admission, &login.password, stored, &pepper);
    match (tenant, user) {
        (Some(tenant), Some(user)) if matches => sign_in(&call, &tenant, &user, admission).await,
        (Some(tenant), user) => {
            let id = user.map_or_else(|| "unknown".to_owned(), |user| user.id.to_string());
            record(&call, &tenant, &id, "session.create", Outcome::Failed, json!({})).await?;
            Err(Problem::InvalidCredentials)
        }
        (None, _) => Err(Problem::InvalidCredentials),
    }
}

async fn find_active(tenant: &Tenant, email: &str) -> Result<Option<Stored<User>>, Problem> {
    let found = tenant.find::<User>(Filter::all().eq("email", canonical_email(email))).await?;
    Ok(found.filter(|user| user.entity.status == UserStatus::Active))
}

async fn sign_in(
    call: &PublicCall,
    tenant: &Tenant,
    user: &Stored<User>,
    admission: Admission<'_>,
) -> Result<Reply, Problem> {
    let now = call.request().now;
    let cleared = admission.succeeded().await?;
    let sessions = call.platform().sessions().await?;
    let subject = SessionSubject {
        user: user.id,
        role: user.entity.role.name().to_owned(),
        amr: vec!["pwd".to_owned()],
        source_ip: call.request().ip()?,
        user_agent: call.request().user_agent.clone(),
    };
    let session = sessions.create(now, cleared, subject).await?;
    let token = call
        .platform()
        .signing_keys(now)
        .await?
        .sign(&Claims::of(&session, call.platform().parties()?))
        .map_err(|_| Problem::Internal)?;
    let id = user.id.to_string();
    let facts = json!({ "role": user.entity.role.name() });
    if let Err(problem) = record(call, tenant, &id, "session.create", Outcome::Success, facts).await
    {
        // No session without its audit entry.
        sessions.revoke(session.sid).await?;
        return Err(problem);
    }
    Reply::ok(&SignedIn { token, expires_at: session.expires_at })
}

/// The answer to an attempt that was not admitted. The first denial of a
/// window is recorded in the tenant's audit trail, if there is such a tenant.
async fn denied(call: &PublicCall, denial: AdmitError) -> Problem {
    let AdmitError::Locked { retry_after, by, first, .. } = &denial else {
        return denial.into();
    };
    if *first {
        let now = call.request().now;
        let by = match by {
            LockedBy::Address => "address",
            LockedBy::Account => "account",
        };
        let recorded = async {
            let registry = call.platform().registry(now).await?;
            match registry.of_denial(&denial, now).await? {
                Some(tenant) => {
                    let facts = json!({ "locked": by });
                    record(call, &tenant, "unknown", "session.lock", Outcome::Denied, facts).await
                }
                None => Ok(()),
            }
        };
        if let Err(problem) = recorded.await {
            return problem;
        }
    }
    Problem::TooManyRequests(*retry_after)
}

async fn record(
    call: &PublicCall,
    tenant: &Tenant,
    user: &str,
    action: &'static str,
    outcome: Outcome,
    facts: serde_json::Value,
) -> Result<(), Problem> {
    let kind = if outcome == Outcome::Success { ActorKind::User } else { ActorKind::Anonymous };
    let actor = Actor { kind, id: user.to_owned(), role: None, session: None };
    let by = call.request().attribution(actor)?;
    let resource = Resource { kind: "user".into(), id: user.to_owned() };
    tenant.record(&by, action, resource, outcome, facts).await
}
