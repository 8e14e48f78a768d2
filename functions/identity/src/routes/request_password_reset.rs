//! `POST /v1/auth/password-reset`

use keystone::Problem;
use keystone::audit::entry::Outcome;
use keystone::auth::throttle::{AccountKey, Purpose};
use keystone::auth::user::{MailedFor, MailedTo, MailedToken, RESET_LIFE, User, UserStatus};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use keystone::tenant::{Stored, Tenant};
use keystone::{letters, mail};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::mailed_token::ANSWERS_AFTER;
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
/// at most ten requests in a quarter of an hour for one and from one address.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let answer_at = Instant::now() + ANSWERS_AFTER;
    let account: Account = call.request().body()?;
    let outcome = mail_link(&call, &account, answer_at).await;
    sleep_until(answer_at).await;
    outcome.map(|()| Reply::empty())
}

/// Asking is neither right nor wrong, so both counts keep the request. Only
/// what is mailed enters the audit trail: what strangers invent does not.
async fn mail_link(
    call: &PublicCall,
    account: &Account,
    answer_at: Instant,
) -> Result<(), Problem> {
    let (platform, request) = (call.platform(), call.request());
    let throttle = platform.throttle().await?;
    let key = AccountKey::new(&account.tenant, &account.email);
    let admission =
        match throttle.admit(request.now, request.ip()?, &key, Purpose::ResetRequest).await {
            Ok(admission) => admission,
            Err(denial) => return Err(sign_in::denied(platform, request, denial).await),
        };
    let registry = platform.registry(request.now).await?;
    let named = registry.named(admission.tenant(), &account.email).await?;
    let found = registry.account_of_attempt(&admission, named, request.now).await?;
    let Some(found) = found else { return Ok(()) };
    let Some(user) = found.user.filter(|user| user.entity.status == UserStatus::Active) else {
        return Ok(());
    };
    // Who has an account is not told by its failure or its length either, and
    // whoever gets no mail asks again.
    match timeout_at(answer_at, open_reset(call, &found.tenant, &user)).await {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => tracing::error!(cause = ?problem, "a link was not mailed"),
        Err(_) => tracing::error!("a link was not mailed in time"),
    }
    Ok(())
}

/// The token stands beside the user: whoever asks has proved nothing yet, so
/// it changes neither the user nor what others were mailed.
async fn open_reset(
    call: &PublicCall,
    tenant: &Tenant,
    user: &Stored<User>,
) -> Result<(), Problem> {
    let request = call.request();
    let token = MailedToken::new()?;
    let id = keystone::random::id(request.now)?;
    let url = call.platform().config().get(Setting::PublicUrl).map_err(|_| Problem::Internal)?;
    let letter = letters::password_reset(url, tenant.profile(), &user.entity, &token)?;
    let by = sign_in::attribution(request, None, Outcome::Failed)?;
    tenant
        .audited(&by, "user.request_password_reset", async |tx| {
            tx.about(sign_in::resource(Some(user.id)));
            let epoch = tx.settings().await?.entity.session_epoch;
            let kept = MailedTo {
                user: user.id,
                purpose: MailedFor::PasswordReset,
                token: token.lasting(request.now + RESET_LIFE, epoch),
                credentials: user.entity.credentials,
                new_email: None,
            };
            tx.insert(id, kept).await?;
            mail::enqueue(tx, request.now, Subject::User(user.id), &letter).await?;
            Ok(())
        })
        .await
}
