//! The clients of one execution environment: made on first use, then reused by
//! every invocation that the environment serves.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;

use crate::auth::password::Pepper;
use crate::auth::session::Sessions;
use crate::auth::throttle::Throttle;
use crate::auth::token::{Parties, SigningKeys};
use crate::config::{Config, Setting};
use crate::crypto::{KeyCache, SubjectSecrets, Vault};
use crate::tenant::{Database, Registry, StoreError};

/// How long a secret's value is used before it is read again, so that a
/// rotated secret reaches every warm environment without a redeployment.
pub(crate) const SECRET_LIFE: SignedDuration = SignedDuration::from_mins(5);

/// Longest time one AWS call may take with its retries. Shorter than any
/// function's timeout, so that a slow store ends in a 503 and not in silence.
const AWS_CALL_LIMIT: Duration = Duration::from_secs(5);
const AWS_CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Configuration and lazily made clients.
pub struct Platform {
    config: Config,
    aws: OnceCell<SdkConfig>,
    kms: OnceCell<aws_sdk_kms::Client>,
    dynamodb: OnceCell<aws_sdk_dynamodb::Client>,
    database: tokio::sync::Mutex<Option<(String, Database)>>,
    secrets: Mutex<HashMap<Setting, (Timestamp, String)>>,
    keys: KeyCache,
}

