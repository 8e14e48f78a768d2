//! The archive of checkpoints: a bucket with object lock in compliance mode,
//! from which nobody can delete them before their time.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::DeleteMarkerEntry;
use jiff::Timestamp;
use keystone::audit::chain::Link;
use keystone::audit::restores::Restores;
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

/// A step of a trail's chain: what a checkpoint extends. There is one place for
/// all that extend the same one, so that there can be one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The generation of the trail that the checkpoint is of.
    pub generation: u64,
    /// Size of the checkpoint that it extends; 0 for a trail's first.
    pub previous: u64,
}

impl Step {
    /// The step of this checkpoint, as it says itself.
    pub fn of(link: &Link) -> Self {
        Self { generation: link.generation(), previous: link.previous }
    }

    /// Where the checkpoint lies. Of fixed width, so that text order is the order
    /// of the chain.
    fn key(self, tenant: &TenantId) -> String {
        let Self { generation, previous } = self;
        let folder = if generation == 1 { String::new() } else { format!("{generation}/") };
        format!("{}{folder}after-{previous:016}.json", prefix(tenant))
    }

    fn from_key(prefix: &str, key: &str) -> Option<Self> {
        let name = key.strip_prefix(prefix)?;
        let (generation, name) = match name.split_once('/') {
            Some((generation, name)) => (generation.parse().ok()?, name),
            None => (1, name),
        };
        let previous = name.strip_prefix("after-")?.strip_suffix(".json")?.parse().ok()?;
        Some(Self { generation, previous })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the one of {} entries", self.previous)?;
        if self.generation > 1 {
            write!(f, " in generation {}", self.generation)?;
        }
        Ok(())
    }
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

/// What the archive holds of a tenant's checkpoints, each named by what it extends.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Those that there are, and when the first version of each was archived, to
    /// the second.
    pub extended: BTreeMap<Step, Timestamp>,
    /// Those with a delete marker, behind which S3 hides an object.
    pub hidden: BTreeSet<Step>,
    /// Those with several versions: something was put over the first.
    pub replaced: BTreeSet<Step>,
}

impl Holdings {
    /// When the checkpoint was archived that extends what this one says to extend.
    pub fn archived_at(&self, signed: &SignedCheckpoint) -> Option<Timestamp> {
        self.extended.get(&Step::of(&signed.link)).copied()
    }

    /// The steps of those that no restore of the database has lost.
    pub fn standing(&self, restores: &Restores) -> BTreeSet<Step> {
        let standing = self.extended.iter().filter(|(_, at)| !restores.lost(**at));
        standing.map(|(step, _)| *step).collect()
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
            .key(Step::of(link).key(tenant))
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
                let Some(step) = version.key().and_then(|key| Step::from_key(&prefix, key)) else {
                    continue;
                };
                let at = time_of(version.last_modified())?;
                match holdings.extended.entry(step) {
                    Entry::Vacant(first) => {
                        first.insert(at);
                    }
                    Entry::Occupied(mut known) => {
                        holdings.replaced.insert(step);
                        *known.get_mut() = at.min(*known.get());
                    }
                }
            }
            let markers = page.delete_markers().iter().filter_map(DeleteMarkerEntry::key);
            holdings.hidden.extend(markers.filter_map(|key| Step::from_key(&prefix, key)));
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

    /// The archived checkpoint of this step, if there is one. It is not opened.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when S3 does not answer;
    /// [`StoreError::Defect`] when what is there is no checkpoint.
    pub async fn at(&self, tenant: &TenantId, step: Step) -> Result<Option<Archived>, StoreError> {
        let got = self.client.get_object().bucket(&self.bucket).key(step.key(tenant)).send().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_one_place() {
        let tenant = TenantId::parse("acme").unwrap();
        for (generation, previous, key) in [
            (1, 0, "checkpoints/acme/after-0000000000000000.json"),
            (1, 42, "checkpoints/acme/after-0000000000000042.json"),
            (2, 42, "checkpoints/acme/2/after-0000000000000042.json"),
        ] {
            let step = Step { generation, previous };
            assert_eq!(step.key(&tenant), key);
            assert_eq!(Step::from_key("checkpoints/acme/", key), Some(step));
        }
        for other in ["checkpoints/acme/2/3/after-0000000000000042.json", "checkpoints/acme/x"] {
            assert_eq!(Step::from_key("checkpoints/acme/", other), None);
        }
    }
}
