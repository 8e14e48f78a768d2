//! Tenant enforcement. The database driver is private to this module; the way
//! to a tenant's data is a [`Tenant`], and there are five ways to one:
//! a verified session, the verified token of an operator's access, an admitted
//! sign-in attempt, a job that walks the registry, and, for the provider alone,
//! asking for it ([`Registry`]).

mod audit_log;
mod audit_proof;
mod canary;
mod closing;
mod database;
mod dossier;
mod id;
pub mod portable;
mod probe;
mod provision;
mod read;
mod registry;
mod rotation;
pub mod schema;
mod settings;
mod work;
mod write;

use jiff::Timestamp;
use mongodb::bson::{Bson, DateTime, Document};

pub use audit_log::{AuditBatch, AuditBatches, AuditFilter, AuditPage, AuditRecord};
pub use audit_proof::{EntryParts, SignedCheckpoint, StoredEntry};
pub use canary::ProbeUser;
pub use closing::{Closing, Destruction, GRACE_DAYS, NewClosing, Standing};
pub use database::{Database, StoreError};
pub use dossier::{Dossier, Holding, Period};
pub use id::{Id, TenantId};
pub use probe::SealedSample;
pub use provision::{Grants, NewTenant, Provisioned};
pub use read::{Entity, Filter, Order, Page, Part, Stored};
pub use registry::{
    Account, Enrolled, JobRegistry, Named, Registry, TenantRecord, TenantState, Visit,
};
pub use rotation::{KeyState, KeyUsage, ROTATION_PERIOD, SealedValue};
pub use settings::{Contact, Contacts, CrossBorderConsent, Settings};
pub use work::{Lease, Seen, Work};
pub use write::{Attribution, WriteTx};

use crate::crypto::{CryptoError, Envelope, Place, Plain, Plaintext, Sealed, Subject, TenantKeys};

/// One tenant's data: its own databases, its own keys.
///
/// Every filter and every insert gets the tenant's `tenant_id` here, on top of
/// the database being the tenant's own. There is no public constructor.
pub struct Tenant {
    record: TenantRecord,
    database: Database,
    keys: TenantKeys,
}

impl Tenant {
    /// The tenant's slug.
    pub fn id(&self) -> &TenantId {
        &self.record.id
    }

    /// The tenant's entry in the registry.
    pub fn profile(&self) -> &TenantRecord {
        &self.record
    }

