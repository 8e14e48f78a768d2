//! The queue of exports to be made.

use keystone::config::Setting;
use keystone::platform::Platform;
use keystone::tenant::{Id, StoreError, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A message of the queue. It says where to look and nothing else: what is to
/// be done stands in the export, so that a message may come twice or late.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Slug of the tenant.
    #[schemars(extend("format" = "tenant"))]
    pub tenant: String,
    /// Id of the export.
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub export: Id,
}

/// Asks for a run over the export `id`.
///
/// # Errors
/// [`StoreError::Unavailable`] when the queue does not take it.
pub async fn send(platform: &Platform, tenant: &TenantId, id: Id) -> Result<(), StoreError> {
    let url = platform.setting(Setting::ExportQueue)?;
    let message = Message { tenant: tenant.to_string(), export: id };
    aws_sdk_sqs::Client::new(platform.aws().await?)
        .send_message()
        .queue_url(url)
        .message_body(serde_json::to_string(&message).map_err(StoreError::defect)?)
        .send()
        .await
        .map_err(|error| StoreError::unavailable("sqs", &error))?;
    Ok(())
}
