//! `POST /v1/auth/password-reset`

use std::time::Duration;

use keystone::Problem;
use keystone::audit::entry::Outcome;
use keystone::auth::throttle::{AccountKey, Purpose};
use keystone::auth::user::{MailedToken, RESET_LIFE, User, UserStatus, canonical_email};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use keystone::tenant::{Filter, Stored, Tenant};
use keystone::{letters, mail};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::sign_in;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "request-password-reset",
        method: Method::Post,
        path: "/v1/auth/password-reset",
        summary: "Mails a link to choose a new password, if there is such an account.",
        query: None,
        body: Some(schema_of::<Account>),
        answer: Answer::empty(),
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 5] = [
    Setting::ThrottleTable,
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
    Setting::PublicUrl,
];

/// After how long the answer comes, whatever was found: longer than the work
/// takes, so that the time does not tell whether there is an account.
const ANSWERS_AFTER: Duration = Duration::from_millis(750);

/// Whose password is forgotten. As at sign-in, the form is not checked.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Slug of the tenant.
    #[schemars(length(min = 1, max = 64))]
    tenant: String,
    /// E-mail address of the account.
    #[schemars(length(min = 1, max = 254))]
    email: String,
}

/// The handler. The same answer after the same time for every account, and
/// at most ten mails in a quarter of an hour for one.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let answer_at = Instant::now() + ANSWERS_AFTER;
    let account: Account = call.request().body()?;
    let outcome = mail_link(&call, &account).await;
    sleep_until(answer_at).await;
    outcome.map(|()| Reply::empty())
}

async fn mail_link(call: &PublicCall, account: &Account) -> Result<(), Problem> {
    let (platform, request) = (call.platform(), call.request());
    let throttle = platform.throttle().await?;
    let key = AccountKey::new(&account.tenant, &account.email);
    let admission =
        match throttle.admit(request.now, request.ip()?, &key, Purpose::ResetRequest).await {
            Ok(admission) => admission,
            Err(denial) => return Err(sign_in::denied(platform, request, denial).await),
        };
    let registry = platform.registry(request.now).await?;
    let tenant = registry.of_attempt(&admission, request.now).await?;
    admission.spent().await?;
    let Some(tenant) = tenant else { return Ok(()) };
    let email = canonical_email(&account.email);
    let found = tenant.find::<User>(Filter::all().eq("email", email)).await?;
    if let Some(user) = found.filter(|user| user.entity.status == UserStatus::Active) {
        return open_reset(call, &tenant, &user).await;
    }
    let (action, failed) = ("user.request_password_reset", Outcome::Failed);
    sign_in::record(request, &tenant, None, action, failed, json!({})).await
}

async fn open_reset(
    call: &PublicCall,
    tenant: &Tenant,
    user: &Stored<User>,
) -> Result<(), Problem> {
    let request = call.request();
    let token = MailedToken::new()?;
    let url = call.platform().config().get(Setting::PublicUrl).map_err(|_| Problem::Internal)?;
    let letter = letters::password_reset(url, tenant.id(), &user.entity, &token)?;
    // Whoever asks has proved nothing yet.
    let by = sign_in::attribution(request, None, Outcome::Failed)?;
    tenant
        .audited(&by, "user.request_password_reset", async |tx| {
            let before = tx.get::<User>(user.id).await?.ok_or(Problem::NotFound)?;
            let reset = Some(token.lasting(request.now + RESET_LIFE));
            tx.replace(&before, User { password_reset: reset, ..before.entity.clone() }).await?;
            mail::enqueue(tx, request.now, Subject::User(before.id), &letter).await?;
            Ok(())
        })
        .await
}
