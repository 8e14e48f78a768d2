//! A tenant's keys: how they are made, wrapped, unwrapped and cached.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::tenant::Id;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::{Binary, spec::BinarySubtype};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{CryptoError, Place};
use crate::random;
use crate::tenant::{StoreError, TenantId};

/// KMS encryption context: the tenant that a data key belongs to.
const CONTEXT_TENANT: &str = "tenant";
/// KMS encryption context: what the key is for.
const CONTEXT_PURPOSE: &str = "purpose";
/// The purpose of the keys that seal fields.
const PURPOSE_FIELDS: &str = "field-encryption";

/// How long unwrapped keys stay in memory before KMS is asked again.
const KEY_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// How many tenants' keys one execution environment holds at most.
const CACHED_TENANTS: usize = 64;

/// State of a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Seals new values.
    Current,
    /// Opens old values until they are sealed anew.
    Retiring,
}

/// A data key as it is stored in the tenant's database: wrapped by KMS, with
/// the tenant's index key wrapped under it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DataKey {
    /// Id of the key, named by every envelope that it sealed.
    #[serde(rename = "_id")]
    pub id: Id,
    /// The tenant, also bound by the encryption context.
    pub tenant_id: TenantId,
    /// Ordinal of the key, from 1.
    pub version: i64,
    /// What the key may be used for.
    pub state: KeyState,
    /// ARN of the KMS key that wrapped it.
    pub kms_key: String,
    wrapped: Binary,
    index_key: Binary,
    /// When it was made.
    pub created_at: mongodb::bson::DateTime,
}

/// A tenant's unwrapped keys.
pub struct Keyring {
    tenant: TenantId,
    current: Id,
    keys: HashMap<Id, LessSafeKey>,
    index: hmac::Key,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl DataKey {
    /// Makes the first data key of a tenant, with a new index key.
    ///
    /// # Errors
    /// [`StoreError`] when KMS does not give a key.
    pub async fn create(
        kms: &aws_sdk_kms::Client,
        kms_key: &str,
        tenant: &TenantId,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let made = kms
            .generate_data_key()
            .key_id(kms_key)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context(CONTEXT_TENANT, tenant.as_str())
            .encryption_context(CONTEXT_PURPOSE, PURPOSE_FIELDS)
            .send()
            .await
            .map_err(|error| StoreError::unavailable("kms", &error))?;
        let (Some(plain), Some(wrapped)) = (made.plaintext, made.ciphertext_blob) else {
            return Err(StoreError::defect("KMS gave no key"));
        };
        let id = random::id(now)?;
        let key = aead_key(&Zeroizing::new(plain.into_inner())).map_err(StoreError::defect)?;
        let index = Zeroizing::new(random::bytes::<32>()?);
        let index_key =
            encrypt(&key, &index_key_aad(tenant, id), &*index).map_err(StoreError::defect)?;
        Ok(Self {
            id,
            tenant_id: tenant.clone(),
            version: 1,
            state: KeyState::Current,
            kms_key: kms_key.to_owned(),
            wrapped: binary(wrapped.into_inner()),
            index_key: binary(index_key),
            created_at: crate::tenant::bson_time(now),
        })
    }
}

impl Keyring {
    /// Unwraps `records` with one KMS call each.
    ///
    /// # Errors
    /// [`StoreError`] when KMS refuses, or when the tenant has no current key.
    pub async fn unwrap(
        kms: &aws_sdk_kms::Client,
        tenant: &TenantId,
        records: &[DataKey],
    ) -> Result<Self, StoreError> {
        let mut keys = HashMap::new();
        let mut current = None;
        for record in records {
            let plain = kms
                .decrypt()
                .key_id(&record.kms_key)
                .ciphertext_blob(Blob::new(record.wrapped.bytes.clone()))
                .encryption_context(CONTEXT_TENANT, tenant.as_str())
                .encryption_context(CONTEXT_PURPOSE, PURPOSE_FIELDS)
                .send()
                .await
                .map_err(|error| StoreError::unavailable("kms", &error))?
                .plaintext
                .ok_or_else(|| StoreError::defect("KMS gave no plaintext"))?;
            let key = aead_key(&Zeroizing::new(plain.into_inner())).map_err(StoreError::defect)?;
            if record.state == KeyState::Current {
                let index = decrypt(
                    &key,
                    &index_key_aad(tenant, record.id),
                    record.index_key.bytes.clone(),
                )
                .map_err(StoreError::defect)?;
                current = Some((record.id, hmac::Key::new(hmac::HMAC_SHA256, &index)));
            }
            keys.insert(record.id, key);
        }
        let (current, index) =
            current.ok_or_else(|| StoreError::defect("the tenant has no current data key"))?;
        Ok(Self { tenant: tenant.clone(), current, keys, index })
    }

