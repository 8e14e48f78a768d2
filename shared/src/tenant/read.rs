//! Typed reads. Field names are constants of the code and values are scalars,
//! so nothing that a client sends can become a query operator.

use futures::TryStreamExt;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, deserialize_from_document, doc, serialize_to_vec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Id, StoreError, Tenant, TenantId, bson_time, schema, time_of};
use crate::Problem;
use crate::crypto::{CryptoError, Envelope, Place, Subject, decode, normalised};

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

    /// Whose the personal value at `pointer` is, or those below it, where they
    /// are another's than the document's own subject.
    fn person_at(&self, _pointer: &str) -> Option<Subject> {
        None
    }
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

    /// `field` equals the text `value`; one of the values of a list does.
    #[must_use]
    pub fn eq(self, field: &'static str, value: impl Into<String>) -> Self {
        self.and(field, value.into())
    }

    /// `field` is one of these texts; one of the values of a list is.
    #[must_use]
    pub fn any(self, field: &'static str, mut values: Vec<String>) -> Self {
        match (values.pop(), values.is_empty()) {
            (Some(only), true) => self.eq(field, only),
            (last, _) => {
                values.extend(last);
                self.and(field, doc! { "$in": values })
            }
        }
    }

    /// `field` has a value.
    #[must_use]
    pub fn given(self, field: &'static str) -> Self {
        self.and(field, doc! { "$ne": Bson::Null })
    }

    /// `field` is no later than `at`.
    #[must_use]
    pub fn until(self, field: &'static str, at: Timestamp) -> Self {
        self.and(field, doc! { "$lte": bson_time(at) })
    }

    /// `field` is no earlier than `at`.
    #[must_use]
    pub fn from(self, field: &'static str, at: Timestamp) -> Self {
        self.and(field, doc! { "$gte": bson_time(at) })
    }

    /// `field` is earlier than `at`.
    #[must_use]
    pub fn before(self, field: &'static str, at: Timestamp) -> Self {
        self.and(field, doc! { "$lt": bson_time(at) })
    }

    /// `field`, a day as text (ISO 8601), is no later than `day`.
    #[must_use]
    pub fn until_day(self, field: &'static str, day: Date) -> Self {
        self.and(field, doc! { "$lte": day.to_string() })
    }

    /// `field`, a day as text (ISO 8601), is earlier than `day`.
    #[must_use]
    pub fn before_day(self, field: &'static str, day: Date) -> Self {
        self.and(field, doc! { "$lt": day.to_string() })
    }

    /// Made at `at` or later, to the millisecond: ids carry the time.
    #[must_use]
    pub fn made_from(self, at: Timestamp) -> Self {
        self.and("_id", doc! { "$gte": Id::first_of(at).to_string() })
    }

    /// Made before `at`, to the millisecond.
    #[must_use]
    pub fn made_before(self, at: Timestamp) -> Self {
        self.and("_id", doc! { "$lt": Id::first_of(at).to_string() })
    }

    /// Made at `at` or earlier, to the millisecond.
    #[must_use]
    pub fn made_until(self, at: Timestamp) -> Self {
        self.made_before(at.saturating_add(SignedDuration::from_millis(1)).unwrap_or(at))
    }

    /// The blind index `field` is these bits.
    fn indexed(self, field: &'static str, bits: [u8; 2]) -> Self {
        self.and(field, bytes(&bits))
    }

    /// Adds a condition; a further one on the same field stands beside it.
    fn and(mut self, field: &'static str, condition: impl Into<Bson>) -> Self {
        let condition = condition.into();
        if self.0.contains_key(field) {
            let further = Bson::Document(doc! { field: condition });
            match self.0.get_array_mut("$and") {
                Ok(conditions) => conditions.push(further),
                Err(_) => {
                    self.0.insert("$and", vec![further]);
                }
            }
        } else {
            self.0.insert(field, condition);
        }
        self
    }

    /// Only what comes after the position in this order.
    fn beyond(mut self, order: Order, after: Option<(Timestamp, Id)>) -> Self {
        let Some((at, id)) = after else { return self };
        let further = if order.descending { "$lt" } else { "$gt" };
        let Some(field) = order.time else {
            return self.and("_id", doc! { further: id.to_string() });
        };
        let (at, bound) = (bson_time(at), if order.descending { "$lte" } else { "$gte" });
        self = self.and(field, doc! { bound: at });
        self.0.insert(
            "$or",
            vec![doc! { field: { further: at } }, doc! { "_id": { further: id.to_string() } }],
        );
        self
    }

    /// The query within the tenant. A text is no operator, so equality needs
    /// none either; the local server uses no index where it stands as `$eq`.
    pub(super) fn for_tenant(mut self, tenant: &TenantId) -> Document {
        self.0.insert("tenant_id", tenant.as_str());
        self.0
    }
}

/// The order of a selection: by a time, and by id where times are equal.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Field with the time; by id, that is by when things were made, if absent.
    pub time: Option<&'static str>,
    /// Latest first.
    pub descending: bool,
}

impl Order {
    fn sort(self) -> Document {
        let direction = if self.descending { -1 } else { 1 };
        let mut sort = doc! { "tenant_id": 1 };
        if let Some(field) = self.time {
            sort.insert(field, direction);
        }
        sort.insert("_id", direction);
        sort
    }
}