impl Platform {
    /// Clients for `config`; nothing is opened yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            aws: OnceCell::new(),
            kms: OnceCell::new(),
            dynamodb: OnceCell::new(),
            database: tokio::sync::Mutex::new(None),
            secrets: Mutex::new(HashMap::new()),
            keys: KeyCache::default(),
        }
    }

    /// The settings that the function declared.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A setting's value.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the function did not declare it.
    pub fn setting(&self, setting: Setting) -> Result<&str, StoreError> {
        self.config.get(setting).map_err(StoreError::defect)
    }

    /// What AWS clients are made from, for services that one context alone
    /// uses.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the region is not configured.
    pub async fn aws(&self) -> Result<&SdkConfig, StoreError> {
        let region = self.setting(Setting::Region)?.to_owned();
        Ok(self
            .aws
            .get_or_init(|| async {
                // Lambda always hands credentials over in the environment, so
                // the other providers of the default chain are left out.
                aws_config::defaults(BehaviorVersion::latest())
                    .region(Region::new(region))
                    .credentials_provider(EnvironmentVariableCredentialsProvider::new())
                    .timeout_config(
                        TimeoutConfig::builder()
                            .connect_timeout(AWS_CONNECT_LIMIT)
                            .operation_timeout(AWS_CALL_LIMIT)
                            .build(),
                    )
                    .load()
                    .await
            })
            .await)
    }

    /// The KMS client.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the region is not configured.
    pub async fn kms(&self) -> Result<&aws_sdk_kms::Client, StoreError> {
        let aws = self.aws().await?;
        Ok(self.kms.get_or_init(|| async { aws_sdk_kms::Client::new(aws) }).await)
    }

    async fn dynamodb(&self) -> Result<&aws_sdk_dynamodb::Client, StoreError> {
        let aws = self.aws().await?;
        Ok(self.dynamodb.get_or_init(|| async { aws_sdk_dynamodb::Client::new(aws) }).await)
    }

    /// The mail client.
    ///
    /// # Errors
    /// As [`Platform::kms`].
    pub async fn ses(&self) -> Result<aws_sdk_sesv2::Client, StoreError> {
        Ok(aws_sdk_sesv2::Client::new(self.aws().await?))
    }

    /// Where tenants' keys come from.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the table is not configured.
    pub(crate) async fn vault(&self) -> Result<Vault, StoreError> {
        let table = self.setting(Setting::SubjectKeyTable)?;
        let secrets = SubjectSecrets::new(self.dynamodb().await?.clone(), table);
        Ok(Vault { kms: self.kms().await?.clone(), secrets })
    }

    /// Unwrapped tenant keys, for a bounded time.
    pub(crate) fn keys(&self) -> &KeyCache {
        &self.keys
    }

    /// The value of the secret that `setting` names, at most five minutes old.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when Secrets Manager does not give it.
    pub async fn secret(&self, setting: Setting, now: Timestamp) -> Result<String, StoreError> {
        if let Some((read_at, value)) =
            self.secrets.lock().unwrap_or_else(PoisonError::into_inner).get(&setting)
            && now.duration_since(*read_at) < SECRET_LIFE
        {
            return Ok(value.clone());
        }
        let value = aws_sdk_secretsmanager::Client::new(self.aws().await?)
            .get_secret_value()
            .secret_id(self.setting(setting)?)
            .send()
            .await
            .map_err(|error| StoreError::unavailable("secrets manager", &error))?
            .secret_string
            .ok_or_else(|| StoreError::defect("the secret has no text"))?;
        self.secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(setting, (now, value.clone()));
        Ok(value)
    }

    /// Replaces the value of the secret that `setting` names.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when Secrets Manager does not take it.
    pub(crate) async fn put_secret(
        &self,
        setting: Setting,
        value: String,
    ) -> Result<(), StoreError> {
        aws_sdk_secretsmanager::Client::new(self.aws().await?)
            .put_secret_value()
            .secret_id(self.setting(setting)?)
            .secret_string(value)
            .send()
            .await
            .map_err(|error| StoreError::unavailable("secrets manager", &error))?;
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).remove(&setting);
        Ok(())
    }

    /// The cluster that the secret names now: a changed connection string is
    /// used as soon as the secret is read again, and a client that found no
    /// server is not used again.
    async fn database(&self, now: Timestamp) -> Result<Database, StoreError> {
        let secret = self.secret(Setting::MongodbSecret, now).await?;
        let mut connected = self.database.lock().await;
        match connected.as_ref() {
            Some((used, database)) if *used == secret && !database.is_lost() => {
                Ok(database.clone())
            }
            _ => {
                let database = Database::connect(&secret).await?;
                *connected = Some((secret, database.clone()));
                Ok(database)
            }
        }
    }

    /// The tenant registry; a job has more of it ([`crate::job::Job::registry`]).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot be reached.
    pub async fn registry(&self, now: Timestamp) -> Result<Registry<'_>, StoreError> {
        Ok(Registry::new(self, self.database(now).await?))
    }

    /// The session store.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the table is not configured.
    pub async fn sessions(&self) -> Result<Sessions, StoreError> {
        let client = self.dynamodb().await?.clone();
        Ok(Sessions::new(client, self.setting(Setting::SessionTable)?))
    }

    /// The login throttle.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the table is not configured.
    pub async fn throttle(&self) -> Result<Throttle, StoreError> {
        let client = self.dynamodb().await?.clone();
        Ok(Throttle::new(client, self.setting(Setting::ThrottleTable)?))
    }

    /// The keys that sign sessions.
    ///
    /// # Errors
    /// [`StoreError`] when the secret cannot be read or is not well-formed.
    pub async fn signing_keys(&self, now: Timestamp) -> Result<SigningKeys, StoreError> {
        SigningKeys::from_secret_json(&self.secret(Setting::SessionSecret, now).await?)
            .map_err(StoreError::defect)
    }

    /// Who issues session tokens and for whom: Keystone, for this deployment.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when the deployment has no name.
    pub fn parties(&self) -> Result<Parties<'_>, StoreError> {
        Ok(Parties { issuer: "keystone", audience: self.setting(Setting::Deployment)? })
    }

    /// The peppers of stored passwords.
    ///
    /// # Errors
    /// [`StoreError`] when the secret cannot be read or is not well-formed.
    pub async fn pepper(&self, now: Timestamp) -> Result<Pepper, StoreError> {
        Pepper::from_secret_json(&self.secret(Setting::PepperSecret, now).await?)
            .map_err(StoreError::defect)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use mongodb::bson::{Document, doc, serialize_to_vec};

    use super::*;
    use crate::tenant::TenantId;

    /// Answers as a server whose collections are empty: a member of a replica
    /// set, or none yet.
    fn serve(mut connection: TcpStream, is_member: &AtomicBool) -> std::io::Result<()> {
        let host = connection.local_addr()?.to_string();
        loop {
            // OP_MSG: four numbers of four bytes, flags, a section of one document.
            let mut header = [0; 16];
            connection.read_exact(&mut header)?;
            let length = u32::from_le_bytes(header[..4].try_into().unwrap());
            let mut message = vec![0; usize::try_from(length).unwrap() - header.len()];
            connection.read_exact(&mut message)?;
            let command = Document::from_reader(&message[5..]).unwrap();
            let mut answer = doc! {
                "isWritablePrimary": true, "ismaster": true, "helloOk": true,
                "minWireVersion": 0, "maxWireVersion": 21, "maxBsonObjectSize": 16_777_216,
                "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
                "logicalSessionTimeoutMinutes": 30,
            };
            if is_member.load(Ordering::Relaxed) {
                answer.extend(doc! {
                    "setName": "rs0", "hosts": [&host], "me": &host, "primary": &host,
                });
            }
            if command.contains_key("find") {
                let cursor = doc! {
                    "id": 0_i64, "ns": "keystone_control.tenants", "firstBatch": [],
                };
                answer = doc! { "cursor": cursor };
            }
            answer.insert("ok", 1.0);
            let mut section = vec![0; 5];
            section.extend(serialize_to_vec(&answer).unwrap());
            let length = u32::try_from(header.len() + section.len()).unwrap();
            let mut reply = length.to_le_bytes().to_vec();
            reply.extend([0; 4]);
            reply.extend(&header[4..8]);
            reply.extend(2013_u32.to_le_bytes());
            reply.extend(section);
            connection.write_all(&reply)?;
        }
    }

    #[tokio::test]
    async fn a_client_that_lost_its_server_is_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("mongodb://{}/?replicaSet=rs0", listener.local_addr().unwrap());
        let is_member = Arc::new(AtomicBool::new(false));
        let answers_as = Arc::clone(&is_member);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let is_member = Arc::clone(&answers_as);
                thread::spawn(move || serve(connection.unwrap(), &is_member));
            }
        });
        let value = |name: &str| if name.contains("REGION") { "eu-west-1" } else { "test" };
        let named = |name: &str| Some(value(name).to_owned());
        let platform = Platform::new(Config::read(&[], named).unwrap());
        let now = crate::clock::now();
        let secret = serde_json::json!({ "uri": uri }).to_string();
        platform.secrets.lock().unwrap().insert(Setting::MongodbSecret, (now, secret));
        let id = TenantId::parse("acme").unwrap();
        let state = async || platform.registry(now).await?.state(&id).await;

        // The server starts, and is in no set yet: the driver drops its only address.
        assert!(matches!(state().await, Err(StoreError::Unavailable("mongodb"))));
        is_member.store(true, Ordering::Relaxed);
        assert_eq!(state().await.unwrap(), None);
        let connected = platform.database.lock().await;
        assert!(!connected.as_ref().unwrap().1.is_lost(), "who is there is kept");
    }
}
