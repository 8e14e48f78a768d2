//! A sensitive value in its two forms: sealed for storage, plain in memory.

use std::fmt;
use std::marker::PhantomData;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CryptoError, Subject, TenantKeys, decode, encode};
use crate::tenant::Id;

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

/// A ciphertext with what names its keys: in a document, `{v, kid, sub, ct}`.
#[derive(Clone)]
pub(crate) struct Envelope {
    /// The data key.
    pub(crate) key: Id,
    /// Whose the value is.
    pub(crate) subject: Subject,
    /// Nonce, ciphertext and tag.
    pub(crate) ciphertext: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredEnvelope {
    v: i32,
    kid: String,
    sub: String,
    ct: Binary,
}

impl Envelope {
    /// The envelope as it stands in a document.
    pub(crate) fn to_document(&self) -> Document {
        doc! {
            "v": ENVELOPE_VERSION,
            "kid": self.key.to_string(),
            "sub": self.subject.to_string(),
            "ct": Binary { subtype: BinarySubtype::Generic, bytes: self.ciphertext.clone() },
        }
    }

    /// The envelope that `value` is, if it is one.
    pub(crate) fn from_bson(value: &Bson) -> Option<Self> {
        let stored = value.as_document().filter(|inner| inner.len() == 4)?;
        if stored.get_i32("v").ok()? != ENVELOPE_VERSION {
            return None;
        }
        Some(Self {
            key: stored.get_str("kid").ok()?.parse().ok()?,
            subject: stored.get_str("sub").ok()?.parse().ok()?,
            ciphertext: stored.get_binary_generic("ct").ok()?.clone(),
        })
    }
}

/// Ciphertext of a `T`, safe to store.
///
/// There is no `Serialize`: fields of this type name [`at_rest`] and so reach
/// the database's binary format only. `Debug` shows nothing of the value.
pub struct Sealed<T> {
    envelope: Envelope,
    plain: PhantomData<fn() -> T>,
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self { envelope: self.envelope.clone(), plain: PhantomData }
    }
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(..)")
    }
}

impl<T> Sealed<T> {
    /// Whose the value is.
    pub fn subject(&self) -> Subject {
        self.envelope.subject
    }
}

impl<T: Serialize + DeserializeOwned> Sealed<T> {
    /// Seals `value` for `place`, as a value of `subject`.
    ///
    /// # Errors
    /// [`CryptoError`] when the value cannot be encoded or a key not be had.
    pub async fn seal(
        keys: &TenantKeys,
        place: Place<'_>,
        subject: Subject,
        value: &T,
    ) -> Result<Self, CryptoError> {
        let envelope = keys.seal_with(place, subject, |out| encode(value, out)).await?;
        Ok(Self { envelope, plain: PhantomData })
    }

    /// Opens the value at the place that it was sealed for.
    ///
    /// # Errors
    /// [`CryptoError::Erased`] when its subject's secret was destroyed,
    /// [`CryptoError::NotAuthentic`] at any other place or after any change.
    pub async fn open(&self, keys: &TenantKeys, place: Place<'_>) -> Result<Plain<T>, CryptoError> {
        keys.open_with(place, &self.envelope, decode).await.map(Plain)
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

/// `#[serde(with = "keystone::crypto::at_rest")]` for a sealed field.
///
/// Works with the database's binary format only; text formats such as JSON
/// get an error instead of the envelope.
pub mod at_rest {
    use super::{
        Deserialize, DeserializeOwned, Deserializer, ENVELOPE_VERSION, Envelope, PhantomData,
        Sealed, Serialize, Serializer, StoredEnvelope,
    };

    pub(super) fn sealed<T, E: serde::de::Error>(stored: StoredEnvelope) -> Result<Sealed<T>, E> {
        if stored.v != ENVELOPE_VERSION {
            return Err(E::custom("unknown envelope version"));
        }
        let envelope = Envelope {
            key: stored.kid.parse().map_err(E::custom)?,
            subject: stored.sub.parse().map_err(E::custom)?,
            ciphertext: stored.ct.bytes,
        };
        Ok(Sealed { envelope, plain: PhantomData })
    }

    /// Writes the envelope.
    ///
    /// # Errors
    /// For any text format.
    pub fn serialize<T, S: Serializer>(value: &Sealed<T>, out: S) -> Result<S::Ok, S::Error> {
        super::refuse_text(&out)?;
        value.envelope.to_document().serialize(out)
    }

    /// Reads the envelope.
    ///
    /// # Errors
    /// When the stored value is not an envelope of a known version.
    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Sealed<T>, D::Error> {
        sealed(StoredEnvelope::deserialize(input)?)
    }
}

/// As [`at_rest`], for `Option<Sealed<T>>`.
pub mod at_rest_option {
    use super::{
        Deserialize, DeserializeOwned, Deserializer, Sealed, Serialize, Serializer, StoredEnvelope,
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
        value.as_ref().map(|sealed| sealed.envelope.to_document()).serialize(out)
    }

    /// Reads the envelope or null.
    ///
    /// # Errors
    /// When the stored value is neither.
    pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Sealed<T>>, D::Error> {
        Option::<StoredEnvelope>::deserialize(input)?.map(super::at_rest::sealed).transpose()
    }
}

fn refuse_text<S: Serializer>(out: &S) -> Result<(), S::Error> {
    if out.is_human_readable() {
        Err(S::Error::custom("sealed values are not written as text"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::keys;

    const PLACE: Place<'_> =
        Place { collection: "suppliers", document: Id::from_u128(7), field: "banking" };

    #[tokio::test]
    async fn nothing_of_the_value_shows() {
        let keys = keys("acme", 1, &[]);
        let value = "hunter2".to_owned();
        let sealed = Sealed::seal(&keys, PLACE, Subject::Tenant, &value).await.unwrap();
        let plain = sealed.open(&keys, PLACE).await.unwrap();
        assert_eq!(plain.expose(), "hunter2");
        assert_eq!(format!("{sealed:?} {plain:?}"), "Sealed(..) Plain(..)");
    }

    #[tokio::test]
    async fn an_envelope_keeps_its_form() {
        let keys = keys("acme", 1, &[]);
        let envelope = keys.seal(PLACE, Subject::Tenant, b"x").await.unwrap();
        let stored = Bson::Document(envelope.to_document());
        let back = Envelope::from_bson(&stored).unwrap();
        assert_eq!(&*keys.open(PLACE, &back).await.unwrap(), b"x");
        for (field, value) in [
            ("v", Bson::Int32(2)),
            ("kid", Bson::String("k".into())),
            ("sub", Bson::String("nobody".into())),
            ("ct", Bson::String("x".into())),
            ("more", Bson::Null),
        ] {
            let mut other = envelope.to_document();
            other.insert(field, value);
            assert!(Envelope::from_bson(&Bson::Document(other)).is_none(), "{field}");
        }
    }
}
