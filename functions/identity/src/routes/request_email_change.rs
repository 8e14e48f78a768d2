//! `POST /v1/auth/email`

use keystone::auth::Permission;
use keystone::auth::password::PasswordInput;
use keystone::auth::throttle::{AccountKey, Purpose};
use keystone::auth::user::{
    EMAIL_CHANGE_LIFE, MailedFor, MailedTo, MailedToken, User, canonical_email, new_email_place,
};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::{Filter, Stored};
use keystone::{Problem, letters, mail};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::mailed_token::ANSWERS_AFTER;
use crate::{own_password, sign_in};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "request-email-change",
        method: Method::Post,
        path: "/v1/auth/email",
        summary: "Mails a link to the address that the caller wants to sign in with.",
        query: None,
        body: Some(schema_of::<EmailChange>),
        answer: Answer::empty(),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::ThrottleTable, Setting::PepperSecret, Setting::PublicUrl];

const ACTION: &str = "user.request_email_change";

/// The address wanted, and the caller's password, so that a stolen token does
/// not move the account to an address of the thief's.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailChange {
    /// E-mail address from then on.
    #[schemars(email, length(max = 254))]
    email: String,
    /// Password.
    #[schemars(length(min = 1, max = 1024))]
    password: PasswordInput,
}

/// The handler. The same answer after the same time whether the address is
/// another's or not, and at most ten requests in a quarter of an hour of one
/// user and from one address, so that nobody's mailbox is flooded.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let change: EmailChange = call.request().body()?;
    let (platform, request, tenant) = (call.platform(), call.request(), call.tenant());
    let user = sign_in::caller(&call).await?;
    let address = canonical_email(&change.email);
    if address == user.entity.email {
        return Err(Problem::invalid("/email", "Is the address that you have."));
    }
    own_password::confirm(&call, &user, ("/password", &change.password), ACTION).await?;
    // From here on, since a password's check takes longer under load.
    let answer_at = Instant::now() + ANSWERS_AFTER;
    let account = AccountKey::new(tenant.id().as_str(), &user.id.to_string());
    let throttle = platform.throttle().await?;
    // Asking is neither right nor wrong, so both counts keep the request.
    if let Err(denial) =
        throttle.admit(request.now, request.ip()?, &account, Purpose::EmailRequest).await
    {
        return Err(sign_in::denied(platform, request, denial).await);
    }
    mail_link(&call, &user, address).await?;
    sleep_until(answer_at).await;
    Ok(Reply::empty())
}

/// A token for an address that is another's is kept like any other, so that
/// the audit trail, of which the caller may read their own part, shows no
/// difference; but nobody is mailed it.
async fn mail_link(call: &Call, user: &Stored<User>, address: String) -> Result<(), Problem> {
    let (id, token, tenant) = (call.new_id()?, MailedToken::new()?, call.tenant());
    let url = call.platform().config().get(Setting::PublicUrl).map_err(|_| Problem::Internal)?;
    let letter = letters::email_change(url, tenant.profile(), &user.entity, &address, &token)?;
    let subject = Subject::User(user.id);
    tenant
        .audited(&call.attribution()?, ACTION, async |tx| {
            tx.about(sign_in::resource(Some(user.id)));
            let kept = MailedTo {
                user: user.id,
                purpose: MailedFor::EmailChange,
                token: token.lasting(call.now() + EMAIL_CHANGE_LIFE, call.principal().epoch()),
                credentials: user.entity.credentials,
                new_email: Some(tenant.seal(new_email_place(id), subject, &address).await?),
            };
            tx.insert(id, kept).await?;
            let with_address = Filter::all().eq("email", address.clone());
            if tx.find::<User>(with_address).await?.is_none() {
                mail::enqueue(tx, call.now(), subject, &letter).await?;
            }
            Ok(())
        })
        .await
}
