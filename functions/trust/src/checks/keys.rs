//! The key that encrypts every store.

use keystone::config::Setting;
use serde_json::json;

use super::{Blind, Finding, Look, refused};

/// Longest time between two rotations, in days: KMS's own default.
const LONGEST_PERIOD: i32 = 365;

pub(super) async fn rotation(look: &Look<'_>) -> Result<Finding, Blind> {
    let kms = look.job.platform.kms().await?;
    let status = kms
        .get_key_rotation_status()
        .key_id(look.setting(Setting::DataKey)?)
        .send()
        .await
        .map_err(|error| refused(&error))?;
    let on = status.key_rotation_enabled();
    let days = status.rotation_period_in_days();
    let holds = on && days.is_none_or(|days| days <= LONGEST_PERIOD);
    let evidence = match (on, days) {
        (false, _) => "KMS does not rotate the key that encrypts every store.".to_owned(),
        (true, Some(days)) => format!("KMS rotates the key every {days} days."),
        (true, None) => "KMS rotates the key.".to_owned(),
    };
    Ok(Finding::of(holds, evidence, json!({ "rotation": on, "period_days": days })))
}
