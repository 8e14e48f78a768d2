//! Tokens that somebody was mailed, and the password chosen with one.

use std::time::Duration;

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::password::{Password, PasswordContext, PasswordHash, PasswordInput};
use keystone::auth::throttle::{AccountKey, Purpose};
use keystone::auth::user::{Mailed, MailedFor, MailedTo, MailedToken, User, UserStatus};
use keystone::http::PublicCall;
use keystone::tenant::{Filter, StoreError, Stored, Tenant, WriteTx};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::sign_in;

/// After how long the answer to a request for a mail comes, whatever was found:
/// longer than the work takes, so that the time does not tell whether an
/// address is an account's.
pub const ANSWERS_AFTER: Duration = Duration::from_millis(1500);

/// A token and the password chosen.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenAndPassword {
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

/// A kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of somebody who was invited.
    Invitation,
    /// Of a user who forgot their password.
    Reset,
}

/// Whose token it is, and their new password.
pub struct Chosen {
    /// The tenant.
    pub tenant: Tenant,
    /// The user.
    pub user: Stored<User>,
    /// The password as stored.
    pub hash: PasswordHash,
    /// What is kept of the token.
    pub token: Mailed,
}

/// Refuses a token that no longer opens anything as the transaction sees it:
/// all sessions of the tenant may have been ended since it was found.
///
/// # Errors
/// 401 when it does not; 503 when the database does not answer.
pub async fn must_be_open(
    tx: &mut WriteTx<'_>,
    token: &Mailed,
    now: Timestamp,
) -> Result<(), Problem> {
    let epoch = tx.settings().await?.entity.session_epoch;
    if token.is_open(epoch, now) { Ok(()) } else { Err(Problem::InvalidCredentials) }
}

/// The refusal of a token that somebody used at the same time.
pub fn used_meanwhile(error: StoreError) -> Problem {
    match error {
        StoreError::Stale => Problem::InvalidCredentials,
        other => other.into(),
    }
}

impl Kind {
    /// Checks token and password. Wrong tokens are throttled like wrong
    /// passwords; a weak password with a right token is not.
    ///
    /// # Errors
    /// 401 for a token that is wrong, used or too old; 422 for a password that
    /// may not be chosen, after which the token is still good.
    pub async fn redeem(
        self,
        call: &PublicCall,
        body: &TokenAndPassword,
    ) -> Result<Chosen, Problem> {
        let (platform, request) = (call.platform(), call.request());
        let throttle = platform.throttle().await?;
        let account = AccountKey::new(&body.tenant, &body.token);
        let purpose = match self {
            Self::Invitation => Purpose::Invitation,
            Self::Reset => Purpose::Reset,
        };
        let admission = match throttle.admit(request.now, request.ip()?, &account, purpose).await {
            Ok(admission) => admission,
            Err(denial) => return Err(sign_in::denied(platform, request, denial).await),
        };
        let registry = platform.registry(request.now).await?;
        let tenant = registry
            .of_attempt(&admission, request.now)
            .await?
            .ok_or(Problem::InvalidCredentials)?;
        let hash = MailedToken::from_text(&body.token).hash();
        let found = match self {
            Self::Invitation => invited(&tenant, hash, request.now).await?,
            Self::Reset => {
                let found = mailed_to(&tenant, hash, MailedFor::PasswordReset, request.now).await?;
                found.map(|(user, kept)| (user, kept.entity.token))
            }
        };
        let (user, token) = found.ok_or(Problem::InvalidCredentials)?;
        let _ = admission.succeeded().await?;
        let context = PasswordContext {
            email: &user.entity.email,
            name: &user.entity.name,
            tenant: &body.tenant,
            organisation: &tenant.profile().legal_name,
        };
        let password = Password::new("/password", &body.password, context)
            .map_err(|error| Problem::Invalid(vec![error]))?;
        let hash = password.hash(&platform.pepper(request.now).await?)?;
        Ok(Chosen { tenant, user, hash, token })
    }
}

/// Who may accept the invitation with this hash at `now`, and what is kept of
/// it.
async fn invited(
    tenant: &Tenant,
    hash: String,
    now: Timestamp,
) -> Result<Option<(Stored<User>, Mailed)>, StoreError> {
    let found = tenant.find::<User>(Filter::all().eq("invitation.token_hash", hash)).await?;
    let invited = found.filter(|user| user.entity.status == UserStatus::Invited);
    let Some(user) = invited else { return Ok(None) };
    let epoch = tenant.settings().await?.entity.session_epoch;
    let open = user.entity.invitation.clone().filter(|kept| kept.is_open(epoch, now));
    Ok(open.map(|kept| (user, kept)))
}

/// The user who may use the mailed token with this hash at `now` for `purpose`,
/// and what is kept of it.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn mailed_to(
    tenant: &Tenant,
    hash: String,
    purpose: MailedFor,
    now: Timestamp,
) -> Result<Option<(Stored<User>, Stored<MailedTo>)>, StoreError> {
    let found = tenant.find::<MailedTo>(Filter::all().eq("token.token_hash", hash)).await?;
    let Some(kept) = found else { return Ok(None) };
    let (user, settings) = tokio::join!(tenant.get::<User>(kept.entity.user), tenant.settings());
    let epoch = settings?.entity.session_epoch;
    Ok(user?.filter(|user| kept.entity.opens(user, purpose, epoch, now)).map(|user| (user, kept)))
}
