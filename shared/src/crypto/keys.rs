//! A tenant's keys in use: what seals and opens, for one request or one step
//! of a job.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use super::keyring::{Keyring, Unwrapped, Vault};
use super::subject::{Secret, mark_of};
use super::{CryptoError, Envelope, Place, Plaintext, Subject, push_part};
use crate::random;
use crate::tenant::{Id, StoreError};

/// Bytes in the tag of AES-256-GCM.
const TAG_LEN: usize = 16;

/// How many subjects' secrets and derived keys are held at most.
const HELD: usize = 4096;

/// The keys of one tenant. Secrets of subjects are fetched once and forgotten
/// with this value: none outlives the request, so that an erasure acts on the
/// next.
pub struct TenantKeys {
    ring: Arc<Keyring>,
    vault: Vault,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// `None`: there is no secret now.
    secrets: HashMap<Subject, Option<Secret>>,
    /// Whether a secret of the subject was ever destroyed, where that was asked.
    destroyed: HashMap<Subject, bool>,
    derived: HashMap<(Id, Subject), Arc<LessSafeKey>>,
    /// The derived key that was used last: a request is mostly about one
    /// subject, and a comparison is quicker than a hash.
    last: Option<((Id, Subject), Arc<LessSafeKey>)>,
}

/// What one sealing or opening needs beside its result, kept to be used again.
#[derive(Default)]
struct Scratch {
    aad: Vec<u8>,
    plain: Vec<u8>,
}

/// Longest plaintext whose room is kept, in bytes.
const KEPT_ROOM: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Runs `work` with the room of this thread; whatever it leaves in it is
    /// overwritten.
    fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
            Ok(mut scratch) => work(&mut scratch),
            // A value whose decoding opens another.
            Err(_) => work(&mut Self::default()),
        })
    }
}

impl TenantKeys {
    /// The keys on `ring`.
    pub fn new(ring: Arc<Keyring>, vault: Vault) -> Self {
        Self { ring, vault, held: Mutex::new(Held::default()) }
    }

    /// Whether the data key `id` is the one that seals.
    pub(crate) fn is_newest(&self, id: Id) -> bool {
        self.ring.current().id == id
    }

    /// The data keys.
    pub fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// Where the keys come from.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Fetches the secrets of `subjects`, a hundred with one call, so that
    /// opening their values asks for nothing more.
    ///
    /// # Errors
    /// [`StoreError`] when the table does not answer.
    pub async fn prefetch(
        &self,
        subjects: impl IntoIterator<Item = Subject> + Send,
    ) -> Result<(), StoreError> {
        let absent: Vec<Subject> = {
            let mut held = self.lock();
            if held.secrets.len() > HELD {
                *held = Held::default();
            }
            let wanted: HashSet<Subject> = subjects.into_iter().collect();
            wanted
                .into_iter()
                .filter(|subject| {
                    *subject != Subject::Tenant && !held.secrets.contains_key(subject)
                })
                .collect()
        };
        if absent.is_empty() {
            return Ok(());
        }
        // Boxed, here and below: calls of the SDK are large futures, and every
        // audited write holds these.
        let tenant = self.ring.tenant();
        let mut found = Box::pin(self.vault.secrets.get(tenant, &absent)).await?;
        let without: Vec<Subject> =
            absent.iter().copied().filter(|subject| !found.contains_key(subject)).collect();
        let destroyed = if without.is_empty() {
            HashSet::new()
        } else {
            Box::pin(self.vault.secrets.destroyed(tenant, &without)).await?
        };
        let mut held = self.lock();
        for subject in without {
            held.destroyed.insert(subject, destroyed.contains(&subject));
        }
        for subject in absent {
            held.secrets.insert(subject, found.remove(&subject));
        }
        Ok(())
    }

    /// What it means that a value of `subject` does not open, or has no secret to
    /// be opened with: somebody who was erased and is written about again has
    /// another secret since, and what the one before sealed is erased. The table
    /// of secrets says so and not the database, where whoever changed the value
    /// could write down an erasure too.
    async fn unless_destroyed(&self, subject: Subject, error: CryptoError) -> CryptoError {
        if subject == Subject::Tenant {
            return error;
        }
        let known = self.lock().destroyed.get(&subject).copied();
        let destroyed = match known {
            Some(known) => known,
            None => match self.was_destroyed(subject).await {
                Ok(destroyed) => destroyed,
                Err(store) => return CryptoError::Store(store),
            },
        };
        self.lock().destroyed.insert(subject, destroyed);
        if destroyed { CryptoError::Erased } else { error }
    }

