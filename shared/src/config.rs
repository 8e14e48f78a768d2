//! Configuration: environment variables, read and checked once at start.

use std::collections::BTreeMap;
use std::fmt;

/// A setting that a function may need. The name is the environment variable
/// that `template.yaml` sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// Region in which the function runs; set by Lambda.
    Region,
    /// The only region that may hold primary data (claim C1).
    ResidencyRegion,
    /// Name of the deployment: `local`, `staging` or `prod`.
    Deployment,
    /// Secret with the MongoDB connection string, `{"uri": "..."}`.
    MongodbSecret,
    /// Secret with the session signing keys.
    SessionSecret,
    /// Secret with the password peppers.
    PepperSecret,
    /// Secret with what the isolation probe signs in with, `{"password": "..."}`.
    CanarySecret,
    /// Secret with the certificate chain of the report signing key, PEM.
    ReportCertificateSecret,
    /// ARN of the KMS key that wraps tenants' data keys.
    DataKey,
    /// ARN of the KMS key that signs reports.
    ReportSigningKey,
    /// ARN of the KMS key that signs checkpoints of audit trails.
    CheckpointSigningKey,
    /// Public keys that signed checkpoints before, base64 of 32 bytes each,
    /// divided by commas; `none` when there are none.
    RetiredCheckpointKeys,
    /// Restores of the database, `<moment>/<resumed>` each, oldest first, divided
    /// by commas; `none` when there was none.
    AuditRestores,
    /// Public name of the API, by which audit trails are named.
    AuditHost,
    /// Name of the bucket that keeps checkpoints under object lock.
    ArchiveBucket,
    /// Days for which the archive keeps an object whatever anybody does.
    ArchiveRetentionDays,
    /// Name of the login throttle table.
    ThrottleTable,
    /// Name of the session table.
    SessionTable,
    /// Name of the table of subjects' secrets.
    SubjectKeyTable,
    /// Name of the bucket that finished exports lie in.
    ExportBucket,
    /// URL of the queue of exports to be made.
    ExportQueue,
    /// Entries that one file of an export holds at most.
    ExportVolumeEntries,
    /// Sender of all mail.
    MailFrom,
    /// Address under which people reach the product, for links in mail.
    PublicUrl,
    /// E-mail address of those who answer for security.
    SecurityContact,
    /// Id of the API in API Gateway.
    ApiId,
    /// Where clients reach the API, without a trailing slash.
    ApiUrl,
    /// The API's own domain name; `none` where it has none.
    ApiDomain,
    /// Address of the Atlas Admin API.
    AtlasUrl,
    /// Id of the Atlas project that the cluster is in; `none` where the
    /// database is not on Atlas.
    AtlasProject,
    /// Name of the Atlas cluster.
    AtlasCluster,
    /// Id of the KMS key that the cluster is encrypted by; `none` where there is
    /// no cluster on Atlas.
    AtlasKey,
    /// Secret with an Atlas service account, `{"client_id", "client_secret"}`.
    AtlasSecret,
}

impl Setting {
    /// The environment variable's name.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Region => "AWS_REGION",
            Self::ResidencyRegion => "RESIDENCY_REGION",
            Self::Deployment => "DEPLOYMENT",
            Self::MongodbSecret => "MONGODB_SECRET",
            Self::SessionSecret => "SESSION_SECRET",
            Self::PepperSecret => "PEPPER_SECRET",
            Self::CanarySecret => "CANARY_SECRET",
            Self::ReportCertificateSecret => "REPORT_CERTIFICATE_SECRET",
            Self::DataKey => "DATA_KEY",
            Self::ReportSigningKey => "REPORT_SIGNING_KEY",
            Self::CheckpointSigningKey => "CHECKPOINT_SIGNING_KEY",
            Self::RetiredCheckpointKeys => "RETIRED_CHECKPOINT_KEYS",
            Self::AuditRestores => "AUDIT_RESTORES",
            Self::AuditHost => "AUDIT_HOST",
            Self::ArchiveBucket => "ARCHIVE_BUCKET",
            Self::ArchiveRetentionDays => "ARCHIVE_RETENTION_DAYS",
            Self::ThrottleTable => "THROTTLE_TABLE",
            Self::SessionTable => "SESSION_TABLE",
            Self::SubjectKeyTable => "SUBJECT_KEY_TABLE",
            Self::ExportBucket => "EXPORT_BUCKET",
            Self::ExportQueue => "EXPORT_QUEUE",
            Self::ExportVolumeEntries => "EXPORT_VOLUME_ENTRIES",
            Self::MailFrom => "MAIL_FROM",
            Self::PublicUrl => "PUBLIC_URL",
            Self::SecurityContact => "SECURITY_CONTACT",
            Self::ApiId => "API_ID",
            Self::ApiUrl => "API_URL",
            Self::ApiDomain => "API_DOMAIN",
            Self::AtlasUrl => "ATLAS_URL",
            Self::AtlasProject => "ATLAS_PROJECT",
            Self::AtlasCluster => "ATLAS_CLUSTER",
            Self::AtlasKey => "ATLAS_KEY",
            Self::AtlasSecret => "ATLAS_SECRET",
        }
    }
}

