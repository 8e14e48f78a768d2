//! The tenant registry, and the ways to a [`Tenant`]: five for any function,
//! and one to every tenant, for jobs.

use std::ops::Deref;
use std::sync::Arc;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use super::{Closing, Database, Filter, StoreError, Stored, Tenant, TenantId, schema};
use crate::auth::session::SessionRecord;
use crate::auth::throttle::{Admission, AdmitError};
use crate::auth::token::AccessClaims;
use crate::auth::user::{User, canonical_email};
use crate::crypto::{Keyring, TenantKeys};
use crate::platform::Platform;

const TENANTS: &str = "tenants";

/// Where a tenant stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// Being provisioned; nobody can sign in yet.
    Provisioning,
    /// In normal use.
    Active,
    /// Access is stopped; data is kept.
    Suspended,
    /// The contract has ended; the grace period runs.
    Closing,
    /// Keys are destroyed.
    Closed,
}

impl TenantState {
    /// Whether people of the tenant may sign in. While the grace period of a
    /// closing tenant runs they may, to take their data with them.
    pub const fn serves(self) -> bool {
        matches!(self, Self::Active | Self::Closing)
    }
}

/// A tenant's entry in the registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TenantRecord {
    /// Slug.
    #[serde(rename = "_id")]
    pub id: TenantId,
    /// Name under which the business is registered.
    pub legal_name: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
    /// Where the tenant stands in its life.
    pub state: TenantState,
    /// How the tenant is closed, from the announcement on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing: Option<Closing>,
}

/// Which tenants a job visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// Those whose people may sign in.
    Serving,
    /// All whose keys exist: suspended ones too.
    Kept,
    /// Those whose people may sign in, without the provider and the canaries.
    Customers,
    /// All whose keys exist, and so whose data we have, without the provider
    /// and the canaries.
    KeptCustomers,
}

impl Visit {
    const fn states(self) -> &'static [&'static str] {
        match self {
            Self::Serving | Self::Customers => &["active", "closing"],
            Self::Kept | Self::KeptCustomers => &["active", "suspended", "closing"],
        }
    }

    /// Whether it comes by this tenant.
    fn takes(self, TenantRecord { id, state, .. }: &TenantRecord) -> bool {
        let kept = state.serves() || *state == TenantState::Suspended;
        match self {
            Self::Serving => state.serves(),
            Self::Customers => state.serves() && !id.is_reserved(),
            Self::Kept => kept,
            Self::KeptCustomers => kept && !id.is_reserved(),
        }
    }
}

/// A tenant that a walk of the registry came by.
pub struct Enrolled(TenantRecord);

impl Enrolled {
    /// The tenant's slug.
    pub fn id(&self) -> &TenantId {
        &self.0.id
    }
}

/// Whom an attempt to sign in is aimed at.
pub struct Account {
    /// The tenant, which is active.
    pub tenant: Tenant,
    /// The user, whatever their status.
    pub user: Option<Stored<User>>,
}

/// What was read of whom an attempt names. It is worth nothing until the
/// attempt is admitted ([`Registry::account_of_attempt`]).
pub struct Named {
    id: TenantId,
    record: Option<TenantRecord>,
    /// An error where there is no such tenant: nobody has rights on its database.
    /// It is not logged before it is known to matter.
    user: mongodb::error::Result<Option<Document>>,
}

/// The registry of tenants, read with the platform's clients.
pub struct Registry<'p> {
    platform: &'p Platform,
    database: Database,
}

/// The registry as a job has it: with the ways to every tenant, and to make and
/// end one. Only a run of a job can have it ([`crate::job::Job::registry`]), and
/// nobody but [`crate::job::serve`] makes a run; what answers requests has none.
pub struct JobRegistry<'p> {
    registry: Registry<'p>,
}

impl<'p> Registry<'p> {
    pub(crate) fn new(platform: &'p Platform, database: Database) -> Self {
        Self { platform, database }
    }

