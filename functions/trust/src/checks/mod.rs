//! Checks that look at the running system. Each control of the catalogue names
//! those that show it.
//!
//! A check says `pass` or `fail` only of what it has seen. What it could not
//! see is `unknown`, with the reason: a store that does not answer, no access,
//! a deployment that has no such thing.

mod api;
mod atlas;
mod attestation;
mod deadlines;
mod keys;
mod notices;
mod publication;
mod sessions;
mod stores;
mod tenants;
mod throttle;
mod trail;

use std::time::Duration;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata};
use jiff::{SignedDuration, Timestamp};
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::{StoreError, Tenant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalogue::Control;
use tenants::Survey;

pub use attestation::Attestation;

/// What the checks need beyond what every function does.
pub const SETTINGS: [Setting; 17] = [
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
    Setting::SessionTable,
    Setting::ThrottleTable,
    Setting::SessionSecret,
    Setting::ArchiveBucket,
    Setting::ArchiveRetentionDays,
    Setting::ExportBucket,
    Setting::ApiId,
    Setting::ApiUrl,
    Setting::ApiDomain,
    Setting::AtlasUrl,
    Setting::AtlasProject,
    Setting::AtlasCluster,
    Setting::AtlasKey,
    Setting::AtlasSecret,
];

/// How long a result counts: until the next run twelve hours later, though it rests
/// on what a job saw up to fourteen hours before.
pub const FRESH: SignedDuration = SignedDuration::from_hours(26);

/// After so long a check is given up.
const CHECK_LIMIT: Duration = Duration::from_mins(1);
/// After so long an answer of HTTP is given up.
const HTTP_LIMIT: Duration = Duration::from_secs(10);

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// A check.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(rename_all = "kebab-case")]
        pub enum Check {
            $($(#[$doc])* $variant,)*
        }

        impl Check {
            /// All checks.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The check's name, in the catalogue and in results.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

checks! {
    /// KMS rotates the keys of the stores and of the cluster.
    KeyRotation = "key-rotation";
    /// Tables, buckets and secrets are encrypted by the deployment's key.
    EncryptionAtRest = "encryption-at-rest";
    /// Every store is in the residency region.
    Residency = "residency";
    /// Nothing is replicated to another region.
    NoCopiesAbroad = "no-copies-abroad";
    /// Nobody can delete from the archive before its time.
    ObjectLock = "object-lock";
    /// Point-in-time recovery of the tables.
    TableBackups = "table-backups";
    /// The API's TLS policy.
    TlsPolicy = "tls-policy";
    /// The header of live answers.
    Hsts = "hsts";
    /// Requests without a session are refused.
    AnonymousRefused = "anonymous-refused";
    /// The control's operations are deployed and guarded.
    Operations = "operations";
    /// How many requests the API takes.
    ApiThrottle = "api-throttle";
    /// The eleventh attempt is refused.
    SignInThrottle = "sign-in-throttle";
    /// Forged tokens are refused; how the secret is kept.
    SessionTokens = "session-tokens";
    /// The self-check of all audit trails.
    AuditTrail = "audit-trail";
    /// The functions' database user cannot change a record.
    AppendOnly = "append-only";
    /// No tenant's database takes another's document.
    TenantIsolation = "tenant-isolation";
    /// What was found when every read route was tried between two canaries.
    IsolationProbe = "isolation-probe";
    /// Sealed fields hold ciphertext.
    SealedFields = "sealed-fields";
    /// The work factor of stored passwords.
    PasswordHashes = "password-hashes";
    /// Second factors of those who may do everything.
    MfaCoverage = "mfa-coverage";
    /// Every customer names a primary contact.
    PrimaryContacts = "primary-contacts";
    /// No questionnaire is over its date, or was lately.
    QuestionnairesOnTime = "questionnaires-on-time";
    /// Backup policy and window of the cluster.
    AtlasBackups = "atlas-backups";
    /// Encryption of the cluster by our key.
    AtlasEncryption = "atlas-encryption";
    /// Region of the cluster.
    AtlasRegion = "atlas-region";
    /// The published list of sub-processors.
    SubProcessorList = "sub-processor-list";
    /// Where those on that list have data, and who consented.
    SubProcessorsAbroad = "sub-processors-abroad";
    /// Every customer was told of each in use 30 days before.
    SubProcessorNotices = "sub-processor-notices";
    /// The published contact for those who find a vulnerability.
    DisclosureContact = "disclosure-contact";
    /// No report of a vulnerability was left waiting for longer than is promised.
    DisclosureDeadlines = "disclosure-deadlines";
    /// No tenant was told of a breach too late.
    BreachDeadlines = "breach-deadlines";
    /// What a person vouched for, lately enough.
    Attestation = "attestation";
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was seen to be so.
    Pass,
    /// It was seen not to be so.
    Fail,
    /// It was not seen.
    Unknown,
}

impl Verdict {
    /// The verdict in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen, in a sentence for readers of the public page.
    pub evidence: String,
    /// The same as data.
    pub facts: Value,
    /// When that was so on which it rests, where it was not seen just now.
    pub seen_at: Option<Timestamp>,
}

impl Finding {
    /// `pass` if `holds`, else `fail`.
    fn of(holds: bool, evidence: impl Into<String>, facts: Value) -> Self {
        let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
        Self { verdict, evidence: evidence.into(), facts, seen_at: None }
    }

    /// It was not seen, for this reason.
    fn unknown(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, evidence: reason.into(), facts: json!({}), seen_at: None }
    }

    /// The same, seen `at` an earlier time.
    fn seen_at(self, at: Timestamp) -> Self {
        Self { seen_at: Some(at), ..self }
    }
}

/// Why a check saw nothing.
#[derive(Debug)]
enum Blind {
    /// A store that did not answer, or not as it should.
    Store(StoreError),
    /// An answer that was not to be had.
    Reason(String),
}

impl From<StoreError> for Blind {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<reqwest::Error> for Blind {
    fn from(error: reqwest::Error) -> Self {
        tracing::warn!(cause = %error.without_url(), "a check got no answer by HTTP");
        Self::Reason("No answer was to be had by HTTP.".into())
    }
}

/// An AWS call that failed. Its code is public knowledge, its message is not.
fn refused<E>(error: &E) -> Blind
where
    E: ProvideErrorMetadata + std::error::Error,
{
    let code = error.code().unwrap_or("no answer");
    tracing::warn!(code, cause = %DisplayErrorContext(error), "a check was not answered");
    Blind::Reason(format!("AWS did not tell ({code})."))
}

/// What the checks of one run share.
pub struct Look<'j> {
    job: &'j Job,
    provider: &'j Tenant,
    http: reqwest::Client,
    survey: Survey,
}

impl<'j> Look<'j> {
    /// Looks at the tenants, for the checks that are about them.
    ///
    /// # Errors
    /// [`StoreError`] when the registry cannot be read.
    pub async fn begin(job: &'j Job, provider: &'j Tenant) -> Result<Self, StoreError> {
        let http = reqwest::Client::builder()
            .timeout(HTTP_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(StoreError::defect)?;
        Ok(Self { job, provider, http, survey: tenants::survey(job).await? })
    }

    fn setting(&self, setting: Setting) -> Result<&str, StoreError> {
        self.job.platform.setting(setting)
    }

    /// What `check` finds, for `control` where it depends on one.
    pub async fn run(&self, check: Check, control: &Control) -> Finding {
        let found = tokio::time::timeout(CHECK_LIMIT, self.look(check, control)).await;
        match found {
            Ok(Ok(finding)) => finding,
            Ok(Err(Blind::Reason(reason))) => Finding::unknown(reason),
            Ok(Err(Blind::Store(error))) => {
                tracing::error!(check = check.name(), %error, "a check could not look");
                Finding::unknown("A store did not answer.")
            }
            Err(_) => Finding::unknown("The check did not end in time."),
        }
    }

    async fn look(&self, check: Check, control: &Control) -> Result<Finding, Blind> {
        match check {
            Check::KeyRotation => keys::rotation(self).await,
            Check::EncryptionAtRest => stores::encryption(self).await,
            Check::Residency => stores::residency(self).await,
            Check::NoCopiesAbroad => stores::copies(self).await,
            Check::ObjectLock => stores::object_lock(self).await,
            Check::TableBackups => stores::backups(self).await,
            Check::TlsPolicy => api::tls_policy(self).await,
            Check::ApiThrottle => api::throttle(self).await,
            Check::Hsts => publication::hsts(self).await,
            Check::AnonymousRefused => publication::anonymous_refused(self).await,
            Check::Operations => publication::operations(self, &control.operations).await,
            Check::SubProcessorList => publication::sub_processors(self).await,
            Check::SubProcessorsAbroad => publication::sub_processors_abroad(self).await,
            Check::SubProcessorNotices => notices::sub_processors(self).await,
            Check::DisclosureContact => publication::security_txt(self).await,
            Check::SignInThrottle => throttle::sign_in(self).await,
            Check::SessionTokens => sessions::tokens(self).await,
            Check::AuditTrail => trail::self_check(self).await,
            Check::IsolationProbe => trail::isolation_probe(self).await,
            Check::AppendOnly => Ok(self.survey.append_only()),
            Check::TenantIsolation => Ok(self.survey.isolation()),
            Check::SealedFields => Ok(self.survey.sealed_fields()),
            Check::PasswordHashes => Ok(self.survey.password_hashes()),
            Check::MfaCoverage => Ok(self.survey.mfa_coverage()),
            Check::PrimaryContacts => Ok(self.survey.primary_contacts()),
            Check::QuestionnairesOnTime => Ok(self.survey.questionnaires()),
            Check::AtlasBackups => atlas::backups(self).await,
            Check::AtlasEncryption => atlas::encryption(self).await,
            Check::AtlasRegion => atlas::region(self).await,
            Check::DisclosureDeadlines => deadlines::of_reports(self).await,
            Check::BreachDeadlines => deadlines::of_breaches(self).await,
            Check::Attestation => attestation::fresh(self, control).await,
        }
    }
}

impl Check {
    /// Whether the same check finds something else for another control.
    pub const fn depends_on_control(self) -> bool {
        matches!(self, Self::Operations | Self::Attestation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_serde_reads() {
        for check in Check::ALL {
            assert_eq!(serde_json::to_value(check).unwrap(), check.name());
        }
    }
}
