//! Typed reads. Field names are constants of the code and values are scalars,
//! so nothing that a client sends can become a query operator.

use futures::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, deserialize_from_document, doc, serialize_to_vec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Id, StoreError, Tenant, TenantId, bson_time, schema, time_of};
use crate::Problem;
use crate::crypto::{CryptoError, Envelope, Place, decode, normalised};

/// A kind of document that a tenant owns.
pub trait Entity: Serialize + DeserializeOwned + Send + Sync {
    /// Where it is stored, with its indexes and sealed fields.
    const COLLECTION: &'static schema::Collection;
    /// What the audit trail calls it, such as `supplier`.
    const RESOURCE: &'static str;
    /// JSON pointers to fields with personal data in clear; their values
    /// enter audit deltas as commitments that can be erased.
    const PERSONAL: &'static [&'static str];
    /// JSON pointers to fields whose values never enter a delta, such as
    /// password hashes; only that they changed is recorded.
    const SECRET: &'static [&'static str] = &[];
}

/// An entity with what the store keeps about it.
#[derive(Debug, Clone)]
pub struct Stored<E> {
    /// Its id.
    pub id: Id,
    /// Starts at 1 and grows by 1 with every change; the `ETag`.
    pub version: i64,
    /// When it was created, to the millisecond.
    pub created_at: Timestamp,
    /// When it was last changed, to the millisecond.
    pub updated_at: Timestamp,
    /// The entity itself.
    pub entity: E,
}

/// The fields that the store keeps beside the entity's own.
pub(super) const KEPT: [&str; 5] = ["_id", "tenant_id", "version", "created_at", "updated_at"];

impl<E: Entity> Stored<E> {
    /// The same, if its version is `version`.
    ///
    /// # Errors
    /// [`Problem::Stale`] when it was changed meanwhile.
    pub fn at_version(self, version: i64) -> Result<Self, Problem> {
        if self.version == version { Ok(self) } else { Err(Problem::Stale) }
    }

    pub(super) fn to_document(&self, tenant: &TenantId) -> Result<Document, StoreError> {
        let mut document = doc! {
            "_id": self.id.to_string(),
            "tenant_id": tenant.as_str(),
            "version": self.version,
            "created_at": bson_time(self.created_at),
            "updated_at": bson_time(self.updated_at),
        };
        // Through the binary format: it is the one that sealed fields write.
        document.extend(Document::from_reader(serialize_to_vec(&self.entity)?.as_slice())?);
        Ok(document)
    }

    pub(super) fn from_document(
        mut document: Document,
        tenant: &TenantId,
    ) -> Result<Self, StoreError> {
        let malformed = || StoreError::defect(format!("malformed {}", E::COLLECTION.name));
        if document.get_str("tenant_id").ok() != Some(tenant.as_str()) {
            return Err(StoreError::defect("a document of another tenant"));
        }
        let stored = (
            document.get_str("_id").ok().and_then(|id| id.parse().ok()),
            document.get_i64("version").ok(),
            time_of(document.get("created_at")),
            time_of(document.get("updated_at")),
        );
        let (Some(id), Some(version), Some(created_at), Some(updated_at)) = stored else {
            return Err(malformed());
        };
        let blind = E::COLLECTION.blind.iter().map(|blind| blind.field);
        for field in KEPT.into_iter().chain(blind) {
            document.remove(field);
        }
        let entity = deserialize_from_document(document)?;
        Ok(Self { id, version, created_at, updated_at, entity })
    }
}

/// A conjunction of comparisons on named fields.
#[derive(Debug, Clone, Default)]
pub struct Filter(Document);

impl Filter {
    /// Everything the tenant has.
    pub fn all() -> Self {
        Self::default()
    }

    /// `field` equals the text `value`.
    #[must_use]
    pub fn eq(mut self, field: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(field, doc! { "$eq": value.into() });
        self
    }

    /// `field` is no later than `at`.
    #[must_use]
    pub fn until(mut self, field: &'static str, at: Timestamp) -> Self {
        self.0.insert(field, doc! { "$lte": bson_time(at) });
        self
    }

