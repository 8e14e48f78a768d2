//! The archive of checkpoints: a bucket with object lock in compliance mode,
//! from which nobody can delete them before their time.

use std::collections::BTreeSet;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use keystone::audit::chain::Link;
use keystone::config::Setting;
use keystone::platform::Platform;
use keystone::tenant::{SignedCheckpoint, StoreError, TenantId};

/// The archive.
pub struct Archive {
    client: Client,
    bucket: String,
}

/// Where all checkpoints lie.
const FOLDER: &str = "checkpoints/";

/// Where a tenant's checkpoints lie.
fn prefix(tenant: &TenantId) -> String {
    format!("{FOLDER}{tenant}/")
}

/// Where the checkpoint of `size` entries lies. Of fixed width, so that text
/// order is the order of sizes.
fn key(tenant: &TenantId, size: u64) -> String {
    format!("{}{size:016}.json", prefix(tenant))
}

fn size_of(prefix: &str, name: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.strip_suffix(".json")?.parse().ok()
}

impl Archive {
    /// With the platform's configuration.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the bucket is not configured.
    pub async fn of(platform: &Platform) -> Result<Self, StoreError> {
        let bucket = platform.config().get(Setting::ArchiveBucket).map_err(StoreError::defect)?;
        let config = aws_sdk_s3::config::Builder::from(platform.aws().await?)
            // Buckets by path: their names need no DNS, on AWS or elsewhere.
            .force_path_style(true)
            .build();
        Ok(Self { client: Client::from_conf(config), bucket: bucket.to_owned() })
    }

    /// Puts a checkpoint into the archive, unless it is there already; `false`
    /// when another one of this size is. The bucket's default retention locks
    /// it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not take it;
    /// [`StoreError::Defect`] when what is there is no checkpoint.
    pub async fn keep(
        &self,
        tenant: &TenantId,
        signed: &SignedCheckpoint,
    ) -> Result<bool, StoreError> {
        let body = serde_json::to_vec(&signed.link).map_err(StoreError::defect)?;
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key(tenant, signed.size))
            .content_type("application/json")
            .if_none_match("*")
            .body(ByteStream::from(body))
            .send()
            .await;
        match put {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("PreconditionFailed") => {
                Ok(self.read(tenant, signed.size).await? == signed.link)
            }
            Err(error) => Err(StoreError::unavailable("s3", &error)),
        }
    }

    /// The size of an archived checkpoint of more than `size` entries, if
    /// there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not answer.
    pub async fn beyond(
        &self,
        tenant: &TenantId,
        size: Option<u64>,
    ) -> Result<Option<u64>, StoreError> {
        let prefix = prefix(tenant);
        let listed = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(&prefix)
            .set_start_after(size.map(|size| key(tenant, size)))
            .max_keys(1)
            .send()
            .await
            .map_err(|error| StoreError::unavailable("s3", &error))?;
        let name = listed.contents().first().and_then(aws_sdk_s3::types::Object::key);
        Ok(name.and_then(|name| size_of(&prefix, name)))
    }

    /// The tenants of which there are checkpoints.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not answer.
    pub async fn tenants(&self) -> Result<BTreeSet<TenantId>, StoreError> {
        let mut tenants = BTreeSet::new();
        let listed = self.client.list_objects_v2().bucket(&self.bucket).prefix(FOLDER);
        let mut pages = listed.delimiter("/").into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::unavailable("s3", &error))?;
            let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            let names = folders.filter_map(|folder| folder.strip_prefix(FOLDER));
            tenants.extend(names.filter_map(|name| TenantId::parse(name.trim_end_matches('/'))));
        }
        Ok(tenants)
    }

    /// The sizes of a tenant's archived checkpoints.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not answer.
    pub async fn sizes(&self, tenant: &TenantId) -> Result<BTreeSet<u64>, StoreError> {
        let prefix = prefix(tenant);
        let mut sizes = BTreeSet::new();
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(&prefix)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StoreError::unavailable("s3", &error))?;
            let names = page.contents().iter().filter_map(aws_sdk_s3::types::Object::key);
            sizes.extend(names.filter_map(|name| size_of(&prefix, name)));
        }
        Ok(sizes)
    }

    /// An archived checkpoint.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not give it, and
    /// [`StoreError::Defect`] when it is none.
    pub async fn read(&self, tenant: &TenantId, size: u64) -> Result<Link, StoreError> {
        let object = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key(tenant, size))
            .send()
            .await
            .map_err(|error| StoreError::unavailable("s3", &error))?;
        let body =
            object.body.collect().await.map_err(|error| StoreError::unavailable("s3", &error))?;
        serde_json::from_slice(&body.into_bytes()).map_err(StoreError::defect)
    }
}
