//! Whose a sealed value is, and the secret that can be destroyed to erase it.
//!
//! Every subject has 32 random bytes in a table of their own, outside the
//! database and its backups. No key that sealed a subject's values can be
//! derived without them, so deleting them erases those values everywhere
//! (docs/adr/0012).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::digest;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValue};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::random;
use crate::tenant::{Id, StoreError, TenantId};

/// Whose a sealed value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The tenant itself: what is about nobody in particular.
    Tenant,
    /// The contact of a customer.
    Customer(Id),
    /// The contact of a supplier.
    Supplier(Id),
    /// A person who may sign in.
    User(Id),
    /// What was said in a request of a person about their data: whose that is,
    /// may be known later than it was written down, and may turn out otherwise.
    /// And who sent a report of a vulnerability, of whom there is no record.
    Request(Id),
}

impl Subject {
    /// The subject that an audited resource of this type and id is about.
    pub fn of_resource(kind: &str, id: &str) -> Self {
        id.parse().ok().and_then(|id| Self::named(kind, id)).unwrap_or(Self::Tenant)
    }

    /// The kind: `tenant`, `customer`, `supplier`, `user` or `request`.
    pub fn kind(&self) -> &'static str {
        self.parts().0
    }

    /// The id of the person's own record, or of the request; the tenant has none.
    pub fn id(&self) -> Option<Id> {
        match self {
            Self::Tenant => None,
            Self::Customer(id) | Self::Supplier(id) | Self::User(id) | Self::Request(id) => {
                Some(*id)
            }
        }
    }

    /// The kind, and the id where there is one.
    pub(super) fn parts(&self) -> (&'static str, &[u8]) {
        match self {
            Self::Tenant => ("tenant", &[]),
            Self::Customer(id) => ("customer", id.as_bytes()),
            Self::Supplier(id) => ("supplier", id.as_bytes()),
            Self::User(id) => ("user", id.as_bytes()),
            Self::Request(id) => ("request", id.as_bytes()),
        }
    }

    fn named(kind: &str, id: Id) -> Option<Self> {
        match kind {
            "customer" => Some(Self::Customer(id)),
            "supplier" => Some(Self::Supplier(id)),
            "user" => Some(Self::User(id)),
            "request" => Some(Self::Request(id)),
            _ => None,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::Customer(id) => write!(f, "customer:{id}"),
            Self::Supplier(id) => write!(f, "supplier:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Request(id) => write!(f, "request:{id}"),
        }
    }
}

/// Text that names no subject.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a subject")]
pub struct NoSubject;

impl FromStr for Subject {
    type Err = NoSubject;

    fn from_str(text: &str) -> Result<Self, NoSubject> {
        if text == "tenant" {
            return Ok(Self::Tenant);
        }
        let (kind, id) = text.split_once(':').ok_or(NoSubject)?;
        id.parse().ok().and_then(|id| Self::named(kind, id)).ok_or(NoSubject)
    }
}

/// Bytes in a subject's secret.
const SECRET_LEN: usize = 32;
/// Keys that one `BatchGetItem` may name.
const BATCH: usize = 100;
/// How often what a batch left over is asked for again.
const BATCH_ATTEMPTS: u32 = 6;
const BATCH_PAUSE: Duration = Duration::from_millis(20);

const TENANT: &str = "tenant";
const SUBJECT: &str = "subject";
const SECRET: &str = "secret";
/// Of a tombstone, which secrets were destroyed.
const MARKS: &str = "marks";
/// Name of the item that says that the tenant's end was announced.
const CLOSING: &str = "closing";
const STORE: &str = "subject key table";

/// What the keys of a subject cannot be derived without.
pub(crate) type Secret = Zeroizing<[u8; SECRET_LEN]>;

/// An item of the table, and several by their names.
type Item = HashMap<String, AttributeValue>;
type Items = HashMap<String, Item>;

/// The table of subjects' secrets: key `tenant` and `subject`, both strings.
/// Beside a secret, or where one was, `destroyed:<subject>` says that an earlier
/// one was destroyed; `closing` says that the tenant's end was announced.
#[derive(Debug, Clone)]
pub struct SubjectSecrets {
    client: Client,
    table: String,
}