    /// `field` is one of these byte strings.
    pub(super) fn among(mut self, field: &'static str, values: &[[u8; 2]]) -> Self {
        let values: Vec<Bson> = values.iter().map(|value| bytes(value)).collect();
        self.0.insert(field, doc! { "$in": values });
        self
    }

    pub(super) fn for_tenant(mut self, tenant: &TenantId) -> Document {
        self.0.insert("tenant_id", doc! { "$eq": tenant.as_str() });
        self.0
    }
}

/// Bytes as the database stores them.
pub(super) fn bytes(value: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: value.to_vec() })
}

/// A page of a list, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Continue after (that is, below) this id.
    pub after: Option<Id>,
    /// At most this many, 1 to 100.
    pub limit: i64,
}

impl Tenant {
    /// The entity with this id, if the tenant has it.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn get<E: Entity>(&self, id: Id) -> Result<Option<Stored<E>>, StoreError> {
        self.find(Filter::all().eq("_id", id.to_string())).await
    }

    /// The one entity that fits, for filters on a unique index.
    ///
    /// # Errors
    /// As [`Tenant::get`].
    pub async fn find<E: Entity>(&self, filter: Filter) -> Result<Option<Stored<E>>, StoreError> {
        self.collection::<Document>(E::COLLECTION.name)
            .find_one(filter.for_tenant(self.id()))
            .await?
            .map(|document| Stored::from_document(document, self.id()))
            .transpose()
    }

    /// The entities that fit, newest first.
    ///
    /// # Errors
    /// As [`Tenant::get`].
    pub async fn list<E: Entity>(
        &self,
        filter: Filter,
        page: Page,
    ) -> Result<Vec<Stored<E>>, StoreError> {
        let found = self.documents(E::COLLECTION, filter, page).await?;
        found.into_iter().map(|document| Stored::from_document(document, self.id())).collect()
    }
}

impl Tenant {
    /// The entities whose sealed value behind the blind index `index` is
    /// `text`, however it is spelled, newest first. The index names candidates;
    /// each is opened to be sure.
    ///
    /// # Errors
    /// As [`Tenant::get`].
    pub async fn list_sealed<E: Entity>(
        &self,
        index: &'static str,
        text: &str,
        mut page: Page,
    ) -> Result<Vec<Stored<E>>, StoreError> {
        let blind = E::COLLECTION.blind.iter().find(|blind| blind.field == index);
        let blind = blind.ok_or_else(|| StoreError::defect(format!("no blind index {index}")))?;
        let normal = normalised(blind.normal, text);
        // A key made elsewhere a moment ago indexes too.
        self.reread_data_keys().await?;
        let values = self.keys.blinds(index, normal.as_bytes()).await?;
        let most = usize::try_from(page.limit).map_err(StoreError::defect)?;
        let mut fitting = Vec::new();
        loop {
            let filter = Filter::all().among(index, &values);
            let found = self.documents(E::COLLECTION, filter, page).await?;
            let envelopes: Vec<_> = found
                .iter()
                .map(|document| document.get(blind.sealed).and_then(Envelope::from_bson))
                .collect();
            self.prefetch(envelopes.iter().flatten().map(|envelope| envelope.subject)).await?;
            let candidates = found.len();
            for (document, envelope) in found.into_iter().zip(envelopes) {
                let stored = Stored::<E>::from_document(document, self.id())?;
                page.after = Some(stored.id);
                let Some(envelope) = envelope else { continue };
                let place = Place {
                    collection: E::COLLECTION.name,
                    document: stored.id,
                    field: blind.sealed,
                };
                let plain = match self.open_envelope(place, &envelope).await {
                    Ok(plain) => plain,
                    Err(CryptoError::Erased) => continue,
                    Err(error) => return Err(error.into()),
                };
                let value: serde_json::Value = decode(&plain)?;
                let value = value.pointer(blind.pointer).and_then(serde_json::Value::as_str);
                if value.is_some_and(|value| *normalised(blind.normal, value) == *normal) {
                    fitting.push(stored);
                }
            }
            if candidates < most || fitting.len() >= most {
                fitting.truncate(most);
                return Ok(fitting);
            }
        }
    }

