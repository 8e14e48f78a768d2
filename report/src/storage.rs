//! The bucket that finished files lie in until they were fetched.

use std::time::Duration;

use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use keystone::audit::merkle::Hash;
use keystone::config::Setting;
use keystone::platform::Platform;
use keystone::tenant::{StoreError, TenantId};

/// For how long a file can be fetched; the bucket deletes it soon after.
pub const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// For how long a download link is good.
pub const LINK_LIFE: Duration = Duration::from_mins(5);

/// Longest time that storing one file may take, retries included.
const STORE_LIMIT: Duration = Duration::from_secs(100);

/// The bucket.
pub struct Storage {
    client: aws_sdk_s3::Client,
    bucket: String,
}

impl Storage {
    /// The bucket that the function is configured with.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when it is not.
    pub async fn new(platform: &Platform) -> Result<Self, StoreError> {
        let bucket = platform.config().get(Setting::ExportBucket).map_err(StoreError::defect)?;
        let client = aws_sdk_s3::Client::new(platform.aws().await?);
        Ok(Self { client, bucket: bucket.to_owned() })
    }

    /// Stores a file; S3 refuses bytes that have not this SHA-256.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it does not take them.
    pub async fn put(
        &self,
        key: &str,
        media_type: &str,
        bytes: Vec<u8>,
        sha256: Hash,
    ) -> Result<(), StoreError> {
        let limits = TimeoutConfig::builder().operation_timeout(STORE_LIMIT).build();
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_type(media_type)
            .checksum_sha256(STANDARD.encode(sha256.0))
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(aws_sdk_s3::config::Builder::new().timeout_config(limits))
            .send()
            .await
            .map_err(|error| StoreError::unavailable("s3", &error))?;
        Ok(())
    }

    /// Deletes a file; one that is not there is no error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not say that it is gone.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.client
            .delete_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await
            .map_err(|error| StoreError::unavailable("s3", &error))?;
        Ok(())
    }

    /// A link to a file of `tenant`, good for [`LINK_LIFE`], under which it is
    /// saved as `file_name`. Signed here: no store is asked. The key says whose a
    /// file is (`<kind>/<tenant>/...`), since the role may read every tenant's.
    ///
    /// # Errors
    /// [`StoreError`] when the file is another tenant's, or it cannot be signed.
    pub async fn link(
        &self,
        tenant: &TenantId,
        key: &str,
        file_name: &str,
    ) -> Result<String, StoreError> {
        if key.split('/').nth(1) != Some(tenant.as_str()) {
            return Err(StoreError::defect("a file of another tenant"));
        }
        let signed = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .response_content_disposition(format!("attachment; filename=\"{file_name}\""))
            .presigned(PresigningConfig::expires_in(LINK_LIFE).map_err(StoreError::defect)?)
            .await
            .map_err(|error| StoreError::unavailable("s3", &error))?;
        Ok(signed.uri().to_owned())
    }
}