/// What every function needs, whatever it does.
const ALWAYS: [Setting; 3] = [Setting::Region, Setting::ResidencyRegion, Setting::Deployment];

/// The settings that a function declared, all present.
#[derive(Debug, Clone)]
pub struct Config(BTreeMap<Setting, String>);

impl Config {
    /// Reads `needed` (and what every function needs) with `lookup`.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] names every absent or empty variable at once;
    /// [`ConfigError::Region`] when the function does not run in the residency
    /// region.
    pub fn read(
        needed: &[Setting],
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        let mut missing = Vec::new();
        for setting in ALWAYS.iter().chain(needed) {
            match lookup(setting.variable()).filter(|value| !value.trim().is_empty()) {
                Some(value) => {
                    values.insert(*setting, value);
                }
                None => missing.push(setting.variable()),
            }
        }
        if !missing.is_empty() {
            return Err(ConfigError::Missing(missing));
        }
        let config = Self(values);
        let (runs_in, residency) =
            (config.get(Setting::Region)?, config.get(Setting::ResidencyRegion)?);
        if runs_in != residency {
            return Err(ConfigError::Region {
                runs_in: runs_in.to_owned(),
                residency: residency.to_owned(),
            });
        }
        Ok(config)
    }

    /// Reads the process environment.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn from_env(needed: &[Setting]) -> Result<Self, ConfigError> {
        Self::read(needed, |name| std::env::var(name).ok())
    }

    /// The value of a setting.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] when the function did not declare the setting.
    pub fn get(&self, setting: Setting) -> Result<&str, ConfigError> {
        self.0
            .get(&setting)
            .map(String::as_str)
            .ok_or_else(|| ConfigError::Missing(vec![setting.variable()]))
    }
}

/// Why a function does not start.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// Environment variables that are absent or empty.
    Missing(Vec<&'static str>),
    /// The function was started outside the residency region.
    Region {
        /// Where it was started.
        runs_in: String,
        /// Where it may run.
        residency: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(names) => write!(f, "missing configuration: {}", names.join(", ")),
            Self::Region { runs_in, residency } => {
                write!(f, "refusing to start in {runs_in}: tenant data resides in {residency}")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn every_missing_name_is_listed_at_once() {
        let error = Config::read(
            &[Setting::DataKey, Setting::MongodbSecret],
            env(&[("AWS_REGION", "eu-west-1"), ("DATA_KEY", "  ")]),
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "missing configuration: RESIDENCY_REGION, DEPLOYMENT, DATA_KEY, MONGODB_SECRET"
        );
    }

    #[test]
    fn another_region_is_refused() {
        let base = [("RESIDENCY_REGION", "eu-west-1"), ("DEPLOYMENT", "prod")];
        let at = |region| {
            let mut pairs = base.to_vec();
            pairs.push(("AWS_REGION", region));
            Config::read(&[], env(&pairs)).map(|_| ())
        };
        assert_eq!(at("eu-west-1"), Ok(()));
        assert!(matches!(at("eu-west-2"), Err(ConfigError::Region { .. })));
    }
}
