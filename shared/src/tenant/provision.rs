//! Making a tenant: every step can be repeated, so that a run which was
//! interrupted anywhere is finished by the next.

use std::time::Duration;

use jiff::SignedDuration;
use mongodb::bson::{Bson, Document, doc, serialize_to_bson};
use mongodb::error::ErrorKind;
use serde::{Deserialize, Serialize};

use super::database::{audit_database, data_database, keys_database};
use super::rotation::CREATE_KEY;
use super::schema::{self, Index};
use super::{
    Attribution, AuditFilter, Contact, Contacts, Enrolled, Entity, Filter, JobRegistry, ProbeUser,
    Settings, StoreError, Stored, Tenant, TenantId, TenantRecord, TenantState, WriteTx, audit_log,
    bson_time,
};
use crate::audit::entry::Resource;
use crate::auth::Role;
use crate::auth::password::Pepper;
use crate::auth::user::{MailedToken, User, UserStatus, canonical_email};
use crate::config::Setting;
use crate::crypto::{DataKey, Subject};
use crate::mail::Mail;
use crate::{Problem, clock, mail, random};

/// What an operator says about a tenant to be made.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Slug.
    pub id: TenantId,
    /// Name under which the business is registered.
    pub legal_name: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
    /// Whom we reach.
    pub contacts: Contacts,
    /// E-mail address of the first `super_admin`.
    pub super_admin_email: String,
    /// Name of the first `super_admin`.
    pub super_admin_name: String,
}

/// Who gives the functions' database user its rights in the new databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grants {
    /// Provisioning itself, on a server whose roles it may change.
    Server,
    /// The cluster's operator, where roles are managed outside the server, as
    /// on Atlas.
    Managed,
}

/// What provisioning found or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provisioned {
    /// Slug.
    pub tenant: TenantId,
    /// Whether this run finished the tenant; false when it was there before.
    pub created: bool,
    /// Whether this run sent the first `super_admin` another invitation, since
    /// the one before had ended.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invited_again: bool,
}

/// Name and country of the provider.
const PROVIDER_NAME: &str = "Keystone";
const PROVIDER_COUNTRY: &str = "IE";

/// Custom role of the functions' database user, in `admin`.
const APP_ROLE: &str = "keystoneApp";

const NAMESPACE_EXISTS: i32 = 48;

/// Collection of the control database with what one run at a time may hold.
const LOCKS: &str = "locks";
const GRANTS_LOCK: &str = "grants";
/// Longest time for which a run holds the lock; a grant takes milliseconds.
const GRANTS_LOCKED: SignedDuration = SignedDuration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Outlasts the lock of a run that died.
const LOCK_ATTEMPTS: u32 = 250;