    /// The tenant of a verified session, if it serves.
    pub(crate) async fn of_session(
        &self,
        session: &SessionRecord,
        now: Timestamp,
    ) -> Result<Option<Tenant>, StoreError> {
        self.open_serving(&session.tenant, now).await
    }

    /// The tenant that the verified token of an operator's access names, if it
    /// serves: who may not sign in cannot see or end the access either.
    pub(crate) async fn of_access(
        &self,
        claims: &AccessClaims,
        now: Timestamp,
    ) -> Result<Option<Tenant>, StoreError> {
        self.open_serving(&claims.tid, now).await
    }

    /// The tenant that an admitted attempt names, if there is one and it
    /// serves. The admission is proof that the attempt was counted.
    ///
    /// # Errors
    /// [`StoreError`] when a store does not answer.
    pub async fn of_attempt(
        &self,
        admission: &Admission<'_>,
        now: Timestamp,
    ) -> Result<Option<Tenant>, StoreError> {
        self.open_serving(admission.tenant(), now).await
    }

    /// Reads what an attempt names, the tenant and its user of this address,
    /// at once. It may run while the attempt is being admitted: nothing can be
    /// made of the answer before.
    ///
    /// # Errors
    /// As [`Registry::of_attempt`].
    pub async fn named(&self, slug: &str, email: &str) -> Result<Option<Named>, StoreError> {
        let Some(id) = TenantId::parse(slug) else {
            return Ok(None);
        };
        let data = self.database.tenant(&id);
        let of_user = Filter::all().eq("email", canonical_email(email)).for_tenant(&id);
        let users = data.collection::<Document>(schema::USERS.name);
        let (record, user) = tokio::join!(self.record(&id), users.find_one(of_user).into_future());
        Ok(Some(Named { record: record?, user, id }))
    }

    /// The tenant that an admitted attempt names, as [`Registry::of_attempt`],
    /// with the user of the address. What was read of another tenant than the
    /// attempt's, or of one that does not serve, is dropped.
    ///
    /// # Errors
    /// As [`Registry::of_attempt`].
    pub async fn account_of_attempt(
        &self,
        admission: &Admission<'_>,
        named: Option<Named>,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        let Some(Named { id, record: Some(record), user }) = named else {
            return Ok(None);
        };
        if id.as_str() != admission.tenant() || !record.state.serves() {
            return Ok(None);
        }
        let user = user?.map(|found| Stored::from_document(found, &id)).transpose()?;
        let tenant = self.open(record, now).await?;
        Ok(Some(Account { tenant, user }))
    }

    /// The tenant that a locked-out attempt names, to record the lockout in its
    /// audit trail; `None` also for an attempt that failed otherwise.
    ///
    /// # Errors
    /// As [`Registry::of_attempt`].
    pub async fn of_denial(
        &self,
        denial: &AdmitError,
        now: Timestamp,
    ) -> Result<Option<Tenant>, StoreError> {
        match denial {
            AdmitError::Locked { tenant, .. } => self.open_serving(tenant, now).await,
            AdmitError::Store(_) => Ok(None),
        }
    }

    /// The provider: the tenant of the platform's own data.
    ///
    /// # Errors
    /// As [`Registry::of_attempt`]; [`StoreError::Defect`] when `prepare-tenants`
    /// has not made it yet.
    pub async fn provider(&self, now: Timestamp) -> Result<Tenant, StoreError> {
        let found = self.open_serving(TenantId::provider().as_str(), now).await?;
        found.ok_or_else(|| StoreError::defect("there is no provider; prepare-tenants makes it"))
    }

    /// Where this tenant stands in its life; `None` when there is no entry of it.
    ///
    /// # Errors
    /// As [`Registry::of_attempt`].
    pub async fn state(&self, id: &TenantId) -> Result<Option<TenantState>, StoreError> {
        Ok(self.record(id).await?.map(|record| record.state))
    }

    async fn open_serving(&self, slug: &str, now: Timestamp) -> Result<Option<Tenant>, StoreError> {
        let Some(id) = TenantId::parse(slug) else {
            return Ok(None);
        };
        match self.record(&id).await? {
            Some(record) if record.state.serves() => self.open(record, now).await.map(Some),
            _ => Ok(None),
        }
    }