    /// What tells the secret that `subject` has now from any later one. A
    /// subject without gets one, which the next value would be sealed with.
    ///
    /// # Errors
    /// [`StoreError`] when the table does not answer.
    pub(crate) async fn mark(&self, subject: Subject) -> Result<String, StoreError> {
        let secret = Box::pin(self.vault.secrets.make(self.ring.tenant(), subject)).await?;
        Ok(mark_of(&secret))
    }

    /// Destroys the secret of `subject` and forgets what was derived from it;
    /// only if it is still the one of `mark`.
    ///
    /// # Errors
    /// [`StoreError`] when the table does not answer.
    pub(crate) async fn destroy(&self, subject: Subject, mark: &str) -> Result<(), StoreError> {
        self.vault.secrets.destroy(self.ring.tenant(), subject, mark).await?;
        // There may be another by now: whoever needs it asks.
        self.forget(subject);
        Ok(())
    }

    /// Whether a secret of `subject` was destroyed.
    ///
    /// # Errors
    /// [`StoreError`] when the table does not answer.
    async fn was_destroyed(&self, subject: Subject) -> Result<bool, StoreError> {
        let asked = [subject];
        let found = Box::pin(self.vault.secrets.destroyed(self.ring.tenant(), &asked)).await?;
        Ok(found.contains(&subject))
    }

    /// Whether the secret of `subject` was destroyed that had this `mark`.
    ///
    /// # Errors
    /// [`StoreError`] when the table does not answer.
    pub(crate) async fn is_destroyed(
        &self,
        subject: Subject,
        mark: &str,
    ) -> Result<bool, StoreError> {
        self.vault.secrets.is_destroyed(self.ring.tenant(), subject, mark).await
    }

    /// Forgets the secret of `subject`, or that there was none, and what was
    /// derived from it: what needs it next asks the table.
    pub(crate) fn forget(&self, subject: Subject) {
        let mut held = self.lock();
        held.derived.retain(|(_, of), _| *of != subject);
        held.last = None;
        held.secrets.remove(&subject);
        held.destroyed.remove(&subject);
    }

    /// Seals `plain` for `place`, as a value of `subject`, who gets a secret
    /// if there is none.
    ///
    /// # Errors
    /// [`CryptoError`] when a key cannot be had or used.
    pub(crate) async fn seal(
        &self,
        place: Place<'_>,
        subject: Subject,
        plain: &[u8],
    ) -> Result<Envelope, CryptoError> {
        let write = |out: &mut Vec<u8>| {
            out.extend_from_slice(plain);
            Ok(())
        };
        self.seal_with(place, subject, write).await
    }