    pub(super) async fn documents(
        &self,
        collection: &schema::Collection,
        filter: Filter,
        page: Page,
    ) -> Result<Vec<Document>, StoreError> {
        let mut query = filter.for_tenant(self.id());
        if let Some(after) = page.after {
            query.insert("_id", doc! { "$lt": after.to_string() });
        }
        Ok(self
            .collection::<Document>(collection.name)
            .find(query)
            .sort(doc! { "tenant_id": 1, "_id": -1 })
            .limit(page.limit.clamp(1, 101))
            .await?
            .try_collect()
            .await?)
    }
}

/// A stored value as JSON, for deltas.
pub(super) fn to_json(value: &Bson) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Bson::Document(inner) => {
            Value::Object(inner.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
        Bson::Array(items) => Value::Array(items.iter().map(to_json).collect()),
        Bson::String(text) => Value::String(text.clone()),
        Bson::Boolean(flag) => Value::Bool(*flag),
        Bson::Int32(number) => Value::from(*number),
        Bson::Int64(number) => Value::from(*number),
        Bson::DateTime(at) => Timestamp::from_millisecond(at.timestamp_millis())
            .map_or(Value::Null, |at| Value::String(at.to_string())),
        Bson::Null => Value::Null,
        other => Value::String(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::crypto::{Place, Sealed, Subject, at_rest_option};

    #[derive(Debug, Serialize, Deserialize)]
    struct Sample {
        name: String,
        day: jiff::civil::Date,
        #[serde(with = "at_rest_option")]
        secret: Option<Sealed<String>>,
    }

    impl Entity for Sample {
        const COLLECTION: &'static schema::Collection = &schema::SUPPLIERS;
        const RESOURCE: &'static str = "sample";
        const PERSONAL: &'static [&'static str] = &[];
    }

    fn stored(secret: Option<Sealed<String>>) -> Stored<Sample> {
        Stored {
            id: Id::from_u128(7),
            version: 3,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            entity: Sample { name: "n".into(), day: jiff::civil::date(2028, 2, 29), secret },
        }
    }

    const PLACE: Place<'_> =
        Place { collection: "suppliers", document: Id::from_u128(7), field: "secret" };

    #[tokio::test]
    async fn documents_round_trip() {
        let tenant = TenantId::parse("acme").unwrap();
        let keys = crate::crypto::tests::keys("acme", 1, &[]);
        let value = "IE29AIBK".to_owned();
        let sealed = Sealed::seal(&keys, PLACE, Subject::Tenant, &value).await.unwrap();
        let document = stored(Some(sealed)).to_document(&tenant).unwrap();
        assert!(!format!("{document:?}").contains("AIBK"));
        assert_eq!(document.get_str("day").unwrap(), "2028-02-29");
        let back = Stored::<Sample>::from_document(document, &tenant).unwrap();
        assert_eq!((back.id, back.version), (Id::from_u128(7), 3));
        let opened = back.entity.secret.unwrap().open(&keys, PLACE).await.unwrap();
        assert_eq!(opened.expose(), "IE29AIBK");
    }

    #[test]
    fn a_document_of_another_tenant_is_refused() {
        let (acme, brill) = (TenantId::parse("acme").unwrap(), TenantId::parse("brill").unwrap());
        let document = stored(None).to_document(&acme).unwrap();
        assert!(Stored::<Sample>::from_document(document, &brill).is_err());
    }

    #[tokio::test]
    async fn sealed_fields_do_not_become_json() {
        let keys = crate::crypto::tests::keys("acme", 1, &[]);
        let value = "x".to_owned();
        let sealed = Sealed::seal(&keys, PLACE, Subject::Tenant, &value).await.unwrap();
        assert!(serde_json::to_string(&stored(Some(sealed)).entity).is_err());
    }
}
