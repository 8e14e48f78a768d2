//! The check of the caller's own password, for what asks for it once more.

use keystone::Problem;
use keystone::audit::entry::Outcome;
use keystone::auth::password::{self, PasswordInput};
use keystone::auth::throttle::{AccountKey, Cleared, Purpose};
use keystone::auth::user::User;
use keystone::config::Setting;
use keystone::http::Call;
use keystone::tenant::Stored;
use serde_json::json;

use crate::sign_in;

/// What the check needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 2] = [Setting::ThrottleTable, Setting::PepperSecret];

/// Whether `password` is that of `user`, who makes the request; `None` for a
/// wrong one, which is counted.
///
/// # Errors
/// 429 after ten failures in a quarter of an hour.
pub async fn check(
    call: &Call,
    user: &Stored<User>,
    password: &PasswordInput,
) -> Result<Option<Cleared>, Problem> {
    let (platform, request) = (call.platform(), call.request());
    let throttle = platform.throttle().await?;
    let account = AccountKey::new(call.tenant().id().as_str(), &user.entity.email);
    let admission =
        match throttle.admit(request.now, request.ip()?, &account, Purpose::StepUp).await {
            Ok(admission) => admission,
            Err(denial) => return Err(sign_in::denied(platform, request, denial).await),
        };
    let pepper = platform.pepper(request.now).await?;
    if password::verify(&admission, password, user.entity.password.as_ref(), &pepper).await {
        return Ok(Some(admission.succeeded().await?));
    }
    Ok(None)
}

/// Asks for the password of `user`, sent in the field at the JSON pointer
/// `field`, before `action`. A wrong one is recorded as a failure of it.
///
/// # Errors
/// 422 for a wrong password; as [`check`].
pub async fn confirm(
    call: &Call,
    user: &Stored<User>,
    (field, password): (&str, &PasswordInput),
    action: &'static str,
) -> Result<(), Problem> {
    if check(call, user, password).await?.is_some() {
        return Ok(());
    }
    let (by, about) = (call.attribution()?, sign_in::resource(Some(user.id)));
    call.tenant().record(&by, action, about, Outcome::Failed, json!({})).await?;
    Err(Problem::invalid(field, "Is not your password."))
}
