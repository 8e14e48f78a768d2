//! `POST /v1/auth/email/confirm`

use keystone::audit::entry::Outcome;
use keystone::auth::throttle::{AccountKey, Purpose};
use keystone::auth::user::{
    MailedFor, MailedTo, MailedToken, User, canonical_email, new_email_place,
};
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use keystone::letters::{self, AccountChange};
use keystone::tenant::{StoreError, Stored, Tenant};
use keystone::{Problem, mail};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::mailed_token::{mailed_to, must_be_open, used_meanwhile};
use crate::sign_in;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "change-email",
        method: Method::Post,
        path: "/v1/auth/email/confirm",
        summary: "Changes a user's e-mail address with a mailed token; ends every session.",
        query: None,
        body: Some(schema_of::<TokenOfLink>),
        answer: Answer::empty(),
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 5] = [
    Setting::ThrottleTable,
    Setting::SessionTable,
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
];

/// What stands in the link.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenOfLink {
    /// Slug of the tenant.
    #[schemars(length(min = 1, max = 64))]
    tenant: String,
    /// Token.
    #[schemars(length(min = 1, max = 128))]
    token: String,
}

/// The handler. The change of credentials voids the token, and every other one
/// that was mailed to the user. Nobody is signed in by it. The former address
/// is told; where it stands among the tenant's contacts it stays, because
/// those are the `super_admin`'s to decide.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let (tenant, user, kept) = redeem(&call, &call.request().body()?).await?;
    let now = call.request().now;
    let opened = tenant.open_kept(new_email_place(kept.id), kept.entity.new_email.as_ref()).await?;
    let address = opened.ok_or(Problem::InvalidCredentials)?;
    let by = sign_in::attribution(call.request(), Some(user.id), Outcome::Success)?;
    tenant
        .audited(&by, "user.change_email", async |tx| {
            must_be_open(tx, &kept.entity.token, now).await?;
            let after = user.entity.clone().with_email(address.expose().clone());
            let after = tx.replace(&user, after).await.map_err(|error| match error {
                StoreError::Duplicate => taken(),
                other => used_meanwhile(other),
            })?;
            tx.link_contacts(&after).await?;
            let contacts = tx.settings().await?.entity.contacts;
            let former = &user.entity.email;
            let still_contact =
                contacts.iter().any(|(_, contact)| canonical_email(&contact.email) == *former);
            tx.facts(&json!({ "former_address_still_contact": still_contact }), &[])?;
            let change = AccountChange::Email { still_contact };
            let letter = letters::account_change(tenant.profile(), &user.entity, change)?;
            mail::enqueue(tx, now, Subject::User(user.id), &letter).await?;
            Ok(())
        })
        .await?;
    sign_in::sweep(call.platform(), now, user.id, None).await;
    Ok(Reply::empty())
}

/// Whose token it is. Wrong ones are throttled like wrong passwords.
async fn redeem(
    call: &PublicCall,
    link: &TokenOfLink,
) -> Result<(Tenant, Stored<User>, Stored<MailedTo>), Problem> {
    let (platform, request) = (call.platform(), call.request());
    let throttle = platform.throttle().await?;
    let account = AccountKey::new(&link.tenant, &link.token);
    let purpose = Purpose::EmailChange;
    let admission = match throttle.admit(request.now, request.ip()?, &account, purpose).await {
        Ok(admission) => admission,
        Err(denial) => return Err(sign_in::denied(platform, request, denial).await),
    };
    let registry = platform.registry(request.now).await?;
    let tenant =
        registry.of_attempt(&admission, request.now).await?.ok_or(Problem::InvalidCredentials)?;
    let hash = MailedToken::from_text(&link.token).hash();
    let found = mailed_to(&tenant, hash, MailedFor::EmailChange, request.now).await?;
    let (user, kept) = found.ok_or(Problem::InvalidCredentials)?;
    let _ = admission.succeeded().await?;
    Ok((tenant, user, kept))
}

/// The refusal of an address that became another's after the token was mailed;
/// whoever has the token reads the mail of that address.
fn taken() -> Problem {
    Problem::Conflict("This address can no longer be taken for this account.".into())
}