    /// As [`TenantKeys::seal`], for what `write` appends.
    ///
    /// # Errors
    /// As [`TenantKeys::seal`], and what `write` returns.
    pub(crate) async fn seal_with(
        &self,
        place: Place<'_>,
        subject: Subject,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), CryptoError>,
    ) -> Result<Envelope, CryptoError> {
        let current = self.ring.current();
        let known = self.derived(current.id, subject);
        let key = if let Some(key) = known {
            key
        } else {
            let secret = self.secret_or_new(subject).await?;
            self.derive(&current, subject, secret.as_ref())?
        };
        let ciphertext = Scratch::with(|scratch| {
            self.aad(&mut scratch.aad, place, subject);
            encrypt(&key, &scratch.aad, write)
        })?;
        Ok(Envelope { key: current.id, subject, ciphertext })
    }

    /// Opens `envelope` at `place`.
    ///
    /// # Errors
    /// [`CryptoError::Erased`] when a secret of the subject was destroyed and no
    /// later one opens it, [`CryptoError::NoSecret`] when there never was one,
    /// [`CryptoError::NotAuthentic`] at any place but its own.
    pub(crate) async fn open(
        &self,
        place: Place<'_>,
        envelope: &Envelope,
    ) -> Result<Plaintext, CryptoError> {
        self.open_with(place, envelope, |plain| Ok(Plaintext(plain.to_vec()))).await
    }

    /// As [`TenantKeys::open`], for what `read` makes of the plaintext, which
    /// is overwritten afterwards.
    ///
    /// # Errors
    /// As [`TenantKeys::open`], and what `read` returns.
    pub(crate) async fn open_with<R>(
        &self,
        place: Place<'_>,
        envelope: &Envelope,
        read: impl FnOnce(&[u8]) -> Result<R, CryptoError>,
    ) -> Result<R, CryptoError> {
        let subject = envelope.subject;
        let known = self.derived(envelope.key, subject);
        let key = if let Some(key) = known {
            key
        } else {
            let data_key = self.ring.key(&self.vault, envelope.key).await?;
            let secret = self.secret(subject).await?;
            self.derive(&data_key, subject, secret.as_ref())?
        };
        let opened = Scratch::with(|Scratch { aad, plain }| {
            self.aad(aad, place, subject);
            decrypt(&key, aad, &envelope.ciphertext, plain, read)
        });
        match opened {
            Err(error @ CryptoError::NotAuthentic) => {
                Err(self.unless_destroyed(subject, error).await)
            }
            opened => opened,
        }
    }

    /// Keyed tag of a value, for audit deltas: HMAC-SHA-256, cut to 128 bits,
    /// under a key of the subject. Equal for equal values of one field of one
    /// subject, until the data key is rotated.
    ///
    /// # Errors
    /// As [`TenantKeys::seal`].
    pub(crate) async fn tag(
        &self,
        place: Place<'_>,
        subject: Subject,
        plain: &[u8],
    ) -> Result<[u8; 16], CryptoError> {
        let current = self.ring.current();
        let secret = self.secret_or_new(subject).await?;
        let prk = self.extract(&current, secret.as_ref());
        let mut input = Zeroizing::new(Vec::with_capacity(plain.len() + 64));
        for part in [place.collection.as_bytes(), place.field.as_bytes(), plain] {
            push_part(&mut input, part);
        }
        let info = self.info(b"keystone/tag/v1", current.id, subject);
        Ok(cut(&hmac::sign(&hmac_key(&prk, &info)?, &input)))
    }

    /// What equality search compares in place of a value: HMAC-SHA-256 under
    /// the tenant's index key, cut to 16 bits (see [`super::blind`]). The index
    /// key is of the tenant's first data key for ever: under a key of each data
    /// key, every rotation would leave another 16 bits of the same value.
    ///
    /// # Errors
    /// [`CryptoError::Key`] when the key cannot be used.
    pub(crate) fn blind(&self, field: &str, normal: &[u8]) -> Result<[u8; 2], CryptoError> {
        let key = self.ring.first();
        let prk = self.extract(key, None);
        let mut info = self.info(b"keystone/index/v1", key.id, Subject::Tenant);
        push_part(&mut info, field.as_bytes());
        Ok(cut(&hmac::sign(&hmac_key(&prk, &info)?, normal)))
    }

    fn derived(&self, key: Id, subject: Subject) -> Option<Arc<LessSafeKey>> {
        let mut held = self.lock();
        if let Some((of, last)) = &held.last
            && *of == (key, subject)
        {
            return Some(Arc::clone(last));
        }
        let found = held.derived.get(&(key, subject)).map(Arc::clone)?;
        held.last = Some(((key, subject), Arc::clone(&found)));
        Some(found)
    }

    fn derive(
        &self,
        key: &Unwrapped,
        subject: Subject,
        secret: Option<&Secret>,
    ) -> Result<Arc<LessSafeKey>, CryptoError> {
        let prk = self.extract(key, secret);
        let info = self.info(b"keystone/seal/v1", key.id, subject);
        let info = [info.as_slice()];
        let okm = prk.expand(&info, &AES_256_GCM).map_err(|_| CryptoError::Key)?;
        let derived = Arc::new(LessSafeKey::new(UnboundKey::from(okm)));
        self.lock().derived.insert((key.id, subject), Arc::clone(&derived));
        Ok(derived)
    }

    /// The data key with what can be erased as the salt: the tenant's secret,
    /// and the subject's unless that is the tenant.
    fn extract(&self, key: &Unwrapped, secret: Option<&Secret>) -> hkdf::Prk {
        let mut salt = Zeroizing::new(Vec::with_capacity(64));
        salt.extend_from_slice(self.ring.secret().as_slice());
        if let Some(secret) = secret {
            salt.extend_from_slice(secret.as_slice());
        }
        hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(key.material.as_slice())
    }

    fn info(&self, purpose: &[u8], key: Id, subject: Subject) -> Vec<u8> {
        let mut info = purpose.to_vec();
        let (kind, id) = subject.parts();
        for part in [self.ring.tenant().as_str().as_bytes(), key.as_bytes(), kind.as_bytes(), id] {
            push_part(&mut info, part);
        }
        info
    }

    fn aad(&self, aad: &mut Vec<u8>, place: Place<'_>, subject: Subject) {
        aad.clear();
        aad.extend_from_slice(b"keystone/field/v1");
        let (kind, id) = subject.parts();
        for part in [
            self.ring.tenant().as_str().as_bytes(),
            kind.as_bytes(),
            id,
            place.collection.as_bytes(),
            place.document.as_bytes(),
            place.field.as_bytes(),
        ] {
            push_part(aad, part);
        }
    }

    async fn secret(&self, subject: Subject) -> Result<Option<Secret>, CryptoError> {
        if subject == Subject::Tenant {
            return Ok(None);
        }
        let known = self.lock().secrets.contains_key(&subject);
        self.prefetch([subject]).await?;
        let secret = |keys: &Self| keys.lock().secrets.get(&subject).cloned().flatten();
        if let Some(found) = secret(self) {
            return Ok(Some(found));
        }
        let error = self.unless_destroyed(subject, CryptoError::NoSecret).await;
        if !known || !matches!(error, CryptoError::NoSecret) {
            return Err(error);
        }
        // It had none when that was asked first, and somebody else may have made
        // one since.
        self.forget(subject);
        self.prefetch([subject]).await?;
        secret(self).map(Some).ok_or(CryptoError::NoSecret)
    }

    async fn secret_or_new(&self, subject: Subject) -> Result<Option<Secret>, CryptoError> {
        if subject == Subject::Tenant {
            return Ok(None);
        }
        let held = self.lock().secrets.get(&subject).cloned().flatten();
        if held.is_some() {
            return Ok(held);
        }
        let secret = Box::pin(self.vault.secrets.make(self.ring.tenant(), subject)).await?;
        self.lock().secrets.insert(subject, Some(secret.clone()));
        Ok(Some(secret))
    }

    /// Takes it that `subject` has this secret, and whether one was destroyed.
    #[cfg(test)]
    pub(super) fn hold(&self, subject: Subject, secret: Option<Secret>, destroyed: bool) {
        let mut held = self.lock();
        held.secrets.insert(subject, secret);
        held.destroyed.insert(subject, destroyed);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hmac_key(prk: &hkdf::Prk, info: &[u8]) -> Result<hmac::Key, CryptoError> {
    let info = [info];
    prk.expand(&info, hmac::HMAC_SHA256).map(hmac::Key::from).map_err(|_| CryptoError::Key)
}

fn cut<const N: usize>(full: &hmac::Tag) -> [u8; N] {
    let mut short = [0u8; N];
    short.copy_from_slice(&full.as_ref()[..N]);
    short
}

/// Nonce, ciphertext and tag in one, of what `write` appends: it is encrypted
/// where it stands. The nonce is random: with 96 bits a key may seal 2^32
/// values (NIST SP 800-38D §8.3), far above what one subject has between
/// rotations.
fn encrypt(
    key: &LessSafeKey,
    aad: &[u8],
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), CryptoError>,
) -> Result<Vec<u8>, CryptoError> {
    let nonce = random::bytes::<NONCE_LEN>().map_err(|_| CryptoError::Key)?;
    // Room for what most values take, so that none is copied as it grows.
    let mut out = Vec::with_capacity(1536);
    out.extend_from_slice(&nonce);
    write(&mut out)?;
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

/// What `read` makes of the plaintext of `sealed`. The plaintext stands in
/// `room`, which is overwritten at the speed of `fill`: the values made from it
/// are not overwritten, so this is tidiness.
fn decrypt<R>(
    key: &LessSafeKey,
    aad: &[u8],
    sealed: &[u8],
    room: &mut Vec<u8>,
    read: impl FnOnce(&[u8]) -> Result<R, CryptoError>,
) -> Result<R, CryptoError> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(CryptoError::Malformed)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(CryptoError::Malformed)?;
    if room.len() < ciphertext.len() {
        room.resize(ciphertext.len(), 0);
    }
    let plain = &mut room[..ciphertext.len()];
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let opened = key.open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, plain);
    let done = opened.map_err(|_| CryptoError::NotAuthentic).and_then(|()| read(plain));
    plain.fill(0);
    std::hint::black_box(&mut *plain);
    if room.len() > KEPT_ROOM {
        *room = Vec::new();
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::{keys, rotated};

    const DOC: Id = Id::from_u128(7);
    const WHO: Subject = Subject::Supplier(DOC);
    const PLACE: Place<'_> = Place { collection: "suppliers", document: DOC, field: "banking" };

    #[tokio::test]
    async fn opens_only_at_its_own_place() {
        let ours = keys("acme", 1, &[WHO]);
        let sealed = ours.seal(PLACE, WHO, b"IE29AIBK93115212345678").await.unwrap();
        let opened = ours.open(PLACE, &sealed).await.unwrap();
        assert_eq!(&*opened, b"IE29AIBK93115212345678");
        for elsewhere in [
            Place { collection: "customers", ..PLACE },
            Place { document: Id::from_u128(8), ..PLACE },
            Place { field: "phone", ..PLACE },
        ] {
            let refused = ours.open(elsewhere, &sealed).await;
            assert!(matches!(refused, Err(CryptoError::NotAuthentic)));
        }
        // Another tenant, even one that holds the very same key bytes.
        let refused = keys("brill", 1, &[WHO]).open(PLACE, &sealed).await;
        assert!(matches!(refused, Err(CryptoError::NotAuthentic)));
    }

    #[tokio::test]
    async fn a_value_of_one_subject_does_not_become_anothers() {
        let other = Subject::User(DOC);
        let ours = keys("acme", 1, &[WHO, other]);
        let sealed = ours.seal(PLACE, WHO, b"x").await.unwrap();
        for subject in [other, Subject::Tenant] {
            let claimed = Envelope { subject, ..sealed.clone() };
            assert!(matches!(ours.open(PLACE, &claimed).await, Err(CryptoError::NotAuthentic)));
        }
    }

    #[tokio::test]
    async fn without_the_subjects_secret_nothing_opens() {
        let ours = keys("acme", 1, &[WHO]);
        let sealed = ours.seal(PLACE, WHO, b"x").await.unwrap();
        // A secret made anew for the same subject is another one. What does not
        // open is erased where a secret was destroyed, and else nothing but wrong.
        let other = Some(Zeroizing::new([77; 32]));
        for secret in [None, other.clone()] {
            let later = keys("acme", 1, &[]);
            later.hold(WHO, secret, true);
            assert!(matches!(later.open(PLACE, &sealed).await, Err(CryptoError::Erased)));
        }
        let later = keys("acme", 1, &[]);
        later.hold(WHO, other, false);
        assert!(matches!(later.open(PLACE, &sealed).await, Err(CryptoError::NotAuthentic)));
    }

    #[tokio::test]
    async fn every_changed_byte_is_noticed() {
        let ours = keys("acme", 1, &[WHO]);
        let sealed = ours.seal(PLACE, WHO, b"secret").await.unwrap();
        for at in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[at] ^= 1;
            assert!(matches!(ours.open(PLACE, &changed).await, Err(CryptoError::NotAuthentic)));
        }
        let cut = Envelope { ciphertext: vec![0; 5], ..sealed.clone() };
        assert!(matches!(ours.open(PLACE, &cut).await, Err(CryptoError::Malformed)));
        let unknown = Envelope { key: Id::from_u128(99), ..sealed };
        assert!(matches!(ours.open(PLACE, &unknown).await, Err(CryptoError::UnknownKey)));
    }

    #[tokio::test]
    async fn equal_values_share_a_tag_within_one_field_of_one_subject_only() {
        let other = Subject::Supplier(Id::from_u128(8));
        let ours = keys("acme", 1, &[WHO, other]);
        let tag =
            async |place, subject, value: &[u8]| ours.tag(place, subject, value).await.unwrap();
        let elsewhere = Place { field: "phone", ..PLACE };
        assert_eq!(tag(PLACE, WHO, b"a").await, tag(PLACE, WHO, b"a").await);
        assert_ne!(tag(PLACE, WHO, b"a").await, tag(PLACE, WHO, b"b").await);
        assert_ne!(tag(PLACE, WHO, b"a").await, tag(elsewhere, WHO, b"a").await);
        assert_ne!(tag(PLACE, Subject::Tenant, b"a").await, tag(PLACE, WHO, b"a").await,);
    }

    #[test]
    fn a_blind_index_is_of_one_tenant_field_and_first_key() {
        let ours = keys("acme", 1, &[]);
        let index = ours.blind("phone", b"+353861234567").unwrap();
        assert_ne!(ours.blind("iban", b"+353861234567").unwrap(), index);
        assert_ne!(keys("brill", 1, &[]).blind("phone", b"+353861234567").unwrap(), index);
        assert_ne!(keys("acme", 2, &[]).blind("phone", b"+353861234567").unwrap(), index);
    }

    #[tokio::test]
    async fn a_blind_index_outlasts_every_rotation() {
        let index = |keys: &TenantKeys| keys.blind("phone", b"+353861234567").unwrap();
        let before = keys("acme", 1, &[]);
        for newest in 2..=4 {
            let after = TenantKeys::new(rotated("acme", 1, newest).into(), before.vault().clone());
            assert_eq!(index(&after), index(&before), "after {newest}");
            // What seals is another key nevertheless.
            let sealed = after.seal(PLACE, Subject::Tenant, b"x").await.unwrap();
            let refused = before.open(PLACE, &sealed).await;
            assert!(matches!(refused, Err(CryptoError::UnknownKey)));
        }
    }
}
