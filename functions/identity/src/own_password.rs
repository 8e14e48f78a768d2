//! The check of the caller's own password, for what asks for it once more.

use keystone::Problem;
use keystone::auth::password::{self, PasswordInput};
use keystone::auth::throttle::{AccountKey, Cleared, Purpose};
use keystone::auth::user::User;
use keystone::config::Setting;
use keystone::http::Call;
use keystone::tenant::Stored;

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
