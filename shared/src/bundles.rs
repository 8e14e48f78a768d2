//! Bundles of what is held of people, as files: where they lie, and how an erasure
//! takes them away. They are in clear, and no key that is destroyed closes them.

use aws_sdk_s3::types::Object;

use crate::config::Setting;
use crate::platform::Platform;
use crate::tenant::{Id, StoreError, TenantId};

/// Where the bundles of the request of somebody about their data lie.
pub fn folder(tenant: &TenantId, request: Id) -> String {
    format!("subject-bundles/{tenant}/{request}/")
}

/// Deletes all bundles of a request, those too of which nothing is recorded since
/// the run died that made them.
pub(crate) async fn delete(
    platform: &Platform,
    tenant: &TenantId,
    request: Id,
) -> Result<(), StoreError> {
    let client = aws_sdk_s3::Client::new(platform.aws().await?);
    let bucket = platform.setting(Setting::ExportBucket)?;
    loop {
        let found = client
            .list_objects_v2()
            .bucket(bucket)
            .prefix(folder(tenant, request))
            .send()
            .await
            .map_err(|error| StoreError::unavailable("s3", &error))?;
        for key in found.contents().iter().filter_map(Object::key) {
            client
                .delete_object()
                .bucket(bucket)
                .key(key)
                .send()
                .await
                .map_err(|error| StoreError::unavailable("s3", &error))?;
        }
        // What was listed is gone, so the next page is the first.
        if found.is_truncated() != Some(true) {
            return Ok(());
        }
    }
}
