//! Field-level envelope encryption (SPEC §5).
//!
//! KMS customer key → per-tenant data keys, wrapped with an encryption context
//! that names tenant, purpose, key and version → a key per subject, derived from
//! a data key and the subject's erasable secret (HKDF-SHA-256, RFC 5869) →
//! AES-256-GCM per field. The associated data names tenant, subject, collection,
//! document and field, so that a ciphertext copied to any other place does not
//! open.
//! docs/adr/0012 tells why.

mod blind;
mod keyring;
mod keys;
mod sealed;
mod subject;

pub use blind::{Normal, normalised};
pub use keyring::{DataKey, KeyCache, Keyring, Vault};
pub use keys::TenantKeys;
pub(crate) use sealed::Envelope;
pub use sealed::{Place, Plain, Sealed, at_rest, at_rest_option};
pub use subject::{Subject, SubjectSecrets};

use crate::tenant::StoreError;

/// Why a value could not be sealed or opened. Carries nothing of the value.
#[derive(Debug, thiserror::Error, Clone)]
pub enum CryptoError {
    /// The envelope names a data key that the keyring does not hold.
    #[error("no such data key")]
    UnknownKey,
    /// The subject's secret was destroyed: the value is erased.
    #[error("erased")]
    Erased,
    /// The subject has no secret, and none was destroyed: it was lost, or the
    /// envelope names somebody whom nothing was ever sealed for.
    #[error("the subject's secret is missing")]
    NoSecret,
    /// The ciphertext does not belong to this place, or was changed.
    #[error("ciphertext does not open here")]
    NotAuthentic,
    /// The envelope or the plaintext in it is not well-formed.
    #[error("malformed envelope")]
    Malformed,
    /// The key could not be used at all.
    #[error("key material unusable")]
    Key,
    /// A store that keys come from does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Plaintext bytes, overwritten when they are dropped. The values made from
/// them are not, so this is tidiness; it is done at the speed of `fill`, where
/// zeroize writes byte after byte.
pub(crate) struct Plaintext(Vec<u8>);

impl std::ops::Deref for Plaintext {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&mut self.0);
    }
}

/// A sealed value's bytes, `MessagePack`: self-describing, and text in it is
/// copied and not escaped.
fn encode<T: serde::Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CryptoError> {
    rmp_serde::encode::write_named(out, value).map_err(|_| CryptoError::Malformed)
}

/// The value that [`encode`] wrote.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, CryptoError> {
    rmp_serde::from_slice(bytes).map_err(|_| CryptoError::Malformed)
}

/// Appends `part`, length-prefixed, so that no two lists of parts give the
/// same bytes.
fn push_part(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u64).to_be_bytes());
    out.extend_from_slice(part);
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use zeroize::Zeroizing;

    use super::keyring::Unwrapped;
    use super::*;
    use crate::tenant::{Id, TenantId};

    /// A keyring whose only key has bytes of `fill` only.
    pub(crate) fn keyring(tenant: &str, fill: u8) -> Keyring {
        rotated(tenant, fill, fill)
    }

    /// A keyring whose first key has bytes of `first` only, and the one that
    /// seals bytes of `newest`.
    pub(crate) fn rotated(tenant: &str, first: u8, newest: u8) -> Keyring {
        let key = |fill: u8| {
            let (id, material) = (Id::from_u128(fill.into()), Zeroizing::new([fill; 32]));
            Arc::new(Unwrapped { id, version: fill.into(), material })
        };
        let tenant = TenantId::parse(tenant).unwrap();
        Keyring::new(tenant, Zeroizing::new([9; 32]), key(first), key(newest), Vec::new())
    }

    /// Keys with the secrets of `subjects` at hand; no store is ever asked.
    pub(crate) fn keys(tenant: &str, fill: u8, subjects: &[Subject]) -> TenantKeys {
        let keys = TenantKeys::new(keyring(tenant, fill).into(), vault());
        for subject in subjects {
            keys.hold(*subject, Some(Zeroizing::new([fill; 32])), false);
        }
        keys
    }

    /// Clients that lead nowhere.
    fn vault() -> Vault {
        let dynamodb = aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .build();
        let kms = aws_sdk_kms::Config::builder()
            .behavior_version(aws_sdk_kms::config::BehaviorVersion::latest())
            .build();
        Vault {
            kms: aws_sdk_kms::Client::from_conf(kms),
            secrets: SubjectSecrets::new(aws_sdk_dynamodb::Client::from_conf(dynamodb), "none"),
        }
    }
}
