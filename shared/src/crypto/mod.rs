//! Field-level envelope encryption (SPEC §5).
//!
//! KMS customer key → per-tenant data keys, wrapped with an encryption context
//! that names tenant and purpose → AES-256-GCM per field. The associated data
//! names tenant, collection, document and field, so that a ciphertext copied
//! to any other place does not open.

mod keyring;
mod sealed;

pub use keyring::{DataKey, KeyCache, KeyState, Keyring};
pub(crate) use sealed::tag_of_envelope;
pub use sealed::{Place, Plain, Sealed, at_rest, at_rest_option};

/// Why a value could not be sealed or opened. Carries nothing of the value.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum CryptoError {
    /// The envelope names a data key that the tenant does not hold, or that
    /// was destroyed.
    #[error("no such data key")]
    UnknownKey,
    /// The ciphertext does not belong to this place, or was changed.
    #[error("ciphertext does not open here")]
    NotAuthentic,
    /// The envelope or the plaintext in it is not well-formed.
    #[error("malformed envelope")]
    Malformed,
    /// The key could not be used at all.
    #[error("key material unusable")]
    Key,
}