/// A part of an entity that is read without the rest.
pub trait Part: DeserializeOwned + Send + Sync {
    /// The entity.
    type Of: Entity;
    /// Its fields that the part has.
    const FIELDS: &'static [&'static str];
}

pub(super) fn projection<P: Part>() -> Document {
    let mut fields = doc! { "tenant_id": 1 };
    fields.extend(P::FIELDS.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))));
    fields
}

/// A part and the id of what it is of.
pub(super) fn part_from<P: Part>(
    mut document: Document,
    tenant: &TenantId,
) -> Result<(Id, P), StoreError> {
    if document.get_str("tenant_id").ok() != Some(tenant.as_str()) {
        return Err(StoreError::defect("a document of another tenant"));
    }
    let id = document.get_str("_id").ok().and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| StoreError::defect("a document without an id"))?;
    document.remove("_id");
    document.remove("tenant_id");
    Ok((id, deserialize_from_document(document)?))
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
        self.entities(E::COLLECTION)
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

    /// The first `limit` entities that fit in this order, after a position.
    ///
    /// # Errors
    /// As [`Tenant::get`].
    pub async fn list_by<E: Entity>(
        &self,
        filter: Filter,
        order: Order,
        after: Option<(Timestamp, Id)>,
        limit: i64,
    ) -> Result<Vec<Stored<E>>, StoreError> {
        let found: Vec<Document> = self
            .entities(E::COLLECTION)
            .find(filter.beyond(order, after).for_tenant(self.id()))
            .sort(order.sort())
            .limit(limit.max(1))
            .await?
            .try_collect()
            .await?;
        found.into_iter().map(|document| Stored::from_document(document, self.id())).collect()
    }

    /// Parts of at most `limit` entities that fit, in no order.
    ///
    /// # Errors
    /// As [`Tenant::get`].
    pub async fn parts<P: Part>(
        &self,
        filter: Filter,
        limit: i64,
    ) -> Result<Vec<(Id, P)>, StoreError> {
        let found: Vec<Document> = self
            .entities(P::Of::COLLECTION)
            .find(filter.for_tenant(self.id()))
            .projection(projection::<P>())
            .limit(limit.max(1))
            .await?
            .try_collect()
            .await?;
        found.into_iter().map(|document| part_from(document, self.id())).collect()
    }

    /// Reads parts of at most `limit` entities that fit, in no order, until `take`
    /// says that it takes no more.
    ///
    /// # Errors
    /// As [`Tenant::get`].
    pub async fn each_part<P: Part>(
        &self,
        filter: Filter,
        limit: i64,
        mut take: impl FnMut(Id, P) -> bool,
    ) -> Result<(), StoreError> {
        let mut cursor = self
            .entities(P::Of::COLLECTION)
            .find(filter.for_tenant(self.id()))
            .projection(projection::<P>())
            .limit(limit.max(1))
            .await?;
        while let Some(document) = cursor.try_next().await? {
            let (id, part) = part_from::<P>(document, self.id())?;
            if !take(id, part) {
                break;
            }
        }
        Ok(())
    }
}

impl Tenant {
    /// The entities whose sealed value behind the blind index `index` is
    /// `text`, however it is spelled, newest first. The index names candidates;
    /// each is opened to be sure, but for those whose use is restricted.
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
        let bits = self.keys.blind(index, normal.as_bytes())?;
        let most = usize::try_from(page.limit).map_err(StoreError::defect)?;
        let mut fitting = Vec::new();
        loop {
            let filter = Filter::all().indexed(index, bits);
            let found = self.documents(E::COLLECTION, filter, page).await?;
            let envelopes: Vec<_> = found
                .iter()
                .map(|document| document.get(blind.sealed).and_then(Envelope::from_bson))
                .collect();
            self.prefetch(envelopes.iter().flatten().map(|envelope| envelope.subject)).await?;
            let candidates = found.len();
            for (document, envelope) in found.into_iter().zip(envelopes) {
                // Nobody is found by what may be stored only (GDPR Art. 18).
                let restricted = !matches!(
                    document.get(schema::RESTRICTION),
                    None | Some(mongodb::bson::Bson::Null)
                );
                let stored = Stored::<E>::from_document(document, self.id())?;
                page.after = Some(stored.id);
                let Some(envelope) = envelope.filter(|_| !restricted) else { continue };
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
            .entities(collection)
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
    fn conditions_on_one_field_stand_beside_each_other() {
        let tenant = TenantId::parse("acme").unwrap();
        let filter = Filter::all()
            .any("keys", vec!["a".into(), "$b".into()])
            .eq("keys", "c")
            .any("keys", vec!["d".into()])
            .for_tenant(&tenant);
        let expected = doc! {
            "keys": { "$in": ["a", "$b"] },
            "$and": [{ "keys": "c" }, { "keys": "d" }],
            "tenant_id": "acme",
        };
        assert_eq!(filter, expected);
        assert_eq!(
            Filter::all().any("keys", vec![]).for_tenant(&tenant).get_document("keys").unwrap(),
            &doc! { "$in": Vec::<String>::new() }
        );
        assert_eq!(
            Filter::all().given("secret").for_tenant(&tenant),
            doc! { "secret": { "$ne": Bson::Null }, "tenant_id": "acme" }
        );
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