impl SubjectSecrets {
    /// The secrets in `table`.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// The secrets of those of `subjects` that have one. Needs `BatchGetItem`.
    ///
    /// # Errors
    /// [`StoreError`] when the table does not answer.
    pub(crate) async fn get(
        &self,
        tenant: &TenantId,
        subjects: &[Subject],
    ) -> Result<HashMap<Subject, Secret>, StoreError> {
        let names = subjects.iter().map(Subject::to_string).collect();
        let secrets = self.items(tenant, names).await?.into_iter().map(|(name, item)| {
            let subject = name.parse().map_err(|NoSubject| malformed())?;
            Ok((subject, secret_of(&item)?))
        });
        secrets.collect()
    }

    /// Those of `subjects` a secret of whom was destroyed. Needs `BatchGetItem`.
    ///
    /// # Errors
    /// As [`SubjectSecrets::get`].
    pub(crate) async fn destroyed(
        &self,
        tenant: &TenantId,
        subjects: &[Subject],
    ) -> Result<HashSet<Subject>, StoreError> {
        let names = subjects.iter().map(|subject| tombstone(*subject)).collect();
        let found = self.items(tenant, names).await?;
        let destroyed = |subject: &Subject| found.contains_key(&tombstone(*subject));
        Ok(subjects.iter().copied().filter(destroyed).collect())
    }

    /// Whether the secret of `subject` was destroyed that had this `mark`. Needs
    /// `BatchGetItem`.
    ///
    /// # Errors
    /// As [`SubjectSecrets::get`].
    pub(crate) async fn is_destroyed(
        &self,
        tenant: &TenantId,
        subject: Subject,
        mark: &str,
    ) -> Result<bool, StoreError> {
        let name = tombstone(subject);
        let found = self.items(tenant, vec![name.clone()]).await?.remove(&name);
        let marks = found.as_ref().and_then(|item| item.get(MARKS)?.as_ss().ok());
        Ok(marks.is_some_and(|marks| marks.iter().any(|one| one == mark)))
    }

    /// The items of these names that there are, by name.
    async fn items(&self, tenant: &TenantId, names: Vec<String>) -> Result<Items, StoreError> {
        let mut found = Items::with_capacity(names.len());
        for some in names.chunks(BATCH) {
            let keys: Vec<_> = some.iter().map(|name| key(tenant, name)).collect();
            let mut wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .build()
                .map_err(StoreError::defect)?;
            let mut attempt = 0;
            loop {
                let answer = self
                    .client
                    .batch_get_item()
                    .request_items(&self.table, wanted)
                    .send()
                    .await
                    .map_err(|error| StoreError::unavailable(STORE, &error))?;
                let items = answer.responses.unwrap_or_default().remove(&self.table);
                for item in items.unwrap_or_default() {
                    found.insert(name_of(&item)?, item);
                }
                match answer.unprocessed_keys.unwrap_or_default().remove(&self.table) {
                    None => break,
                    Some(_) if attempt == BATCH_ATTEMPTS => {
                        return Err(StoreError::Unavailable(STORE));
                    }
                    Some(left) => wanted = left,
                }
                tokio::time::sleep(BATCH_PAUSE * 2_u32.pow(attempt)).await;
                attempt += 1;
            }
        }
        Ok(found)
    }