    pub(super) fn seal(
        &self,
        place: Place<'_>,
        plain: &[u8],
    ) -> Result<(Id, Vec<u8>), CryptoError> {
        let key = self.keys.get(&self.current).ok_or(CryptoError::UnknownKey)?;
        Ok((self.current, encrypt(key, &self.aad(place), plain)?))
    }

    pub(super) fn open(
        &self,
        place: Place<'_>,
        key: Id,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let key = self.keys.get(&key).ok_or(CryptoError::UnknownKey)?;
        decrypt(key, &self.aad(place), ciphertext.to_vec())
    }

    /// Keyed tag of a value of one field: HMAC-SHA-256 under the tenant's
    /// index key, cut to 128 bits.
    pub(crate) fn tag(&self, place: Place<'_>, plain: &[u8]) -> [u8; 16] {
        let mut input = b"keystone/tag/v1".to_vec();
        for part in [place.collection.as_bytes(), place.field.as_bytes(), plain] {
            push_part(&mut input, part);
        }
        let full = hmac::sign(&self.index, &input);
        zeroize::Zeroize::zeroize(&mut input);
        let mut tag = [0u8; 16];
        tag.copy_from_slice(&full.as_ref()[..16]);
        tag
    }

    fn aad(&self, place: Place<'_>) -> Vec<u8> {
        let mut aad = b"keystone/field/v1".to_vec();
        for part in [
            self.tenant.as_str().as_bytes(),
            place.collection.as_bytes(),
            place.document.as_bytes(),
            place.field.as_bytes(),
        ] {
            push_part(&mut aad, part);
        }
        aad
    }
}

fn index_key_aad(tenant: &TenantId, key: Id) -> Vec<u8> {
    let mut aad = b"keystone/index-key/v1".to_vec();
    push_part(&mut aad, tenant.as_str().as_bytes());
    push_part(&mut aad, key.as_bytes());
    aad
}

/// Length-prefixed, so that no two lists of parts give the same bytes.
fn push_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u64).to_be_bytes());
    out.extend_from_slice(part);
}

fn aead_key(bytes: &[u8]) -> Result<LessSafeKey, CryptoError> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| CryptoError::Key)
}

/// Nonce, ciphertext and tag in one. The nonce is random: with 96 bits a key
/// may seal 2^32 values (NIST SP 800-38D §8.3), far above what one tenant
/// stores between rotations.
fn encrypt(key: &LessSafeKey, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let nonce = random::bytes::<NONCE_LEN>().map_err(|_| CryptoError::Key)?;
    let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plain);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut out[NONCE_LEN..],
        )
        .map_err(|_| CryptoError::Key)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

fn decrypt(
    key: &LessSafeKey,
    aad: &[u8],
    mut sealed: Vec<u8>,
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let nonce: [u8; NONCE_LEN] = sealed
        .get(..NONCE_LEN)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(CryptoError::Malformed)?;
    let plain = key
        .open_in_place(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut sealed[NONCE_LEN..],
        )
        .map_err(|_| CryptoError::NotAuthentic)?;
    Ok(Zeroizing::new(plain.to_vec()))
}

fn binary(bytes: Vec<u8>) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes }
}

/// Unwrapped keyrings of one execution environment: at most 64 tenants, each
/// for at most five minutes.
#[derive(Default)]
pub struct KeyCache(Mutex<HashMap<TenantId, (Timestamp, Arc<Keyring>)>>);

