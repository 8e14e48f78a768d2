//! The check of a second factor: a code of the app, or a recovery code.

use keystone::Problem;
use keystone::auth::throttle::{AccountKey, Admission, Purpose, Throttle};
use keystone::auth::totp::Code;
use keystone::auth::user::{User, seed_place};
use keystone::crypto::Subject;
use keystone::http::Request;
use keystone::letters::{self, AccountChange};
use keystone::mail;
use keystone::platform::Platform;
use keystone::tenant::{Id, Stored, Tenant, WriteTx};

use crate::sign_in;

/// What was shown.
pub enum Proof {
    /// A code of the app; its step is used up.
    App,
    /// A recovery code, by its hash; [`Proof::spend`] uses it up.
    Recovery(String),
}

/// Admits an attempt at the second factor of `user`, who showed the password
/// before it. Whose codes are locked hears of it once.
///
/// # Errors
/// 429 after ten failures in a quarter of an hour.
pub async fn admit<'t>(
    platform: &Platform,
    request: &Request,
    throttle: &'t Throttle,
    tenant: &str,
    user: Id,
) -> Result<Admission<'t>, Problem> {
    let account = AccountKey::new(tenant, &user.to_string());
    match throttle.admit(request.now, request.ip()?, &account, Purpose::SecondFactor).await {
        Ok(admission) => Ok(admission),
        Err(denial) => Err(sign_in::denied_to(platform, request, denial, Some(user)).await),
    }
}

/// Checks a code of the app with the seed of `user`, active or not, and uses
/// its step up.
///
/// # Errors
/// [`Problem`] when a store does not answer.
pub async fn app_code_fits(
    request: &Request,
    throttle: &Throttle,
    admission: &Admission<'_>,
    tenant: &Tenant,
    user: &Stored<User>,
    code: &Code,
) -> Result<bool, Problem> {
    let Some(sealed) = &user.entity.totp_seed else { return Ok(false) };
    let seed = tenant.open(seed_place(user.id), sealed).await.map_err(|error| {
        tracing::error!(cause = %error, "a seed does not open");
        Problem::Internal
    })?;
    let Some(step) = seed.expose().step_of(admission, code, request.now)? else {
        return Ok(false);
    };
    // Steps are counted for the seed: another app begins anew.
    let app = AccountKey::new(tenant.id().as_str(), &seed.expose().fingerprint());
    Ok(throttle.use_once(request.now, &app, step).await?)
}

/// Checks a code of either kind against the active second factor of `user`.
///
/// # Errors
/// [`Problem`] when a store does not answer.
pub async fn check(
    request: &Request,
    throttle: &Throttle,
    admission: &Admission<'_>,
    tenant: &Tenant,
    user: &Stored<User>,
    code: &Code,
) -> Result<Option<Proof>, Problem> {
    let Some(factor) = &user.entity.second_factor else { return Ok(None) };
    if factor.active_since.is_none() {
        return Ok(None);
    }
    if let Some(hash) = code.recovery_hash() {
        return Ok(factor.recovery_codes.contains(&hash).then_some(Proof::Recovery(hash)));
    }
    let fits = app_code_fits(request, throttle, admission, tenant, user, code).await?;
    Ok(fits.then_some(Proof::App))
}

impl Proof {
    /// How the proof stands in the audit trail.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Recovery(_) => "recovery_code",
        }
    }

    /// Uses a recovery code of `user` up and tells its owner; the step of an
    /// app's code is used up already.
    ///
    /// # Errors
    /// 401 when somebody used it meanwhile.
    pub async fn spend(
        &self,
        tx: &mut WriteTx<'_>,
        request: &Request,
        user: Id,
    ) -> Result<(), Problem> {
        let Self::Recovery(hash) = self else { return Ok(()) };
        let before = tx.get::<User>(user).await?.ok_or(Problem::InvalidCredentials)?;
        let mut after = before.entity.clone();
        let factor = after.second_factor.as_mut().ok_or(Problem::InvalidCredentials)?;
        let had = factor.recovery_codes.len();
        factor.recovery_codes.retain(|code| code != hash);
        let left = factor.recovery_codes.len();
        if left == had {
            return Err(Problem::InvalidCredentials);
        }
        let change = AccountChange::RecoveryCode(left);
        let letter = letters::account_change(tx.tenant().profile(), &after, change)?;
        tx.replace(&before, after).await?;
        mail::enqueue(tx, request.now, Subject::User(user), &letter).await?;
        Ok(())
    }
}
