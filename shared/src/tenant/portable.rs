//! A tenant's own data in clear, to take along (GDPR Art. 20, Art. 28(3)(g)).

use mongodb::bson::{Bson, Document};
use serde_json::{Map, Value};

use super::read::to_json;
use super::schema::{self, Collection, Portable};
use super::{Filter, Id, Page, StoreError, Tenant};
use crate::crypto::{CryptoError, Envelope, Place, decode};

/// A document as the tenant takes it along.
#[derive(Debug, Clone)]
pub struct PortableDocument {
    /// Its id.
    pub id: Id,
    /// Everything that it holds, sealed values in clear; an erased one is null.
    pub fields: Map<String, Value>,
}

/// The collections of which a tenant may take something along.
pub fn collections() -> impl Iterator<Item = &'static Collection> {
    schema::COLLECTIONS.into_iter().filter(|one| one.portable != Portable::Nothing)
}

impl Tenant {
    /// How many documents of `collection` there are.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn count(&self, collection: &'static Collection) -> Result<u64, StoreError> {
        let all = Filter::all().for_tenant(self.id());
        Ok(self.entities(collection).count_documents(all).await?)
    }

    /// Documents of `collection` in clear, newest first. Whoever shows them
    /// records it first.
    ///
    /// # Errors
    /// [`StoreError`] when a store does not answer, or a sealed value does not
    /// open for another reason than its erasure.
    pub async fn portable(
        &self,
        collection: &'static Collection,
        page: Page,
    ) -> Result<Vec<PortableDocument>, StoreError> {
        let Portable::Without(withheld) = collection.portable else { return Ok(Vec::new()) };
        let found = self.documents(collection, Filter::all(), page).await?;
        let shown: Vec<&str> =
            collection.sealed.iter().copied().filter(|field| !withheld.contains(field)).collect();
        let envelope = |document: &Document, field: &str| -> Option<Envelope> {
            document.get(field).and_then(Envelope::from_bson)
        };
        let subjects = found
            .iter()
            .flat_map(|document| shown.iter().filter_map(|field| envelope(document, field)))
            .map(|envelope| envelope.subject);
        self.prefetch(subjects.collect::<Vec<_>>()).await?;
        let mut documents = Vec::with_capacity(found.len());
        for mut document in found {
            let id = document.get_str("_id").ok().and_then(|id| id.parse().ok());
            let id: Id = id.ok_or_else(|| StoreError::defect("a document without an id"))?;
            let of_store = ["_id", "tenant_id"].into_iter();
            let blind = collection.blind.iter().map(|blind| blind.field);
            for field in of_store.chain(blind).chain(withheld.iter().copied()) {
                document.remove(field);
            }
            let mut opened = Vec::with_capacity(shown.len());
            for field in &shown {
                if let Some(envelope) = envelope(&document, field) {
                    let place = Place { collection: collection.name, document: id, field };
                    let value = match self.open_envelope(place, &envelope).await {
                        Ok(plain) => decode::<Value>(&plain)?,
                        Err(CryptoError::Erased) => Value::Null,
                        Err(error) => return Err(error.into()),
                    };
                    opened.push(((*field).to_owned(), value));
                }
            }
            let Value::Object(mut fields) = to_json(&Bson::Document(document)) else {
                return Err(StoreError::defect("a document that is none"));
            };
            fields.extend(opened);
            documents.push(PortableDocument { id, fields });
        }
        Ok(documents)
    }
}
