//! A tenant's data keys: how they are made, wrapped, unwrapped and cached.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{Binary, spec::BinarySubtype};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::subject::Secret;
use super::{CryptoError, Subject, SubjectSecrets};
use crate::random;
use crate::tenant::{Id, StoreError, TenantId};

/// KMS encryption context: the tenant that a data key belongs to.
const CONTEXT_TENANT: &str = "tenant";
/// KMS encryption context: what the key is for.
const CONTEXT_PURPOSE: &str = "purpose";
/// KMS encryption context: the id of the key.
const CONTEXT_KEY: &str = "key";
/// KMS encryption context: its ordinal.
const CONTEXT_VERSION: &str = "version";
/// The purpose of the keys that seal fields.
const PURPOSE_FIELDS: &str = "field-encryption";

/// Bytes in a data key (AES-256).
const KEY_LEN: usize = 32;
/// How long unwrapped keys stay in memory before KMS is asked again.
const KEY_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// How many tenants' keys one execution environment holds at most.
const CACHED_TENANTS: usize = 64;

/// A data key as it is stored in the tenant's key database: wrapped by KMS, with
/// tenant, purpose, id and version as the encryption context, so that none is
/// taken for another. The one with the highest version seals; the others open what they sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataKey {
    /// Id of the key, named by every envelope that it sealed.
    #[serde(rename = "_id")]
    pub id: Id,
    /// The tenant, also bound by the encryption context.
    pub tenant_id: TenantId,
    /// Ordinal of the key, from 1.
    pub version: i64,
    /// ARN of the KMS key that wrapped it.
    pub kms_key: String,
    wrapped: Binary,
    /// When it was made.
    pub created_at: mongodb::bson::DateTime,
}

/// Where keys come from: KMS and the table of subjects' secrets.
#[derive(Debug, Clone)]
pub struct Vault {
    /// Wraps and unwraps data keys.
    pub kms: aws_sdk_kms::Client,
    /// What subjects' keys are derived from.
    pub secrets: SubjectSecrets,
}

impl Vault {
    /// Makes the data key of a tenant with this version, wrapped under
    /// `kms_key`.
    ///
    /// # Errors
    /// [`StoreError`] when KMS does not give a key.
    pub async fn create(
        &self,
        kms_key: &str,
        tenant: &TenantId,
        version: i64,
        now: Timestamp,
    ) -> Result<DataKey, StoreError> {
        let id = random::id(now)?;
        // Nobody needs the plaintext now, so KMS does not send it.
        let wrapped = self
            .kms
            .generate_data_key_without_plaintext()
            .key_id(kms_key)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context(CONTEXT_TENANT, tenant.as_str())
            .encryption_context(CONTEXT_PURPOSE, PURPOSE_FIELDS)
            .encryption_context(CONTEXT_KEY, id.to_string())
            .encryption_context(CONTEXT_VERSION, version.to_string())
            .send()
            .await
            .map_err(|error| StoreError::unavailable("kms", &error))?
            .ciphertext_blob
            .ok_or_else(|| StoreError::defect("KMS gave no key"))?;
        Ok(DataKey {
            id,
            tenant_id: tenant.clone(),
            version,
            kms_key: kms_key.to_owned(),
            wrapped: Binary { subtype: BinarySubtype::Generic, bytes: wrapped.into_inner() },
            created_at: crate::tenant::bson_time(now),
        })
    }

    async fn unwrap(&self, tenant: &TenantId, key: &DataKey) -> Result<Arc<Unwrapped>, StoreError> {
        let plain = self
            .kms
            .decrypt()
            .key_id(&key.kms_key)
            .ciphertext_blob(Blob::new(key.wrapped.bytes.clone()))
            .encryption_context(CONTEXT_TENANT, tenant.as_str())
            .encryption_context(CONTEXT_PURPOSE, PURPOSE_FIELDS)
            .encryption_context(CONTEXT_KEY, key.id.to_string())
            .encryption_context(CONTEXT_VERSION, key.version.to_string())
            .send()
            .await
            .map_err(|error| StoreError::unavailable("kms", &error))?
            .plaintext
            .ok_or_else(|| StoreError::defect("KMS gave no plaintext"))?;
        let plain = Zeroizing::new(plain.into_inner());
        let material = <[u8; KEY_LEN]>::try_from(plain.as_slice()).map(Zeroizing::new);
        let material = material.map_err(|_| StoreError::defect("KMS gave no 256-bit key"))?;
        Ok(Arc::new(Unwrapped { id: key.id, version: key.version, material }))
    }
}

/// An unwrapped data key.
pub(super) type Material = Zeroizing<[u8; KEY_LEN]>;

/// A tenant's data keys, unwrapped as they are needed: the one that seals and
/// the first, which indexes, at once; each other when something that it sealed
/// is opened.
pub struct Keyring {
    tenant: TenantId,
    secret: Secret,
    first: Arc<Unwrapped>,
    keys: Mutex<Keys>,
}

struct Keys {
    current: Arc<Unwrapped>,
    older: HashMap<Id, Arc<Unwrapped>>,
    wrapped: HashMap<Id, DataKey>,
}

