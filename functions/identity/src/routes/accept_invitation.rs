//! `POST /v1/invitations/accept`

use keystone::Problem;
use keystone::audit::entry::{Actor, ActorKind};
use keystone::auth::password::{Password, PasswordContext, PasswordHash, PasswordInput};
use keystone::auth::throttle::{AccountKey, AdmitError, Purpose};
use keystone::auth::user::{InvitationToken, User, UserStatus};
use keystone::config::Setting;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use keystone::tenant::{Filter, Stored, Tenant};
use schemars::JsonSchema;
use serde::Deserialize;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "accept-invitation",
        method: Method::Post,
        path: "/v1/invitations/accept",
        summary: "Accepts an invitation and sets the password.",
        query: None,
        body: Some(schema_of::<Acceptance>),
        answer: Answer::empty(),
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::ThrottleTable, Setting::PepperSecret, Setting::MongodbSecret, Setting::DataKey];

/// An invitation and the password chosen.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// Slug of the tenant, from the link.
    #[schemars(length(min = 1, max = 64))]
    tenant: String,
    /// Token, from the link.
    #[schemars(length(min = 1, max = 128))]
    token: String,
    /// Password: 12 to 128 characters of any script, not easily guessed.
    #[schemars(length(min = 1, max = 1024))]
    password: PasswordInput,
}

/// The handler. Wrong tokens are throttled like wrong passwords; a weak
/// password with a right token is not.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let body: Acceptance = call.request().body()?;
    let now = call.request().now;
    let throttle = call.platform().throttle().await?;
    let account = AccountKey::new(&body.tenant, &body.token);
    let ip = call.request().ip()?;
    let admission = throttle.admit(now, ip, &account, Purpose::Invitation).await.map_err(
        |denial| match denial {
            AdmitError::Locked { retry_after, .. } => Problem::TooManyRequests(retry_after),
            AdmitError::Store(error) => error.into(),
        },
    )?;
    let registry = call.platform().registry(now).await?;
    let tenant = registry.of_attempt(&admission, now).await?.ok_or(Problem::InvalidCredentials)?;
    let token = InvitationToken::from_text(&body.token);
    let user = find_invited(&tenant, &token, &call).await?.ok_or(Problem::InvalidCredentials)?;
    let _ = admission.succeeded().await?;
    let context = PasswordContext {
        email: &user.entity.email,
        name: &user.entity.name,
        tenant: &body.tenant,
    };
    let password = Password::new("/password", &body.password, context)
        .map_err(|error| Problem::Invalid(vec![error]))?;
    let hash = password.hash(&call.platform().pepper(now).await?)?;
    activate(&call, &tenant, user, hash).await
}

async fn find_invited(
    tenant: &Tenant,
    token: &InvitationToken,
    call: &PublicCall,
) -> Result<Option<Stored<User>>, Problem> {
    let filter = Filter::all().eq("invitation.token_hash", token.hash());
    Ok(tenant.find::<User>(filter).await?.filter(|user| {
        user.entity.status == UserStatus::Invited
            && user
                .entity
                .invitation
                .as_ref()
                .is_some_and(|invitation| call.request().now < invitation.expires_at)
    }))
}

async fn activate(
    call: &PublicCall,
    tenant: &Tenant,
    user: Stored<User>,
    hash: PasswordHash,
) -> Result<Reply, Problem> {
    let by = call.request().attribution(Actor {
        kind: ActorKind::User,
        id: user.id.to_string(),
        role: Some(user.entity.role.name().into()),
        session: None,
    })?;
    tenant
        .audited(&by, "user.activate", async |tx| {
            let active = User {
                status: UserStatus::Active,
                password: Some(hash.clone()),
                invitation: None,
                activated_at: Some(call.request().now),
                ..user.entity.clone()
            };
            // Stale: somebody accepted it meanwhile.
            tx.replace(&user, active).await?;
            Ok(Reply::empty())
        })
        .await
}