impl JobRegistry<'_> {
    /// Makes the tenant, or finishes what an interrupted run began. In a tenant
    /// that is there already, the first `super_admin` is invited again if their
    /// invitation has ended: nobody else could do it.
    ///
    /// # Errors
    /// 409 when the slug belongs to a tenant with another legal name;
    /// [`Problem::Unavailable`] when a store does not answer, after which the
    /// same call continues.
    pub async fn provision(
        &self,
        by: &Attribution,
        new: &NewTenant,
        grants: Grants,
        invitation: impl Fn(&TenantRecord, &User, &MailedToken) -> Result<Mail, Problem>,
    ) -> Result<Provisioned, Problem> {
        if new.id.is_reserved() {
            return Err(Problem::invalid("/tenant", "Is reserved."));
        }
        let record = self.enter(&new.id, &new.legal_name, &new.country).await?;
        if record.state != TenantState::Provisioning {
            let id = record.id.clone();
            let invited_again = record.state.serves() && {
                let tenant = self.open(record, by.now).await?;
                invite_again(&tenant, by, &new.super_admin_email, invitation).await?
            };
            return Ok(Provisioned { tenant: id, created: false, invited_again });
        }
        let tenant = self.build(by, record, grants).await?;
        genesis(&tenant, by, new, invitation).await?;
        self.activate(tenant.id()).await?;
        Ok(Provisioned { tenant: tenant.id().clone(), created: true, invited_again: false })
    }

    /// Makes the provider, or finishes what an interrupted run began. It has
    /// no user, so that nobody can sign in; `contact` is whom its jobs reach.
    ///
    /// # Errors
    /// As [`JobRegistry::provision`].
    pub async fn provision_provider(
        &self,
        by: &Attribution,
        contact: Contact,
        grants: Grants,
    ) -> Result<(), Problem> {
        let record = self.enter(&TenantId::provider(), PROVIDER_NAME, PROVIDER_COUNTRY).await?;
        if record.state != TenantState::Provisioning {
            return Ok(());
        }
        let tenant = self.build(by, record, grants).await?;
        settle(&tenant, by, contact).await?;
        Ok(self.activate(tenant.id()).await?)
    }

    /// Makes a canary, or finishes what an interrupted run began, with the one
    /// user whom `probe` describes. Where another password is set meanwhile, who
    /// signs in with it takes the place of the user before.
    ///
    /// # Errors
    /// As [`JobRegistry::provision`]; 422 when the password is a weak one.
    pub async fn provision_canary(
        &self,
        by: &Attribution,
        id: &TenantId,
        contact: Contact,
        probe: &ProbeUser,
        pepper: &Pepper,
        grants: Grants,
    ) -> Result<(), Problem> {
        let record = self.enter(id, &format!("{PROVIDER_NAME} {id}"), PROVIDER_COUNTRY).await?;
        let tenant = match record.state {
            TenantState::Provisioning => self.build(by, record, grants).await?,
            state if state.serves() => self.open(record, by.now).await?,
            // An operator suspended it.
            _ => return Ok(()),
        };
        settle(&tenant, by, contact).await?;
        probe.admit(&tenant, by, pepper).await?;
        Ok(self.activate(tenant.id()).await?)
    }

    /// Databases, rights and the first data key of a tenant.
    async fn build(
        &self,
        by: &Attribution,
        record: TenantRecord,
        grants: Grants,
    ) -> Result<Tenant, Problem> {
        self.make_collections(&record.id).await?;
        if grants == Grants::Server {
            let holder = hex::encode(random::bytes::<16>()?);
            self.lock_grants(&holder).await?;
            let granted = self.grant(&record.id).await;
            self.unlock_grants(&holder).await?;
            granted?;
        }
        self.make_key(by, &record.id).await?;
        let tenant = self.open(record, by.now).await?;
        tenant.record_first_key(by).await?;
        Ok(tenant)
    }

    /// The tenant's entry in the registry, made if absent.
    async fn enter(
        &self,
        id: &TenantId,
        legal_name: &str,
        country: &str,
    ) -> Result<TenantRecord, Problem> {
        let record = TenantRecord {
            id: id.clone(),
            legal_name: legal_name.to_owned(),
            country: country.to_owned(),
            state: TenantState::Provisioning,
            closing: None,
        };
        let mut fields = match serialize_to_bson(&record).map_err(StoreError::from)? {
            Bson::Document(fields) => fields,
            _ => Document::new(),
        };
        fields.remove("_id");
        self.tenants()
            .update_one(doc! { "_id": id.as_str() }, doc! { "$setOnInsert": fields })
            .upsert(true)
            .await
            .map_err(StoreError::from)?;
        let found = self.record(id).await?.ok_or(Problem::Internal)?;
        if found.legal_name != legal_name {
            return Err(Problem::Conflict("The slug belongs to another business.".into()));
        }
        Ok(found)
    }

    /// Gives a tenant the collections, validators and indexes of this release.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn prepare(&self, tenant: &Enrolled) -> Result<(), StoreError> {
        self.make_collections(tenant.id()).await
    }

    async fn make_collections(&self, id: &TenantId) -> Result<(), StoreError> {
        let data = self.database().tenant(id);
        let audit = self.database().tenant_audit(id);
        for collection in schema::collections_of(id) {
            let database = if collection.append_only { &audit } else { &data };
            make_collection(database, collection.name, schema::validator(collection, id)).await?;
            make_indexes(database, collection.name, &collection.all_indexes()).await?;
            if let Some(seconds) = collection.expires_after {
                make_expiry(database, collection.name, seconds).await?;
            }
        }
        make_collection(&data, schema::AUDIT_HEAD, schema::tenant_validator(id)).await?;
        let keys = self.database().tenant_keys(id);
        make_collection(&keys, schema::DATA_KEYS, schema::tenant_validator(id)).await?;
        let by_version = Index { keys: &[("version", 1)], unique: true }.keys_and_uniqueness();
        make_indexes(&keys, schema::DATA_KEYS, &[by_version]).await?;
        make_collection(&audit, schema::AUDIT_ENTRIES, schema::audit_validator(id)).await?;
        let indexes = schema::AUDIT_INDEXES.map(|index| index.keys_and_uniqueness());
        make_indexes(&audit, schema::AUDIT_ENTRIES, &indexes).await?;
        make_collection(&audit, schema::AUDIT_CHECKPOINTS, schema::checkpoint_validator(id))
            .await?;
        let indexes = schema::CHECKPOINT_INDEXES.map(|index| index.keys_and_uniqueness());
        make_indexes(&audit, schema::AUDIT_CHECKPOINTS, &indexes).await?;
        let mut head = audit_log::empty_head(id);
        let head_id = head.remove("_id");
        data.collection::<Document>(schema::AUDIT_HEAD)
            .update_one(doc! { "_id": head_id }, doc! { "$setOnInsert": head })
            .upsert(true)
            .await?;
        Ok(())
    }

    /// Keeps other runs from changing the role: not every server makes two
    /// grants at once without losing one. The lock of a run that died is open
    /// again after [`GRANTS_LOCKED`].
    async fn lock_grants(&self, holder: &str) -> Result<(), StoreError> {
        let locks = self.database().control().collection::<Document>(LOCKS);
        for _ in 0..LOCK_ATTEMPTS {
            let now = clock::now();
            let free = doc! { "_id": GRANTS_LOCK, "until": { "$lte": bson_time(now) } };
            let until = bson_time(now + GRANTS_LOCKED);
            let taken = doc! { "$set": { "until": until, "holder": holder } };
            match locks.update_one(free, taken).upsert(true).await.map_err(StoreError::from) {
                Ok(_) => return Ok(()),
                // It is held: the upsert met the document of its holder.
                Err(StoreError::Duplicate | StoreError::Conflict) => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Unavailable("the lock of grants"))
    }

    /// Opens the lock, unless it went over to another run meanwhile.
    async fn unlock_grants(&self, holder: &str) -> Result<(), StoreError> {
        let locks = self.database().control().collection::<Document>(LOCKS);
        locks.delete_one(doc! { "_id": GRANTS_LOCK, "holder": holder }).await?;
        Ok(())
    }

    /// The functions may read and write the tenant's data and remove nothing,
    /// read its wrapped keys, and find and insert audit entries.
    async fn grant(&self, id: &TenantId) -> Result<(), StoreError> {
        let privilege = |database: String, actions: &[&str]| {
            doc! { "resource": { "db": database, "collection": "" }, "actions": actions }
        };
        self.database()
            .client
            .database("admin")
            .run_command(doc! {
                "grantPrivilegesToRole": APP_ROLE,
                "privileges": [
                    privilege(data_database(id), &["find", "insert", "update"]),
                    privilege(keys_database(id), &["find"]),
                    privilege(audit_database(id), &["find", "insert"]),
                ],
            })
            .await?;
        Ok(())
    }

    async fn make_key(&self, by: &Attribution, id: &TenantId) -> Result<(), StoreError> {
        let keys = self.database().tenant_keys(id).collection::<DataKey>(schema::DATA_KEYS);
        if keys.find_one(doc! { "tenant_id": id.as_str() }).await?.is_some() {
            return Ok(());
        }
        let platform = self.platform();
        let vault = platform.vault().await?;
        vault.secrets.make(id, Subject::Tenant).await?;
        let key = vault.create(platform.setting(Setting::DataKey)?, id, 1, by.now).await?;
        match keys.insert_one(key).await.map_err(StoreError::from) {
            // Another run was faster; its key is as good.
            Ok(_) | Err(StoreError::Duplicate) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn activate(&self, id: &TenantId) -> Result<(), StoreError> {
        self.tenants()
            .update_one(
                doc! { "_id": id.as_str(), "state": "provisioning" },
                doc! { "$set": { "state": "active" } },
            )
            .await?;
        Ok(())
    }
}

impl Tenant {
    /// Records the first data key, unless an interrupted run did. The entry comes
    /// after the key, since no transaction begins without one; the tenant is not
    /// in use before both are there.
    async fn record_first_key(&self, by: &Attribution) -> Result<(), Problem> {
        let made = AuditFilter { action: Some(CREATE_KEY.into()), ..AuditFilter::default() };
        if self.newest_audit_entry(&made).await?.is_some() {
            return Ok(());
        }
        let keys = self.database.data_keys(self.id()).await?;
        let key = keys.iter().min_by_key(|key| key.version).ok_or(Problem::Internal)?;
        self.audited(by, CREATE_KEY, async |tx: &mut WriteTx<'_>| Ok(tx.name_data_key(key)?)).await
    }
}

/// The entry of the beginning of a tenant that has no `super_admin`, unless an
/// earlier run left it.
async fn settle(tenant: &Tenant, by: &Attribution, contact: Contact) -> Result<(), Problem> {
    if tenant.find::<Settings>(Filter::all()).await?.is_some() {
        return Ok(());
    }
    let contacts = Contacts { primary: contact, security: None, billing: None };
    tenant
        .audited(by, "tenant.provision", async |tx: &mut WriteTx<'_>| {
            tx.about(Resource { kind: "tenant".into(), id: tenant.id().to_string() });
            tx.settle(Settings::new(contacts.clone(), by.now)).await?;
            Ok(())
        })
        .await
}

/// The entry of the tenant's beginning, together with the first `super_admin`.
async fn genesis(
    tenant: &Tenant,
    by: &Attribution,
    new: &NewTenant,
    invitation: impl Fn(&TenantRecord, &User, &MailedToken) -> Result<Mail, Problem>,
) -> Result<(), Problem> {
    let (user, token) = User::invite(
        &new.super_admin_email,
        new.super_admin_name.clone(),
        Role::SuperAdmin,
        0,
        by.now,
    )?;
    let invited = Filter::all().eq("email", user.email.clone());
    if tenant.find::<User>(invited).await?.is_some() {
        return Ok(());
    }
    let message = invitation(tenant.profile(), &user, &token)?;
    let id = random::id(by.now)?;
    let mut contacts = new.contacts.clone();
    contacts.link(id, &user.email);
    tenant
        .audited(by, "tenant.provision", async |tx: &mut WriteTx<'_>| {
            tx.about(Resource { kind: "tenant".into(), id: tenant.id().to_string() });
            tx.insert(id, user.clone()).await?;
            tx.settle(Settings::new(contacts.clone(), by.now)).await?;
            mail::enqueue(tx, by.now, Subject::User(id), &message).await?;
            Ok(())
        })
        .await
}

/// Sends the invited `super_admin` of this address another invitation, if
/// theirs has ended, and says whether it did. One that is still open stays, so
/// that a call which is repeated mails nobody twice.
async fn invite_again(
    tenant: &Tenant,
    by: &Attribution,
    email: &str,
    invitation: impl Fn(&TenantRecord, &User, &MailedToken) -> Result<Mail, Problem>,
) -> Result<bool, Problem> {
    let with_address = || Filter::all().eq("email", canonical_email(email));
    let is_due = |user: &Stored<User>, epoch| {
        let open = user.entity.invitation.as_ref().is_some_and(|kept| kept.is_open(epoch, by.now));
        let first = user.entity.role == Role::SuperAdmin;
        first && user.entity.status == UserStatus::Invited && !open
    };
    let epoch = tenant.settings().await?.entity.session_epoch;
    if !tenant.find::<User>(with_address()).await?.is_some_and(|user| is_due(&user, epoch)) {
        return Ok(false);
    }
    tenant
        .audited(by, "tenant.invite_again", async |tx: &mut WriteTx<'_>| {
            let epoch = tx.settings().await?.entity.session_epoch;
            let found = tx.find::<User>(with_address()).await?;
            let before = found.filter(|user| is_due(user, epoch)).ok_or(Problem::Unavailable)?;
            let (after, token) = before.entity.clone().invited_again(epoch, by.now)?;
            let message = invitation(tenant.profile(), &after, &token)?;
            tx.about(Resource { kind: User::RESOURCE.into(), id: before.id.to_string() });
            tx.replace(&before, after).await?;
            mail::enqueue(tx, by.now, Subject::User(before.id), &message).await?;
            Ok(true)
        })
        .await
}