    /// The secret of `subject`, made if there is none. Needs `UpdateItem`.
    ///
    /// # Errors
    /// [`StoreError`] when the table or randomness is not to be had.
    pub(crate) async fn make(
        &self,
        tenant: &TenantId,
        subject: Subject,
    ) -> Result<Secret, StoreError> {
        let fresh = Zeroizing::new(random::bytes::<SECRET_LEN>()?);
        // One write: of two that make it at once, both get the same.
        let UpdateItemOutput { attributes, .. } = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, &subject.to_string())))
            .update_expression("SET secret = if_not_exists(secret, :fresh)")
            .expression_attribute_values(":fresh", AttributeValue::B(Blob::new(*fresh)))
            .return_values(ReturnValue::AllNew)
            .send()
            .await
            .map_err(|error| StoreError::unavailable(STORE, &error))?;
        secret_of(&attributes.unwrap_or_default())
    }

    /// Destroys the secret of `subject` if it is still the one of `mark`;
    /// whatever it sealed never opens again. Leaves a tombstone, before: what
    /// tells an erased value from one that was changed. Needs `BatchGetItem`,
    /// `UpdateItem` and `DeleteItem`. Again, it does nothing, also when the
    /// subject has another secret by then. It leaves no audit entry, so only
    /// erasure, which does, can call it.
    ///
    /// # Errors
    /// [`StoreError`] when the table does not answer.
    pub(crate) async fn destroy(
        &self,
        tenant: &TenantId,
        subject: Subject,
        mark: &str,
    ) -> Result<(), StoreError> {
        let found = self.get(tenant, &[subject]).await?.remove(&subject);
        let Some(secret) = found.filter(|secret| mark_of(secret) == mark) else { return Ok(()) };
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, &tombstone(subject))))
            .update_expression("ADD marks :mark")
            .expression_attribute_values(":mark", AttributeValue::Ss(vec![mark.to_owned()]))
            .send()
            .await
            .map_err(|error| StoreError::unavailable(STORE, &error))?;
        let deleted = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, &subject.to_string())))
            .condition_expression("secret = :marked")
            .expression_attribute_values(":marked", AttributeValue::B(Blob::new(*secret)))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(()),
            // Gone, or replaced, since it was read.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DeleteItemError::is_conditional_check_failed_exception) =>
            {
                Ok(())
            }
            Err(error) => Err(StoreError::unavailable(STORE, &error)),
        }
    }

    /// Notes that the end of `tenant` was announced, as this closing and for this
    /// moment; a moment that is noted for it stays. Whoever writes to the database
    /// can make it say that a tenant's time is over; this he cannot. Needs
    /// `BatchGetItem` and `UpdateItem`.
    ///
    /// # Errors
    /// As [`SubjectSecrets::get`].
    pub(crate) async fn announce_end(
        &self,
        tenant: &TenantId,
        closing: Id,
        ends_at: Timestamp,
    ) -> Result<(), StoreError> {
        if self.announced_end(tenant, closing).await?.is_some() {
            return Ok(());
        }
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, CLOSING)))
            .update_expression("SET closing = :closing, ends_at = :ends_at")
            .expression_attribute_values(":closing", AttributeValue::S(closing.to_string()))
            .expression_attribute_values(":ends_at", AttributeValue::S(ends_at.to_string()))
            .send()
            .await
            .map_err(|error| StoreError::unavailable(STORE, &error))?;
        Ok(())
    }

    /// For which moment the end of `tenant` was announced as this closing, unless
    /// that was called off. Needs `BatchGetItem`.
    ///
    /// # Errors
    /// As [`SubjectSecrets::get`].
    pub(crate) async fn announced_end(
        &self,
        tenant: &TenantId,
        closing: Id,
    ) -> Result<Option<Timestamp>, StoreError> {
        let found = self.items(tenant, vec![CLOSING.to_owned()]).await?.remove(CLOSING);
        let Some(item) = found else { return Ok(None) };
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        if text("closing") != Some(&closing.to_string()) {
            return Ok(None);
        }
        let ends_at = text("ends_at").and_then(|at| at.parse().ok());
        ends_at.map(Some).ok_or_else(malformed)
    }

    /// Takes the announcement back. Needs `UpdateItem`.
    ///
    /// # Errors
    /// As [`SubjectSecrets::get`].
    pub(crate) async fn call_end_off(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, CLOSING)))
            .update_expression("REMOVE closing, ends_at")
            .send()
            .await
            .map_err(|error| StoreError::unavailable(STORE, &error))?;
        Ok(())
    }

    /// Destroys every secret of `tenant`, its own last: until then a run that
    /// was interrupted can tell that it was. No tombstone is left, nor any that
    /// there was, nor at last the announcement: nothing of the tenant is. Returns how many secrets there were.
    /// Needs `Query` and `DeleteItem`. It leaves no audit entry, so only
    /// closing, which does, can call it.
    ///
    /// # Errors
    /// As [`SubjectSecrets::destroy`]; again, it goes on with what is left.
    pub(crate) async fn destroy_all(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let mut destroyed = 0;
        let (mut own, mut announced) = (false, false);
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("tenant = :tenant")
            .expression_attribute_values(":tenant", AttributeValue::S(tenant.to_string()))
            .projection_expression(SUBJECT)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| StoreError::unavailable(STORE, &error))?;
            let name = name_of(&item)?;
            match name.parse() {
                Ok(Subject::Tenant) => own = true,
                Ok(_) => {
                    self.delete(tenant, &name).await?;
                    destroyed += 1;
                }
                Err(NoSubject) if name == CLOSING => announced = true,
                Err(NoSubject) => self.delete(tenant, &name).await?,
            }
        }
        if own {
            self.delete(tenant, &Subject::Tenant.to_string()).await?;
            destroyed += 1;
        }
        if announced {
            self.delete(tenant, CLOSING).await?;
        }
        Ok(destroyed)
    }

    async fn delete(&self, tenant: &TenantId, name: &str) -> Result<(), StoreError> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, name)))
            .send()
            .await
            .map_err(|error| StoreError::unavailable(STORE, &error))?;
        Ok(())
    }
}

