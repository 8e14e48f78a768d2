//! Session tokens, as somebody without the secret can try them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keystone::auth::session::IDLE_LIMIT;
use keystone::config::Setting;
use serde_json::{Value, json};

use super::publication::refuses;
use super::{Blind, Finding, Look, refused};

/// What the claim says (C9).
const CLAIMED_IDLE_HOURS: i64 = 8;

/// Any guarded route.
const PATH: &str = "/v1/products";

/// A token of these parts, signed by nobody.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (header, claims) = (header.to_string(), claims.to_string());
    format!("{}.{}.{}", part(header.as_bytes()), part(claims.as_bytes()), part(signature))
}

pub(super) async fn tokens(look: &Look<'_>) -> Result<Finding, Blind> {
    let now = look.job.now.as_second();
    let claims = json!({
        "iss": "keystone", "aud": look.setting(Setting::Deployment)?, "tid": "keystone",
        "sub": "01890000-0000-7000-8000-000000000000", "role": "super_admin",
        "sid": "01890000-0000-7000-8000-000000000000", "amr": ["pwd", "otp"],
        "iat": now, "exp": now + 3600,
    });
    let forgeries = [
        forged(&json!({ "alg": "none", "typ": "JWT" }), &claims, b""),
        forged(&json!({ "alg": "HS256", "kid": "k1", "typ": "JWT" }), &claims, &[0; 32]),
        forged(&json!({ "alg": "RS256", "kid": "k1", "typ": "JWT" }), &claims, &[0; 256]),
    ];
    let url = format!("{}{PATH}", look.setting(Setting::ApiUrl)?);
    let mut taken = 0;
    for token in &forgeries {
        let answer = look.http.get(&url).bearer_auth(token).send().await?;
        taken += usize::from(!refuses(answer.status().as_u16())?);
    }
    let secrets = aws_sdk_secretsmanager::Client::new(look.job.platform.aws().await?);
    let secret = look.setting(Setting::SessionSecret)?;
    let secret = secrets.describe_secret().secret_id(secret).send().await;
    let secret = secret.map_err(|error| refused(&error))?;
    let by_a_key = secret.kms_key_id().is_some();
    let idle = IDLE_LIMIT.as_hours();
    let holds = taken == 0 && by_a_key && idle == CLAIMED_IDLE_HOURS;
    let evidence = format!(
        "Of {} tokens that were made without the secret {taken} were taken; the secret {} \
         encrypted by a customer key; sessions end after {idle} hours without use.",
        forgeries.len(),
        if by_a_key { "is" } else { "is not" },
    );
    let facts = json!({ "forged": forgeries.len(), "taken": taken, "idle_hours": idle });
    Ok(Finding::of(holds, evidence, facts))
}
