//! The archive of checkpoints: a bucket with object lock in compliance mode,
//! from which nobody can delete them before their time.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::DeleteMarkerEntry;
use jiff::Timestamp;
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

/// Where the checkpoint lies that extends the one of `previous` entries. One
/// key for all that extend it, so that there can be one only. Of fixed width,
/// so that text order is the order of the chain.
fn key(tenant: &TenantId, previous: u64) -> String {
    format!("{}after-{previous:016}.json", prefix(tenant))
}

fn previous_of(prefix: &str, name: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.strip_prefix("after-")?.strip_suffix(".json")?.parse().ok()
}

/// When an object was put, to the second.
fn time_of(last_modified: Option<&DateTime>) -> Result<Timestamp, StoreError> {
    let at = last_modified.ok_or_else(|| StoreError::defect("an object has no time"))?;
    Timestamp::from_second(at.secs()).map_err(StoreError::defect)
}

/// A checkpoint in the archive.
#[derive(Debug)]
pub struct Archived {
    /// The note, and the proof that it extends the one before.
    pub link: Link,
    /// When it was archived, to the second.
    pub at: Timestamp,
}

/// What the archive holds of a tenant's checkpoints, each named by the size that
/// it extends; its own is the next.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Those that there are, and when the first version of each was archived, to
    /// the second.
    pub extended: BTreeMap<u64, Timestamp>,
    /// Those with a delete marker, behind which S3 hides an object.
    pub hidden: BTreeSet<u64>,
    /// Those with several versions: something was put over the first.
    pub replaced: BTreeSet<u64>,
}

impl Holdings {
    /// When the checkpoint was archived that extends what this one says to extend.
    pub fn archived_at(&self, signed: &SignedCheckpoint) -> Option<Timestamp> {
        self.extended.get(&signed.link.previous).copied()
    }
}

impl Archive {
    /// With the platform's configuration.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the bucket is not configured.
    pub async fn of(platform: &Platform) -> Result<Self, StoreError> {
        let bucket = platform.setting(Setting::ArchiveBucket)?;
        let config = aws_sdk_s3::config::Builder::from(platform.aws().await?)
            // Buckets by path: their names need no DNS, on AWS or elsewhere.
            .force_path_style(true)
            .build();
        Ok(Self { client: Client::from_conf(config), bucket: bucket.to_owned() })
    }

    /// Puts a checkpoint into the archive; `false`, and nothing is put, when
    /// one is there that extends the same one. The bucket's default retention
    /// locks it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not say that it took it. It may
    /// have.
    pub async fn keep(&self, tenant: &TenantId, link: &Link) -> Result<bool, StoreError> {
        let body = serde_json::to_vec(link).map_err(StoreError::defect)?;
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key(tenant, link.previous))
            .content_type("application/json")
            .if_none_match("*")
            .body(ByteStream::from(body))
            .send()
            .await;
        match put {
            Ok(_) => Ok(true),
            // One is there, or another is being put at this moment.
            Err(error)
                if matches!(
                    error.code(),
                    Some("PreconditionFailed" | "ConditionalRequestConflict")
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(StoreError::unavailable("s3", &error)),
        }
    }

    /// The tenants of which there are checkpoints, hidden ones too.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not answer.
    pub async fn tenants(&self) -> Result<BTreeSet<TenantId>, StoreError> {
        let mut tenants = BTreeSet::new();
        for page in self.versions(FOLDER, Some("/")).await? {
            let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            let names = folders.filter_map(|folder| folder.strip_prefix(FOLDER));
            tenants.extend(names.filter_map(|name| TenantId::parse(name.trim_end_matches('/'))));
        }
        Ok(tenants)
    }

    /// What there is of a tenant's checkpoints, whatever was put over it since.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not answer.
    pub async fn holdings(&self, tenant: &TenantId) -> Result<Holdings, StoreError> {
        let prefix = prefix(tenant);
        let mut holdings = Holdings::default();
        for page in self.versions(&prefix, None).await? {
            for version in page.versions() {
                let Some(previous) = version.key().and_then(|name| previous_of(&prefix, name))
                else {
                    continue;
                };
                let at = time_of(version.last_modified())?;
                match holdings.extended.entry(previous) {
                    Entry::Vacant(first) => {
                        first.insert(at);
                    }
                    Entry::Occupied(mut known) => {
                        holdings.replaced.insert(previous);
                        *known.get_mut() = at.min(*known.get());
                    }
                }
            }
            let markers = page.delete_markers().iter().filter_map(DeleteMarkerEntry::key);
            holdings.hidden.extend(markers.filter_map(|name| previous_of(&prefix, name)));
        }
        Ok(holdings)
    }

    /// Pages of every version of what lies below `prefix`: a listing of objects
    /// leaves out what a delete marker hides.
    async fn versions(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
    ) -> Result<Vec<ListObjectVersionsOutput>, StoreError> {
        let mut pages: Vec<ListObjectVersionsOutput> = Vec::new();
        loop {
            let last = pages.last();
            let page = self
                .client
                .list_object_versions()
                .bucket(&self.bucket)
                .prefix(prefix)
                .set_delimiter(delimiter.map(str::to_owned))
                .set_key_marker(last.and_then(|last| last.next_key_marker.clone()))
                .set_version_id_marker(last.and_then(|last| last.next_version_id_marker.clone()))
                .send()
                .await
                .map_err(|error| StoreError::unavailable("s3", &error))?;
            let more = page.is_truncated() == Some(true);
            pages.push(page);
            if !more {
                return Ok(pages);
            }
        }
    }

    /// The archived checkpoint that extends the one of `previous` entries, if
    /// there is one. It is not opened.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not answer;
    /// [`StoreError::Defect`] when what is there is no checkpoint.
    pub async fn after(
        &self,
        tenant: &TenantId,
        previous: u64,
    ) -> Result<Option<Archived>, StoreError> {
        let got =
            self.client.get_object().bucket(&self.bucket).key(key(tenant, previous)).send().await;
        let object = match got {
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            got => got.map_err(|error| StoreError::unavailable("s3", &error))?,
        };
        let at = time_of(object.last_modified())?;
        let body =
            object.body.collect().await.map_err(|error| StoreError::unavailable("s3", &error))?;
        let link = serde_json::from_slice(&body.into_bytes()).map_err(StoreError::defect)?;
        Ok(Some(Archived { link, at }))
    }
}
