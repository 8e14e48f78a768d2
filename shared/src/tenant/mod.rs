//! Tenant enforcement. The database driver is private to this module; the way
//! to a tenant's data is a [`Tenant`], and there are three ways to one:
//! a verified session, an admitted sign-in attempt, and a job that walks the
//! registry ([`Registry`]).

mod audit_log;
mod database;
mod id;
mod provision;
mod read;
mod registry;
pub mod schema;
mod settings;
mod write;

use std::sync::Arc;

use jiff::Timestamp;
use mongodb::bson::{Bson, DateTime};

pub use audit_log::{AuditFilter, AuditRecord};
pub use database::{Database, StoreError};
pub use id::{Id, TenantId};
pub use provision::{Grants, NewTenant, Provisioned};
pub use read::{Entity, Filter, Page, Stored};
pub use registry::{Account, Enrolled, Registry, TenantRecord, TenantState};
pub use settings::{Contact, Contacts, CrossBorderConsent, Settings};
pub use write::{Attribution, WriteTx};

use crate::crypto::{CryptoError, Keyring, Place, Plain, Sealed};

/// One tenant's data: its own databases, its own keys.
///
/// Every filter and every insert gets the tenant's `tenant_id` here, on top of
/// the database being the tenant's own. There is no public constructor.
pub struct Tenant {
    record: TenantRecord,
    database: Database,
    keys: Arc<Keyring>,
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

    /// Seals a sensitive value for its place in this tenant.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the tenant's key cannot be used.
    pub fn seal<T>(&self, place: Place<'_>, value: &T) -> Result<Sealed<T>, StoreError>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        Sealed::seal(&self.keys, place, value).map_err(StoreError::defect)
    }

    /// Opens a sealed value of this tenant at its place.
    ///
    /// # Errors
    /// As [`Sealed::open`].
    pub fn open<T>(&self, place: Place<'_>, sealed: &Sealed<T>) -> Result<Plain<T>, CryptoError>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        sealed.open(&self.keys, place)
    }

    fn collection<T: Send + Sync>(&self, name: &str) -> mongodb::Collection<T> {
        self.database.tenant(&self.record.id).collection(name)
    }

    fn audit_entries(&self) -> mongodb::Collection<mongodb::bson::Document> {
        self.database.tenant_audit(&self.record.id).collection(schema::AUDIT_ENTRIES)
    }
}

/// A moment as the database stores it, to the millisecond.
pub(crate) fn bson_time(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

/// A stored moment; `None` for what is not a date.
fn time_of(value: Option<&Bson>) -> Option<Timestamp> {
    value
        .and_then(Bson::as_datetime)
        .and_then(|at| Timestamp::from_millisecond(at.timestamp_millis()).ok())
}