    pub(super) async fn open(
        &self,
        record: TenantRecord,
        now: Timestamp,
    ) -> Result<Tenant, StoreError> {
        let cache = self.platform.keys();
        let vault = self.platform.vault().await?;
        let ring = if let Some(ring) = cache.get(&record.id, now) {
            ring
        } else {
            let records = self.database.data_keys(&record.id).await?;
            let ring = Arc::new(Keyring::load(&vault, &record.id, records).await?);
            cache.put(record.id.clone(), Arc::clone(&ring), now);
            ring
        };
        let keys = TenantKeys::new(ring, vault);
        Ok(Tenant { record, database: self.database.clone(), keys })
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn platform(&self) -> &Platform {
        self.platform
    }

    pub(super) async fn record(&self, id: &TenantId) -> Result<Option<TenantRecord>, StoreError> {
        let found = self.tenants().find_one(doc! { "_id": id.as_str() }).await;
        self.database.noting_loss(found)
    }

    pub(super) fn tenants(&self) -> Collection<TenantRecord> {
        self.database.control().collection(TENANTS)
    }
}

impl<'p> JobRegistry<'p> {
    pub(crate) fn new(registry: Registry<'p>) -> Self {
        Self { registry }
    }

    /// Tenants in the order of their slugs. Opened one after another by the
    /// caller with [`JobRegistry::for_job`].
    ///
    /// # Errors
    /// As [`Registry::of_attempt`].
    pub async fn walk(&self, visit: Visit) -> Result<Vec<Enrolled>, StoreError> {
        let visited = doc! { "state": { "$in": visit.states() } };
        let found = self.tenants().find(visited).sort(doc! { "_id": 1 }).await;
        let found = self.registry.database.noting_loss(found)?;
        let mut enrolled: Vec<Enrolled> = found.map_ok(Enrolled).try_collect().await?;
        enrolled.retain(|tenant| visit.takes(&tenant.0));
        Ok(enrolled)
    }

    /// The tenant with the slug `slug`, if [`JobRegistry::walk`] would come by it.
    ///
    /// # Errors
    /// As [`Registry::of_attempt`].
    pub async fn find(&self, visit: Visit, slug: &str) -> Result<Option<Enrolled>, StoreError> {
        let Some(id) = TenantId::parse(slug) else { return Ok(None) };
        let record = self.record(&id).await?;
        Ok(record.filter(|record| visit.takes(record)).map(Enrolled))
    }

    /// As [`JobRegistry::walk`], for the run at `now` of a job that runs once in
    /// `every`: the tenant with the slug `only` if one is given, else all. Each
    /// run begins with another, so that none is always what time runs out for.
    ///
    /// # Errors
    /// As [`Registry::of_attempt`].
    pub async fn round(
        &self,
        visit: Visit,
        only: Option<&str>,
        (now, every): (Timestamp, SignedDuration),
    ) -> Result<Vec<Enrolled>, StoreError> {
        let mut tenants = self.walk(visit).await?;
        let run = usize::try_from(now.as_second() / every.as_secs().max(1)).unwrap_or(0);
        let first = run.checked_rem(tenants.len()).unwrap_or(0);
        tenants.rotate_left(first);
        tenants.retain(|tenant| only.is_none_or(|only| only == tenant.id().as_str()));
        Ok(tenants)
    }

    /// Opens a tenant that [`JobRegistry::walk`] or [`JobRegistry::find`] returned.
    ///
    /// # Errors
    /// As [`Registry::of_attempt`].
    pub async fn for_job(&self, enrolled: Enrolled, now: Timestamp) -> Result<Tenant, StoreError> {
        self.open(enrolled.0, now).await
    }
}

impl<'p> Deref for JobRegistry<'p> {
    type Target = Registry<'p>;

    fn deref(&self) -> &Registry<'p> {
        &self.registry
    }
}