async fn make_collection(
    database: &mongodb::Database,
    name: &str,
    validator: Document,
) -> Result<(), StoreError> {
    match database.create_collection(name).validator(validator.clone()).await {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.kind.as_ref(), ErrorKind::Command(c) if c.code == NAMESPACE_EXISTS) =>
        {
            database.run_command(doc! { "collMod": name, "validator": validator }).await?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

async fn make_indexes(
    database: &mongodb::Database,
    collection: &str,
    indexes: &[(Vec<(String, i32)>, bool)],
) -> Result<(), StoreError> {
    let specs: Vec<Document> = indexes
        .iter()
        .map(|(fields, unique)| {
            let mut keys = doc! { "tenant_id": 1 };
            keys.extend(fields.iter().map(|(field, order)| (field.clone(), (*order).into())));
            let name: Vec<String> =
                fields.iter().map(|(field, order)| format!("{field}_{order}")).collect();
            doc! { "key": keys, "name": name.join("__"), "unique": *unique }
        })
        .collect();
    if !specs.is_empty() {
        database.run_command(doc! { "createIndexes": collection, "indexes": specs }).await?;
    }
    Ok(())
}

async fn make_expiry(
    database: &mongodb::Database,
    collection: &str,
    seconds: u64,
) -> Result<(), StoreError> {
    let seconds = i64::try_from(seconds).map_err(StoreError::defect)?;
    database
        .run_command(doc! {
            "createIndexes": collection,
            "indexes": [{
                "key": { "created_at": 1 },
                "name": "expiry",
                "expireAfterSeconds": seconds,
            }],
        })
        .await?;
    Ok(())
}