impl KeyCache {
    /// The tenant's keyring, unless it is absent or has outlived its time.
    pub fn get(&self, tenant: &TenantId, now: Timestamp) -> Option<Arc<Keyring>> {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.retain(|_, (since, _)| now.duration_since(*since) < KEY_LIFE);
        cache.get(tenant).map(|(_, keys)| Arc::clone(keys))
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
impl Keyring {
    /// A keyring with a fixed key.
    pub(crate) fn for_tests(tenant: &str) -> Self {
        tests::keyring(tenant, &[(Id::from_u128(1), 1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Sealed;

    pub(super) fn keyring(tenant: &str, keys: &[(Id, u8)]) -> Keyring {
        Keyring {
            tenant: TenantId::parse(tenant).unwrap(),
            current: keys[0].0,
            keys: keys.iter().map(|(id, fill)| (*id, aead_key(&[*fill; 32]).unwrap())).collect(),
            index: hmac::Key::new(hmac::HMAC_SHA256, &[9; 32]),
        }
    }

    const KEY: Id = Id::from_u128(1);
    const DOC: Id = Id::from_u128(7);
    const PLACE: Place<'_> = Place { collection: "suppliers", document: DOC, field: "banking" };

    #[test]
    fn opens_only_at_its_own_place() {
        let keys = keyring("acme", &[(KEY, 1)]);
        let value = "IE29AIBK93115212345678".to_owned();
        let sealed = Sealed::seal(&keys, PLACE, &value).unwrap();
        assert_eq!(sealed.open(&keys, PLACE).unwrap().expose(), &value);
        for elsewhere in [
            Place { collection: "customers", ..PLACE },
            Place { document: Id::from_u128(8), ..PLACE },
            Place { field: "phone", ..PLACE },
        ] {
            assert_eq!(sealed.open(&keys, elsewhere).err(), Some(CryptoError::NotAuthentic));
        }
        // Another tenant, even one that holds the very same key bytes.
        let other = keyring("brill", &[(KEY, 1)]);
        assert_eq!(sealed.open(&other, PLACE).err(), Some(CryptoError::NotAuthentic));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let keys = keyring("acme", &[(KEY, 1)]);
        let (id, sealed) = keys.seal(PLACE, b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(keys.open(PLACE, id, &changed).err(), Some(CryptoError::NotAuthentic));
        }
        assert_eq!(keys.open(PLACE, id, &sealed[..5]).err(), Some(CryptoError::Malformed));
    }

    #[test]
    fn retiring_keys_open_and_destroyed_keys_do_not() {
        let (old, new) = (Id::from_u128(1), Id::from_u128(2));
        let sealed = Sealed::seal(&keyring("acme", &[(old, 1)]), PLACE, &1u8).unwrap();
        let both = keyring("acme", &[(new, 2), (old, 1)]);
        assert_eq!(sealed.open(&both, PLACE).unwrap().expose(), &1);
        assert_eq!(Sealed::seal(&both, PLACE, &1u8).unwrap().key(), new);
        let only_new = keyring("acme", &[(new, 2)]);
        assert_eq!(sealed.open(&only_new, PLACE).err(), Some(CryptoError::UnknownKey));
    }

    #[test]
    fn nothing_of_the_value_shows() {
        let keys = keyring("acme", &[(KEY, 1)]);
        let sealed = Sealed::seal(&keys, PLACE, &"hunter2".to_owned()).unwrap();
        let plain = sealed.open(&keys, PLACE).unwrap();
        assert_eq!(format!("{sealed:?} {plain:?}"), "Sealed(..) Plain(..)");
        assert_eq!(format!("{keys:?}"), "Keyring { tenant: TenantId(\"acme\"), .. }");
    }

    #[test]
    fn equal_values_share_a_tag_within_one_field_only() {
        let keys = keyring("acme", &[(KEY, 1)]);
        let tag = |place, value: &str| Sealed::seal(&keys, place, &value.to_owned()).unwrap().tag();
        let elsewhere = Place { document: Id::from_u128(8), ..PLACE };
        assert_eq!(tag(PLACE, "a"), tag(elsewhere, "a"));
        assert_ne!(tag(PLACE, "a"), tag(PLACE, "b"));
        assert_ne!(tag(PLACE, "a"), tag(Place { field: "phone", ..PLACE }, "a"));
    }

    #[test]
    fn cached_keys_expire_and_the_cache_is_bounded() {
        let cache = KeyCache::default();
        let start = Timestamp::UNIX_EPOCH;
        let id = |n: u32| TenantId::parse(&format!("tenant-{n}")).unwrap();
        let keys = Arc::new(keyring("acme", &[(KEY, 1)]));
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
}
