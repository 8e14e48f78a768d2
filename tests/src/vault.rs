//! What opens a tenant's sealed values with nothing but the stores that the
//! keys lie in, as an operator with every right could.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_kms::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kms::error::BoxError;
use futures::TryStreamExt;
use keystone::crypto::{DataKey, Keyring, SubjectSecrets, TenantKeys, Vault};
use keystone::tenant::TenantId;
use mongodb::bson::doc;

use crate::Stack;

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