pub(super) struct Unwrapped {
    pub(super) id: Id,
    pub(super) version: i64,
    pub(super) material: Material,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The keyring with `records`; a KMS call for the newest, and one for the
    /// first at the same time once there are several.
    ///
    /// # Errors
    /// [`StoreError`] when a store refuses, or the tenant has no key.
    pub async fn load(
        vault: &Vault,
        tenant: &TenantId,
        records: Vec<DataKey>,
    ) -> Result<Self, StoreError> {
        let by_age = |record: &&DataKey| record.version;
        let (first, newest) = records
            .iter()
            .min_by_key(by_age)
            .zip(records.iter().max_by_key(by_age))
            .ok_or_else(|| StoreError::defect("the tenant has no data key"))?;
        let other = async {
            if first.id == newest.id {
                return Ok(None);
            }
            Box::pin(vault.unwrap(tenant, first)).await.map(Some)
        };
        let subjects = [Subject::Tenant];
        let (current, other, secrets) = tokio::try_join!(
            Box::pin(vault.unwrap(tenant, newest)),
            other,
            vault.secrets.get(tenant, &subjects)
        )?;
        let secret = secrets
            .into_values()
            .next()
            .ok_or_else(|| StoreError::defect("the tenant's secret was destroyed"))?;
        let first = other.unwrap_or_else(|| Arc::clone(&current));
        Ok(Self::new(tenant.clone(), secret, first, current, records))
    }

    pub(super) fn new(
        tenant: TenantId,
        secret: Secret,
        first: Arc<Unwrapped>,
        current: Arc<Unwrapped>,
        records: Vec<DataKey>,
    ) -> Self {
        let wrapped = records.into_iter().map(|record| (record.id, record)).collect();
        let older = HashMap::from([(first.id, Arc::clone(&first))]);
        let keys = Keys { current, older, wrapped };
        Self { tenant, secret, first, keys: Mutex::new(keys) }
    }

    /// Takes up `records` that were added since; one KMS call if one of them
    /// is newer than the one that seals.
    ///
    /// # Errors
    /// [`StoreError`] when KMS refuses.
    pub async fn add(&self, vault: &Vault, records: Vec<DataKey>) -> Result<(), StoreError> {
        let newest = records.iter().max_by_key(|record| record.version);
        let newest = newest.filter(|record| record.version > self.version()).cloned();
        let unwrapped = match newest {
            Some(record) => Some(Box::pin(vault.unwrap(&self.tenant, &record)).await?),
            None => None,
        };
        let mut keys = self.lock();
        keys.wrapped.extend(records.into_iter().map(|record| (record.id, record)));
        if let Some(unwrapped) = unwrapped.filter(|new| new.version > keys.current.version) {
            let before = std::mem::replace(&mut keys.current, unwrapped);
            keys.older.insert(before.id, before);
        }
        Ok(())
    }

    /// The tenant that the keys are of.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Version of the key that seals.
    pub fn version(&self) -> i64 {
        self.lock().current.version
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The tenant's first data key, from which the index key is derived.
    pub(super) fn first(&self) -> &Unwrapped {
        &self.first
    }

    pub(super) fn current(&self) -> Arc<Unwrapped> {
        Arc::clone(&self.lock().current)
    }

    /// Ids of the key that seals, and of the others.
    pub(crate) fn newest_and_older(&self) -> (Id, Vec<Id>) {
        let keys = self.lock();
        let newest = keys.current.id;
        (newest, keys.wrapped.keys().copied().filter(|id| *id != newest).collect())
    }

    /// The key `id`, unwrapped by KMS unless it was before.
    pub(super) async fn key(&self, vault: &Vault, id: Id) -> Result<Arc<Unwrapped>, CryptoError> {
        let record = {
            let keys = self.lock();
            if keys.current.id == id {
                return Ok(Arc::clone(&keys.current));
            }
            if let Some(older) = keys.older.get(&id) {
                return Ok(Arc::clone(older));
            }
            keys.wrapped.get(&id).cloned().ok_or(CryptoError::UnknownKey)?
        };
        let key = Box::pin(vault.unwrap(&self.tenant, &record)).await?;
        self.lock().older.insert(id, Arc::clone(&key));
        Ok(key)
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keyrings of one execution environment: at most 64 tenants, each for at most
/// five minutes.
#[derive(Default)]
pub struct KeyCache(Mutex<HashMap<TenantId, (Timestamp, Arc<Keyring>)>>);

impl KeyCache {
    /// The tenant's keyring, unless it is absent or has outlived its time.
    pub fn get(&self, tenant: &TenantId, now: Timestamp) -> Option<Arc<Keyring>> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|_, (since, _)| now.duration_since(*since) < KEY_LIFE);
        cache.get(tenant).map(|(_, keys)| Arc::clone(keys))
    }

    /// Forgets the keyring of `tenant`.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Keeps `keys` until their time is over or the cache is full.
    pub fn put(&self, tenant: TenantId, keys: Arc<Keyring>, now: Timestamp) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED_TENANTS
            && let Some(oldest) =
                cache.iter().min_by_key(|(_, (since, _))| *since).map(|(id, _)| id.clone())
        {
            cache.remove(&oldest);
        }
        cache.insert(tenant, (now, keys));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::keyring;

    #[test]
    fn cached_keys_expire_and_the_cache_is_bounded() {
        let cache = KeyCache::default();
        let start = Timestamp::UNIX_EPOCH;
        let id = |n: u32| TenantId::parse(&format!("tenant-{n}")).unwrap();
        let keys = Arc::new(keyring("acme", 1));
        cache.put(id(0), Arc::clone(&keys), start);
        assert!(cache.get(&id(0), start + SignedDuration::from_secs(299)).is_some());
        assert!(cache.get(&id(0), start + SignedDuration::from_secs(300)).is_none());
        for n in 0..100_u32 {
            let at = start + SignedDuration::from_millis(n.into());
            cache.put(id(n), Arc::clone(&keys), at);
        }
        assert_eq!(cache.0.lock().unwrap().len(), CACHED_TENANTS);
        assert!(cache.get(&id(99), start + SignedDuration::from_secs(1)).is_some());
    }

    #[test]
    fn a_keyring_shows_nothing_of_its_keys() {
        assert_eq!(
            format!("{:?}", keyring("acme", 1)),
            "Keyring { tenant: TenantId(\"acme\"), .. }"
        );
    }
}
