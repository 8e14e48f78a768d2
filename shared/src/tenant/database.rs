//! The connection to MongoDB, and what can go wrong with any store.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use mongodb::bson::doc;
use mongodb::error::{ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure};
use mongodb::options::{ClientOptions, ReadConcern, WriteConcern};
use serde::Deserialize;

use super::{TenantId, schema};
use crate::Problem;
use crate::crypto::{CryptoError, DataKey};

/// Name of the database that holds platform data: the registry.
const CONTROL: &str = "keystone_control";

/// A Lambda environment serves one request at a time; a few connections let
/// one request overlap reads.
const POOL: u32 = 4;

/// A connection that was idle for longer is closed: between two requests an
/// environment may be frozen for hours, and what is between it and the server
/// forgets such connections.
const IDLE_LIMIT: Duration = Duration::from_mins(1);

/// All well below any function's own timeout.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const SELECTION_LIMIT: Duration = Duration::from_secs(3);

/// The cluster. Cloning is cheap; the pool is shared.
#[derive(Clone)]
pub struct Database {
    pub(super) client: mongodb::Client,
    /// Whether the client found no server when one was needed. It may be for
    /// good: what a server says of itself while it starts can make the driver
    /// forget the only address that it was given.
    lost: Arc<AtomicBool>,
}

#[derive(Deserialize)]
struct Secret {
    uri: String,
}

impl Database {
    /// Connects with the connection string in `secret`, `{"uri": "..."}`.
    /// Majority writes and reads, whatever the string says.
    pub(crate) async fn connect(secret: &str) -> Result<Self, StoreError> {
        let secret: Secret = serde_json::from_str(secret)
            .map_err(|_| StoreError::defect("the database secret is not {\"uri\": ...}"))?;
        let mut options = ClientOptions::parse(secret.uri).await?;
        options.app_name = Some("keystone".into());
        options.max_pool_size = Some(POOL);
        options.max_idle_time = Some(IDLE_LIMIT);
        options.connect_timeout = Some(CONNECT_LIMIT);
        options.server_selection_timeout = Some(SELECTION_LIMIT);
        options.read_concern = Some(ReadConcern::majority());
        options.write_concern = Some(WriteConcern::majority());
        let client = mongodb::Client::with_options(options)?;
        Ok(Self { client, lost: Arc::new(AtomicBool::new(false)) })
    }

    /// Whether another client is to be made in place of this one.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// What the registry was asked, which every request and every run does
    /// first; remembers it when there was no server.
    pub(super) fn noting_loss<T>(&self, done: mongodb::error::Result<T>) -> Result<T, StoreError> {
        done.map_err(|error| {
            if matches!(error.kind.as_ref(), ErrorKind::ServerSelection { .. }) {
                self.lost.store(true, Ordering::Relaxed);
            }
            error.into()
        })
    }

    pub(super) fn control(&self) -> mongodb::Database {
        self.client.database(CONTROL)
    }

    /// The database of a tenant's data.
    pub(super) fn tenant(&self, id: &TenantId) -> mongodb::Database {
        self.client.database(&data_database(id))
    }

    /// The database of a tenant's wrapped data keys, in which the functions'
    /// user may find, and nothing else.
    pub(super) fn tenant_keys(&self, id: &TenantId) -> mongodb::Database {
        self.client.database(&keys_database(id))
    }

    /// A tenant's wrapped data keys.
    pub(super) async fn data_keys(&self, id: &TenantId) -> Result<Vec<DataKey>, StoreError> {
        let keys = self.tenant_keys(id).collection(schema::DATA_KEYS);
        Ok(keys.find(doc! { "tenant_id": id.as_str() }).await?.try_collect().await?)
    }

    /// The database of a tenant's audit entries, in which the functions' user
    /// may find and insert, and nothing else.
    pub(super) fn tenant_audit(&self, id: &TenantId) -> mongodb::Database {
        self.client.database(&audit_database(id))
    }
}

/// Slugs hold no underscore, so the names cannot meet.
pub(super) fn data_database(id: &TenantId) -> String {
    format!("t_{id}")
}

pub(super) fn keys_database(id: &TenantId) -> String {
    format!("t_{id}_keys")
}

pub(super) fn audit_database(id: &TenantId) -> String {
    format!("t_{id}_audit")
}

