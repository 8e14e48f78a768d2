//! A sensitive value in its two forms: sealed for storage, plain in memory.

use std::fmt;
use std::marker::PhantomData;

use crate::tenant::Id;
use mongodb::bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::{CryptoError, Keyring};

/// Version of the stored envelope.
const ENVELOPE_VERSION: i32 = 1;

/// Where a sealed value lives. It enters the associated data of the cipher.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Collection name.
    pub collection: &'a str,
    /// Id of the document.
    pub document: Id,
    /// Path of the field in the document.
    pub field: &'a str,
}

/// Ciphertext of a `T`, safe to store.
///
/// There is no `Serialize`: fields of this type name [`at_rest`] and so reach
/// the database's binary format only. `Debug` shows nothing of the value.
pub struct Sealed<T> {
    key: Id,
    ciphertext: Vec<u8>,
    tag: [u8; 16],
    plain: PhantomData<fn() -> T>,
}

impl<T> Sealed<T> {
    /// Keyed tag of the plaintext: equal for equal values of one field of one
    /// tenant, and useless without the tenant's index key. It stands for the
    /// value in audit deltas.
    pub fn tag(&self) -> [u8; 16] {
        self.tag
    }

    /// Id of the data key that sealed the value.
    pub fn key(&self) -> Id {
        self.key
    }
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self {
            key: self.key,
            ciphertext: self.ciphertext.clone(),
            tag: self.tag,
            plain: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

impl<T: Serialize + DeserializeOwned> Sealed<T> {
    /// Seals `value` for `place` with the tenant's current data key.
    ///
    /// # Errors
    /// [`CryptoError`] when the value cannot be encoded or the key not used.
    pub fn seal(keys: &Keyring, place: Place<'_>, value: &T) -> Result<Self, CryptoError> {
        let plain = Zeroizing::new(serde_json::to_vec(value).map_err(|_| CryptoError::Malformed)?);
        let tag = keys.tag(place, &plain);
        let (key, ciphertext) = keys.seal(place, &plain)?;
        Ok(Self { key, ciphertext, tag, plain: PhantomData })
    }

    /// Opens the value at the place that it was sealed for.
    ///
    /// # Errors
    /// [`CryptoError::UnknownKey`] for a destroyed key,
    /// [`CryptoError::NotAuthentic`] at any other place or after any change.
    pub fn open(&self, keys: &Keyring, place: Place<'_>) -> Result<Plain<T>, CryptoError> {
        let bytes = keys.open(place, self.key, &self.ciphertext)?;
        serde_json::from_slice(&bytes).map(Plain).map_err(|_| CryptoError::Malformed)
    }
}

/// A sensitive value in memory. No `Serialize`, no `Display`, and a `Debug`
/// that shows nothing: only [`Plain::expose`] gives it out.
pub struct Plain<T>(T);

impl<T> Plain<T> {
    /// The value itself. Whoever calls this decides what is disclosed, and
    /// records it where SPEC §6 says so.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plain(..)")
    }
}

/// The envelope as it stands in a document: `{v, kid, ct, tag}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    v: i32,
    kid: String,
    ct: Binary,
    tag: Binary,
}

/// The tag of an envelope found in a stored document, or `None` when the
/// value is no envelope.
pub(crate) fn tag_of_envelope(value: &Document) -> Option<&[u8]> {
    match (value.get("ct"), value.get("tag")) {
        (Some(Bson::Binary(_)), Some(Bson::Binary(tag))) if value.len() == 4 => Some(&tag.bytes),
        _ => None,
    }
}

/// `#[serde(with = "keystone::crypto::at_rest")]` for a sealed field.
///
/// Works with the database's binary format only; text formats such as JSON
/// get an error instead of the envelope.
pub mod at_rest {
    use super::{
        Binary, BinarySubtype, Deserialize, DeserializeOwned, Deserializer, ENVELOPE_VERSION,
        Envelope, PhantomData, Sealed, Serialize, Serializer, doc,
    };
    use super::{Bson, Document};

    pub(super) fn document<T>(sealed: &Sealed<T>) -> Document {
        let binary = |bytes: &[u8]| {
            Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
        };
        doc! {
            "v": ENVELOPE_VERSION,
            "kid": sealed.key.to_string(),
            "ct": binary(&sealed.ciphertext),
            "tag": binary(&sealed.tag),
        }
    }

    pub(super) fn sealed<T, E: serde::de::Error>(envelope: &Envelope) -> Result<Sealed<T>, E> {
        if envelope.v != ENVELOPE_VERSION {
            return Err(E::custom("unknown envelope version"));
        }
        Ok(Sealed {
            key: envelope.kid.parse().map_err(E::custom)?,
            ciphertext: envelope.ct.bytes.clone(),
            tag: envelope
                .tag
                .bytes
                .as_slice()
                .try_into()
                .map_err(|_| E::custom("tag is not 16 bytes"))?,
            plain: PhantomData,
        })
    }

    /// Writes the envelope.
    ///
    /// # Errors
    /// For any text format.
    pub fn serialize<T, S: Serializer>(value: &Sealed<T>, out: S) -> Result<S::Ok, S::Error> {
        super::refuse_text(&out)?;
        document(value).serialize(out)
    }

    /// Reads the envelope.
    ///
    /// # Errors
    /// When the stored value is not an envelope of a known version.
    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Sealed<T>, D::Error> {
        sealed(&Envelope::deserialize(input)?)
    }
}

/// As [`at_rest`], for `Option<Sealed<T>>`.
pub mod at_rest_option {
    use super::{
        Deserialize, DeserializeOwned, Deserializer, Envelope, Sealed, Serialize, Serializer,
    };

    /// Writes the envelope or null.
    ///
    /// # Errors
    /// For any text format.
    pub fn serialize<T, S: Serializer>(
        value: &Option<Sealed<T>>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        super::refuse_text(&out)?;
        value.as_ref().map(super::at_rest::document).serialize(out)
    }

    /// Reads the envelope or null.
    ///
    /// # Errors
    /// When the stored value is neither.
    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Sealed<T>>, D::Error> {
        Option::<Envelope>::deserialize(input)?.map(|e| super::at_rest::sealed(&e)).transpose()
    }
}

fn refuse_text<S: Serializer>(out: &S) -> Result<(), S::Error> {
    if out.is_human_readable() {
        Err(S::Error::custom("sealed values are not written as text"))
    } else {
        Ok(())
    }
}