    /// Seals a sensitive value of `subject` for its place in this tenant.
    ///
    /// # Errors
    /// As [`Sealed::seal`].
    pub async fn seal<T>(
        &self,
        place: Place<'_>,
        subject: Subject,
        value: &T,
    ) -> Result<Sealed<T>, CryptoError>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        Sealed::seal(&self.keys, place, subject, value).await
    }

    /// Opens a sealed value of this tenant at its place.
    ///
    /// # Errors
    /// As [`Sealed::open`].
    pub async fn open<T>(
        &self,
        place: Place<'_>,
        sealed: &Sealed<T>,
    ) -> Result<Plain<T>, CryptoError>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        let opened = match sealed.open(&self.keys, place).await {
            // Sealed by a key that was made since the keyring was read.
            Err(CryptoError::UnknownKey) => {
                self.reread_data_keys().await?;
                sealed.open(&self.keys, place).await
            }
            other => other,
        };
        opened.inspect_err(|error| self.note_fault(place, error))
    }

    /// What was tampered with fails a whole list, so the log says where it stands.
    fn note_fault(&self, place: Place<'_>, error: &CryptoError) {
        if let CryptoError::NotAuthentic
        | CryptoError::NoSecret
        | CryptoError::Malformed
        | CryptoError::UnknownKey = error
        {
            let Place { collection, document, field } = place;
            let tenant = self.id();
            tracing::error!(%tenant, collection, field, %document, %error, "a sealed value does not open where it stands");
        }
    }

    /// As [`Tenant::open`] for a value that may be absent; one that was erased
    /// is as good as absent.
    ///
    /// # Errors
    /// As [`Tenant::open`], but for [`CryptoError::Erased`].
    pub async fn open_kept<T>(
        &self,
        place: Place<'_>,
        sealed: Option<&Sealed<T>>,
    ) -> Result<Option<Plain<T>>, CryptoError>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        let Some(sealed) = sealed else { return Ok(None) };
        match self.open(place, sealed).await {
            Err(CryptoError::Erased) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Fetches what opens the values of `subjects`, so that opening them one
    /// after another asks no store.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn prefetch(
        &self,
        subjects: impl IntoIterator<Item = Subject> + Send,
    ) -> Result<(), StoreError> {
        self.keys.prefetch(subjects).await
    }

    /// What tells the secret that `subject` has now from any later one.
    pub(crate) async fn mark_secret(&self, subject: Subject) -> Result<String, StoreError> {
        self.keys.mark(subject).await
    }

    /// Destroys what the keys of `subject` are derived from, if it is still the
    /// secret of that `mark`.
    pub(crate) async fn destroy_secret(
        &self,
        subject: Subject,
        mark: &str,
    ) -> Result<(), StoreError> {
        self.keys.destroy(subject, mark).await
    }

    /// Whether the secret of `subject` was destroyed that had this `mark`.
    pub(crate) async fn is_destroyed(
        &self,
        subject: Subject,
        mark: &str,
    ) -> Result<bool, StoreError> {
        self.keys.is_destroyed(subject, mark).await
    }

    async fn open_envelope(
        &self,
        place: Place<'_>,
        envelope: &Envelope,
    ) -> Result<Plaintext, CryptoError> {
        let opened = match self.keys.open(place, envelope).await {
            Err(CryptoError::UnknownKey) => {
                self.reread_data_keys().await?;
                self.keys.open(place, envelope).await
            }
            other => other,
        };
        opened.inspect_err(|error| self.note_fault(place, error))
    }

    /// Takes up data keys that were made since the keyring was read.
    async fn reread_data_keys(&self) -> Result<(), StoreError> {
        let records = self.database.data_keys(self.id()).await?;
        self.keys.ring().add(self.keys.vault(), records).await
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> mongodb::Collection<T> {
        self.database.tenant(&self.record.id).collection(name)
    }

    /// Where the entities of `collection` are.
    fn entities(&self, collection: &schema::Collection) -> mongodb::Collection<Document> {
        let id = &self.record.id;
        let database = if collection.append_only {
            self.database.tenant_audit(id)
        } else {
            self.database.tenant(id)
        };
        database.collection(collection.name)
    }

    fn audit_entries(&self) -> mongodb::Collection<Document> {
        self.database.tenant_audit(&self.record.id).collection(schema::AUDIT_ENTRIES)
    }
}

/// A moment as the database stores it, to the millisecond.
pub(crate) fn bson_time(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

/// `#[serde(with = "keystone::tenant::stored_time")]` for a moment that queries
/// compare: a date of the database, to the millisecond.
pub mod stored_time {
    use jiff::Timestamp;
    use mongodb::bson::DateTime;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::bson_time;

    /// Writes the moment.
    ///
    /// # Errors
    /// Those of the format.
    pub fn serialize<S: Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        bson_time(*at).serialize(out)
    }

    /// Reads the moment.
    ///
    /// # Errors
    /// When it is no date, or none that a [`Timestamp`] can be.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Timestamp, D::Error> {
        let at = DateTime::deserialize(input)?;
        Timestamp::from_millisecond(at.timestamp_millis()).map_err(D::Error::custom)
    }
}

/// A stored moment; `None` for what is not a date.
fn time_of(value: Option<&Bson>) -> Option<Timestamp> {
    value
        .and_then(Bson::as_datetime)
        .and_then(|at| Timestamp::from_millisecond(at.timestamp_millis()).ok())
}