/// What a store answered when it did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or did not answer in time.
    #[error("{0} is unavailable")]
    Unavailable(&'static str),
    /// A unique index holds that value already.
    #[error("duplicate value")]
    Duplicate,
    /// The document was changed after it was read.
    #[error("stale version")]
    Stale,
    /// The erasure of the person whom the value is about is under way.
    #[error("erasure under way")]
    Erasing,
    /// The person whom the document is about had its use restricted.
    #[error("use restricted")]
    Restricted,
    /// Two transactions met; the whole transaction is to be run again.
    #[error("transient transaction conflict")]
    Conflict,
    /// The stored audit trail is not what was recorded. Never shown to a client
    /// but where a trail is published or exported, which then ends.
    #[error("{0}")]
    Trail(String),
    /// A defect of ours or of the data. Never shown to a client.
    #[error("{0}")]
    Defect(String),
}

impl StoreError {
    /// A defect, described for the log.
    pub fn defect(what: impl fmt::Display) -> Self {
        Self::Defect(what.to_string())
    }

    /// A failed call to `store`; the cause goes to the log.
    pub fn unavailable(store: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = Vec::new();
        let mut next = Some(error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        tracing::error!(store, cause = causes.join(": "), "store call failed");
        Self::Unavailable(store)
    }
}

const DUPLICATE_KEY: i32 = 11000;
const WRITE_CONFLICT: i32 = 112;

/// What a server answers while it changes its primary, shuts down, runs out of
/// time, or before the functions' user was granted its rights.
const NOT_NOW: [i32; 11] = [
    6,     // HostUnreachable
    7,     // HostNotFound
    13,    // Unauthorized
    50,    // MaxTimeMSExpired
    89,    // NetworkTimeout
    91,    // ShutdownInProgress
    189,   // PrimarySteppedDown
    10107, // NotWritablePrimary
    11600, // InterruptedAtShutdown
    11602, // InterruptedDueToReplStateChange
    13435, // NotPrimaryNoSecondaryOk
];

impl From<mongodb::error::Error> for StoreError {
    fn from(error: mongodb::error::Error) -> Self {
        if error.contains_label(TRANSIENT_TRANSACTION_ERROR) {
            return Self::Conflict;
        }
        match error.kind.as_ref() {
            ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == DUPLICATE_KEY => {
                Self::Duplicate
            }
            ErrorKind::Command(command) if command.code == DUPLICATE_KEY => Self::Duplicate,
            ErrorKind::InsertMany(many)
                if many
                    .write_errors
                    .as_ref()
                    .is_some_and(|errors| errors.iter().any(|e| e.code == DUPLICATE_KEY)) =>
            {
                Self::Duplicate
            }
            ErrorKind::Command(command) if command.code == WRITE_CONFLICT => Self::Conflict,
            ErrorKind::Write(WriteFailure::WriteError(write)) if write.code == WRITE_CONFLICT => {
                Self::Conflict
            }
            ErrorKind::BulkWrite(failed)
                if failed.write_errors.values().any(|write| write.code == WRITE_CONFLICT) =>
            {
                Self::Conflict
            }
            ErrorKind::Command(command) if NOT_NOW.contains(&command.code) => {
                Self::unavailable("mongodb", &error)
            }
            ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::Authentication { .. }
            | ErrorKind::DnsResolve { .. } => Self::unavailable("mongodb", &error),
            _ => Self::Defect(format!("mongodb: {error}")),
        }
    }
}

impl From<mongodb::bson::error::Error> for StoreError {
    fn from(error: mongodb::bson::error::Error) -> Self {
        Self::Defect(format!("stored document: {error}"))
    }
}

impl From<crate::random::Unavailable> for StoreError {
    fn from(_: crate::random::Unavailable) -> Self {
        Self::Unavailable("randomness")
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            // A conflict that outlived its retries is load, not a defect.
            StoreError::Unavailable(_) | StoreError::Conflict => Self::Unavailable,
            StoreError::Duplicate => {
                Self::Conflict("Something with these values exists already.".into())
            }
            StoreError::Stale => Self::Stale,
            StoreError::Erasing => {
                Self::Conflict("This person's data is being erased. Try again later.".into())
            }
            StoreError::Restricted => Self::Conflict(
                "The use of this person's data is restricted (GDPR Art. 18): it is stored and \
                 not changed until the restriction is lifted."
                    .into(),
            ),
            StoreError::Trail(what) | StoreError::Defect(what) => {
                tracing::error!(cause = what, "defect");
                Self::Internal
            }
        }
    }
}

impl From<CryptoError> for StoreError {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::Store(error) => error,
            other => Self::defect(other),
        }
    }
}

impl From<CryptoError> for Problem {
    fn from(error: CryptoError) -> Self {
        StoreError::from(error).into()
    }
}
