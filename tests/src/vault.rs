//! What opens a tenant's sealed values with nothing but the stores that the
//! keys lie in, as an operator with every right could.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kms::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kms::error::BoxError;
use aws_sdk_kms::primitives::Blob;
use futures::TryStreamExt;
use jiff::Timestamp;
use keystone::crypto::{DataKey, KeyCache, Keyring, Subject, SubjectSecrets, TenantKeys, Vault};
use keystone::tenant::{Id, TenantId, schema};
use mongodb::bson::{Bson, Document, doc};

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

/// The keys of the tenant `slug` for one request at `now`, as a function takes
/// them: with the data keys that `cache` holds, else with those that it then does.
pub async fn keys(
    stack: &Stack,
    slug: &str,
    vault: &Vault,
    cache: &KeyCache,
    now: Timestamp,
) -> TenantKeys {
    let id = TenantId::parse(slug).expect("a slug");
    if let Some(ring) = cache.get(&id, now) {
        return TenantKeys::new(ring, vault.clone());
    }
    let database = stack.database().await.database(&format!("t_{id}_keys"));
    let records = database.collection::<DataKey>("data_keys").find(doc! {}).await;
    let records = records.expect("keys can be read").try_collect().await.expect("they can");
    let ring = Arc::new(Keyring::load(vault, &id, records).await.expect("the keys open"));
    cache.put(id, Arc::clone(&ring), now);
    TenantKeys::new(ring, vault.clone())
}

