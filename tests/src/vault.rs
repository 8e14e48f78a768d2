//! What opens a tenant's sealed values with nothing but the stores that the
//! keys lie in, as an operator with every right could.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_kms::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kms::error::BoxError;
use futures::TryStreamExt;
use keystone::crypto::{
    CryptoError, DataKey, Keyring, Place, Sealed, SubjectSecrets, TenantKeys, Vault, at_rest,
};
use keystone::tenant::TenantId;
use mongodb::bson::{Bson, Document, deserialize_from_document, doc};
use serde::Deserialize;
use serde_json::Value;

use crate::{Stack, Tenant};

/// Counts the requests that a client sends.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicUsize>);

impl Counter {
    /// Requests so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "Counter"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The keys of the tenant `slug`, of which nothing is cached yet, counting what
/// is asked of KMS and of the table of secrets.
pub async fn keys(stack: &Stack, slug: &str, kms: &Counter, table: &Counter) -> TenantKeys {
    let id = TenantId::parse(slug).expect("a slug");
    let database = stack.database().await.database(&format!("t_{id}_keys"));
    let records = database.collection::<DataKey>("data_keys").find(doc! {}).await;
    let records = records.expect("keys can be read").try_collect().await.expect("they can");
    let vault = vault(stack, kms, table);
    let ring = Keyring::load(&vault, &id, records).await.expect("the keys open");
    TenantKeys::new(Arc::new(ring), vault)
}

fn vault(stack: &Stack, kms: &Counter, table: &Counter) -> Vault {
    let credentials = || {
        let (id, secret) = (stack.value("AWS_ACCESS_KEY_ID"), stack.value("AWS_SECRET_ACCESS_KEY"));
        aws_credential_types::Credentials::new(id, secret, None, None, "operator")
    };
    let (endpoint, region) = (stack.value("AWS_ENDPOINT_URL"), stack.value("AWS_REGION"));
    let kms = aws_sdk_kms::Config::builder()
        .behavior_version(aws_sdk_kms::config::BehaviorVersion::latest())
        .region(aws_sdk_kms::config::Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(credentials())
        .interceptor(kms.clone())
        .build();
    let dynamodb = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .region(aws_sdk_dynamodb::config::Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(credentials())
        .interceptor(table.clone())
        .build();
    let client = aws_sdk_dynamodb::Client::from_conf(dynamodb);
    Vault {
        kms: aws_sdk_kms::Client::from_conf(kms),
        secrets: SubjectSecrets::new(client, stack.value("SUBJECT_KEY_TABLE")),
    }
}

/// A sealed value that was found in the database.
pub struct Found {
    /// Collection.
    pub collection: String,
    /// Id of the document, or of the audit entry.
    pub document: String,
    /// Top-level field.
    pub field: String,
    /// The value.
    pub sealed: Sealed<Value>,
}

#[derive(Deserialize)]
struct Wrapped {
    #[serde(with = "at_rest")]
    sealed: Sealed<Value>,
}

/// Collects what is sealed in `value`, of the top-level field `field`.
fn sealed_in(value: &Bson, place: (&str, &str, &str), found: &mut Vec<Found>) {
    match value {
        Bson::Array(items) => items.iter().for_each(|item| sealed_in(item, place, found)),
        Bson::Document(inner) => {
            match deserialize_from_document(doc! { "sealed": inner.clone() }) {
                Ok(Wrapped { sealed }) => {
                    let (collection, document, field) = place;
                    let (collection, document, field) =
                        (collection.into(), document.into(), field.into());
                    found.push(Found { collection, document, field, sealed });
                }
                Err(_) => inner.values().for_each(|member| sealed_in(member, place, found)),
            }
        }
        _ => {}
    }
}

/// Everything sealed that lies in any collection of the tenant.
pub async fn all_sealed(stack: &Stack, tenant: &Tenant<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for suffix in ["", "_audit", "_keys"] {
        let database = stack.database().await.database(&format!("t_{}{suffix}", tenant.slug()));
        for collection in database.list_collection_names().await.expect("it answers") {
            let all = database
                .collection::<Document>(&collection)
                .find(doc! {})
                .await
                .expect("it answers");
            let all: Vec<Document> = all.try_collect().await.expect("it answers");
            for document in all {
                // An audit entry is a document by its number, and sealed by its id.
                let own = document.get_document("entry").ok().unwrap_or(&document);
                let id = own.get_str("id").or(document.get_str("_id")).unwrap_or_default();
                for (field, value) in &document {
                    sealed_in(value, (&collection, id, field), &mut found);
                }
            }
        }
    }
    found
}

/// Whether the value opens with the keys that there are now. One that opens
/// and is no JSON counts as opened.
pub async fn opens(keys: &TenantKeys, found: &Found) -> bool {
    let Found { collection, document, field, sealed } = found;
    let place = Place { collection, document: document.parse().expect("an id"), field };
    match sealed.open(keys, place).await {
        Ok(_) | Err(CryptoError::Malformed) => true,
        Err(CryptoError::Erased) => false,
        Err(other) => panic!("{collection}.{field} of {document}: {other}"),
    }
}