/// What tells a secret from another one of the same subject, and nothing of it:
/// a hash of 256 random bits, hex.
pub(super) fn mark_of(secret: &Secret) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"keystone/secret-mark/v1");
    context.update(secret.as_slice());
    hex::encode(context.finish())
}

/// Under what name it stands that a secret of `subject` was destroyed; no
/// subject's own name is like it.
fn tombstone(subject: Subject) -> String {
    format!("destroyed:{subject}")
}

fn key(tenant: &TenantId, name: &str) -> Item {
    HashMap::from([
        (TENANT.to_owned(), AttributeValue::S(tenant.to_string())),
        (SUBJECT.to_owned(), AttributeValue::S(name.to_owned())),
    ])
}

fn name_of(item: &Item) -> Result<String, StoreError> {
    item.get(SUBJECT).and_then(|name| name.as_s().ok()).cloned().ok_or_else(malformed)
}

fn secret_of(item: &Item) -> Result<Secret, StoreError> {
    let bytes = item.get(SECRET).and_then(|value| value.as_b().ok()).ok_or_else(malformed)?;
    <[u8; SECRET_LEN]>::try_from(bytes.as_ref()).map(Zeroizing::new).map_err(|_| malformed())
}

fn malformed() -> StoreError {
    StoreError::defect("malformed item of the subject key table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_one_name() {
        let id = Id::from_u128(7);
        for subject in [
            Subject::Tenant,
            Subject::Customer(id),
            Subject::Supplier(id),
            Subject::User(id),
            Subject::Request(id),
        ] {
            assert_eq!(subject.to_string().parse(), Ok(subject));
            assert_eq!(tombstone(subject).parse::<Subject>(), Err(NoSubject));
        }
        for none in
            ["", CLOSING, "user", "user:", "user:7", "batch:00000000-0000-0000-0000-000000000007"]
        {
            assert_eq!(none.parse::<Subject>(), Err(NoSubject), "{none}");
        }
    }

    #[test]
    fn a_resource_about_nobody_is_the_tenants() {
        let id = Id::from_u128(7).to_string();
        assert_eq!(Subject::of_resource("user", &id), Subject::User(Id::from_u128(7)));
        assert_eq!(Subject::of_resource("batch", &id), Subject::Tenant);
        assert_eq!(Subject::of_resource("user", "unknown"), Subject::Tenant);
        // Who handled a request stands in its entries, not who made it.
        assert_eq!(Subject::of_resource("data_subject_request", &id), Subject::Tenant);
    }
}