/// The stores that keys lie in, as an operator reaches them; `kms` and `table`
/// count what is asked of KMS and of the table of secrets.
pub fn vault(stack: &Stack, kms: &Counter, table: &Counter) -> Vault {
    let (endpoint, region) = (stack.value("AWS_ENDPOINT_URL"), stack.value("AWS_REGION"));
    let kms = aws_sdk_kms::Config::builder()
        .behavior_version(aws_sdk_kms::config::BehaviorVersion::latest())
        .region(aws_sdk_kms::config::Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(credentials(stack))
        .interceptor(kms.clone())
        .build();
    Vault {
        kms: aws_sdk_kms::Client::from_conf(kms),
        secrets: SubjectSecrets::new(dynamodb(stack, table), stack.value("SUBJECT_KEY_TABLE")),
    }
}

fn dynamodb(stack: &Stack, calls: &Counter) -> aws_sdk_dynamodb::Client {
    let (endpoint, region) = (stack.value("AWS_ENDPOINT_URL"), stack.value("AWS_REGION"));
    let dynamodb = aws_sdk_dynamodb::Config::builder()
        .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
        .region(aws_sdk_dynamodb::config::Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(credentials(stack))
        .interceptor(calls.clone())
        .build();
    aws_sdk_dynamodb::Client::from_conf(dynamodb)
}

fn credentials(stack: &Stack) -> aws_credential_types::Credentials {
    let (id, secret) = (stack.value("AWS_ACCESS_KEY_ID"), stack.value("AWS_SECRET_ACCESS_KEY"));
    aws_credential_types::Credentials::new(id, secret, None, None, "operator")
}

/// Every key that there is of a tenant, derived here anew from what the stores
/// hold and not by the code that is tested: one for each data key and subject.
pub struct AllKeys {
    tenant: String,
    derived: Vec<(Subject, LessSafeKey)>,
}

impl AllKeys {
    /// The keys that there are now.
    pub async fn of(stack: &Stack, tenant: &Tenant<'_>) -> Self {
        let slug = tenant.slug();
        let secrets = secrets_of(stack, slug).await;
        let own = &secrets[&Subject::Tenant];
        let mut derived = Vec::new();
        for (id, material) in data_keys(stack, slug).await {
            for (subject, secret) in &secrets {
                let mut salt = own.clone();
                if *subject != Subject::Tenant {
                    salt.extend_from_slice(secret);
                }
                let mut info = b"keystone/seal/v1".to_vec();
                push_parts(&mut info, &[slug.as_bytes(), id.as_bytes()]);
                push_subject(&mut info, *subject);
                let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt).extract(&material);
                let info = [info.as_slice()];
                let key = UnboundKey::from(prk.expand(&info, &AES_256_GCM).expect("32 bytes"));
                derived.push((*subject, LessSafeKey::new(key)));
            }
        }
        Self { tenant: slug.to_owned(), derived }
    }

    /// What `found` opens to with any of the keys, whatever it says of itself.
    pub fn open(&self, found: &Found) -> Option<Vec<u8>> {
        let (nonce, sealed) = found.ciphertext.split_first_chunk::<NONCE_LEN>()?;
        let document: Id = found.document.parse().expect("an id");
        self.derived.iter().find_map(|(subject, key)| {
            [Some(*subject), found.subject].into_iter().flatten().find_map(|named| {
                let mut aad = b"keystone/field/v1".to_vec();
                push_parts(&mut aad, &[self.tenant.as_bytes()]);
                push_subject(&mut aad, named);
                let place =
                    [found.collection.as_bytes(), document.as_bytes(), found.field.as_bytes()];
                push_parts(&mut aad, &place);
                let mut plain = sealed.to_vec();
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let opened = key.open_in_place(nonce, Aad::from(&aad), &mut plain);
                opened.ok().map(|plain| plain.to_vec())
            })
        })
    }
}

fn push_parts(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
}

fn push_subject(out: &mut Vec<u8>, subject: Subject) {
    let id = subject.id().map(|id| id.as_bytes().to_vec()).unwrap_or_default();
    push_parts(out, &[subject.kind().as_bytes(), &id]);
}

/// The secrets of the tenant's subjects, its own among them.
async fn secrets_of(stack: &Stack, slug: &str) -> BTreeMap<Subject, Vec<u8>> {
    let items: Vec<_> = dynamodb(stack, &Counter::default())
        .query()
        .table_name(stack.value("SUBJECT_KEY_TABLE"))
        .consistent_read(true)
        .key_condition_expression("tenant = :tenant")
        .expression_attribute_values(":tenant", AttributeValue::S(slug.to_owned()))
        .into_paginator()
        .items()
        .send()
        .collect::<Result<_, _>>()
        .await
        .expect("the table answers");
    items
        .iter()
        // What has none says that one was destroyed.
        .filter_map(|item| Some((item, item.get("secret")?)))
        .map(|(item, secret)| {
            let subject = item["subject"].as_s().expect("a name").parse().expect("a subject");
            (subject, secret.as_b().expect("a secret").as_ref().to_vec())
        })
        .collect()
}

/// The tenant's data keys in clear, as KMS gives them to whoever may ask.
async fn data_keys(stack: &Stack, slug: &str) -> Vec<(Id, Vec<u8>)> {
    let kms = vault(stack, &Counter::default(), &Counter::default()).kms;
    let database = stack.database().await.database(&format!("t_{slug}_keys"));
    let found = database.collection::<Document>("data_keys").find(doc! {}).await;
    let found: Vec<Document> = found.expect("it answers").try_collect().await.expect("it answers");
    let mut keys = Vec::new();
    for key in found {
        let text = |field: &str| key.get_str(field).expect("text").to_owned();
        let wrapped = key.get_binary_generic("wrapped").expect("bytes").clone();
        let plain = kms
            .decrypt()
            .key_id(text("kms_key"))
            .ciphertext_blob(Blob::new(wrapped))
            .encryption_context("tenant", slug)
            .encryption_context("purpose", "field-encryption")
            .encryption_context("key", text("_id"))
            .encryption_context("version", key.get_i64("version").expect("a number").to_string())
            .send()
            .await
            .expect("KMS answers");
        let plain = plain.plaintext.expect("a key").into_inner();
        keys.push((text("_id").parse().expect("an id"), plain));
    }
    keys
}

/// A sealed value that was found in the database, or in its log of operations.
pub struct Found {
    /// Collection.
    pub collection: String,
    /// Id of the document, or of the audit entry.
    pub document: String,
    /// Field.
    pub field: String,
    /// Whose it says that it is; the log may tell of a change and leave that out.
    pub subject: Option<Subject>,
    /// Nonce, ciphertext and tag.
    ciphertext: Vec<u8>,
}

/// Collects what is sealed in `value`, which stands under `field` of a document.
fn sealed_in(value: &Bson, place: (&str, &str, &str), found: &mut Vec<Found>) {
    let (collection, document, field) = place;
    match value {
        Bson::Array(items) => items.iter().for_each(|item| sealed_in(item, place, found)),
        Bson::Document(inner) => {
            if let Ok(ciphertext) = inner.get_binary_generic("ct") {
                found.push(Found {
                    collection: collection.into(),
                    document: document.into(),
                    field: field.into(),
                    subject: inner.get_str("sub").ok().map(|name| name.parse().expect("a name")),
                    ciphertext: ciphertext.clone(),
                });
                return;
            }
            for (member, value) in inner {
                let field = member_of(collection, field, member);
                sealed_in(value, (collection, document, field), found);
            }
        }
        _ => {}
    }
}

/// The field that a member of a document stands for. In the log's form of a
/// change, `diff`, `u` and `i` stand between, and an `s` before the field.
fn member_of<'a>(collection: &str, field: &'a str, member: &'a str) -> &'a str {
    let sealed = |name: &str| {
        let mut all = schema::COLLECTIONS.iter().filter(|one| one.name == collection);
        all.any(|one| one.sealed.contains(&name))
    };
    match member {
        "diff" | "u" | "i" => field,
        _ => member.strip_prefix('s').filter(|name| sealed(name)).unwrap_or(member),
    }
}

/// The id under which a document's values are sealed: an audit entry is a document
/// by its number, and sealed by its id.
fn id_of(document: &Document) -> Option<&str> {
    let own = document.get_document("entry").ok().unwrap_or(document);
    own.get_str("id").or(document.get_str("_id")).ok()
}

/// What lies in a collection of the tenant, or the database's log of operations
/// keeps of it.
struct Written {
    collection: String,
    /// The id by which the log names the document of a change.
    of: Option<String>,
    /// The document, or the change.
    document: Document,
}

/// Everything that lies in any collection of the tenant, and that the log keeps
/// of them: what was written over too.
async fn everything(stack: &Stack, tenant: &Tenant<'_>) -> Vec<Written> {
    let mut found = Vec::new();
    let client = stack.database().await;
    let names = ["", "_audit", "_keys"].map(|suffix| format!("t_{}{suffix}", tenant.slug()));
    for name in &names {
        let database = client.database(name);
        for collection in database.list_collection_names().await.expect("it answers") {
            for document in all_of(&database, &collection, doc! {}).await {
                found.push(Written { collection: collection.clone(), of: None, document });
            }
        }
    }
    let of_tenant = doc! { "ns": { "$regex": format!("^t_{}(_audit|_keys)?[.]", tenant.slug()) } };
    let operations = all_of(&client.database("local"), "oplog.rs", of_tenant).await;
    assert!(!operations.is_empty(), "the database keeps no log");
    for operation in operations {
        let (_, collection) =
            operation.get_str("ns").expect("a place").split_once('.').expect("two");
        let Ok(written) = operation.get_document("o") else { continue };
        let updated = operation.get_document("o2").ok();
        found.push(Written {
            collection: collection.to_owned(),
            of: updated.and_then(id_of).map(str::to_owned),
            document: written.clone(),
        });
    }
    found
}

/// Everything sealed in whatever there is and was of the tenant.
pub async fn every_copy(stack: &Stack, tenant: &Tenant<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for Written { collection, of, document } in everything(stack, tenant).await {
        let id = of.as_deref().or(id_of(&document)).unwrap_or_default().to_owned();
        sealed_in(&Bson::Document(document), (&collection, &id, ""), &mut found);
    }
    found
}

/// Every blind index that there is and was of the tenant under `field` of
/// `collection`, in those documents and changes that fit, and how often.
pub async fn every_index(
    stack: &Stack,
    tenant: &Tenant<'_>,
    (collection, field): (&str, &str),
    fits: impl Fn(&Document) -> bool,
) -> BTreeMap<Vec<u8>, usize> {
    let mut found = BTreeMap::new();
    for written in everything(stack, tenant).await {
        if written.collection == collection && fits(&written.document) {
            indexes_in(&written.document, field, &mut found);
        }
    }
    found
}

fn indexes_in(document: &Document, field: &str, found: &mut BTreeMap<Vec<u8>, usize>) {
    for (member, value) in document {
        match value {
            Bson::Document(inner) => indexes_in(inner, field, found),
            Bson::Binary(index) if member == field => {
                *found.entry(index.bytes.clone()).or_insert(0) += 1;
            }
            _ => {}
        }
    }
}

async fn all_of(database: &mongodb::Database, collection: &str, filter: Document) -> Vec<Document> {
    let found = database.collection::<Document>(collection).find(filter).await;
    found.expect("it answers").try_collect().await.expect("it answers")
}
