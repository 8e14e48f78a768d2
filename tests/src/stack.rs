//! The deployed stack: where everything is.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use futures::TryStreamExt;
use jiff::Timestamp;
use keystone::auth::Role;
use memchr::memmem;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::aws::Aws;
use crate::{Client, Tenant};

/// A deployed stack.
pub struct Stack {
    values: BTreeMap<String, String>,
    http: reqwest::Client,
    aws: Aws,
    database: OnceCell<mongodb::Client>,
}

/// Every document of every database, as raw bytes.
pub struct Dump(Vec<(String, RawDocumentBuf)>);

impl Dump {
    /// Whether any document holds these bytes.
    pub fn holds(&self, part: &[u8]) -> bool {
        self.holds_but_in(&[], part)
    }

    /// As [`Dump::holds`], but for collections of these names.
    pub fn holds_but_in(&self, collections: &[&str], part: &[u8]) -> bool {
        let finder = memmem::Finder::new(part);
        self.0
            .iter()
            .filter(|(name, _)| !collections.contains(&name.as_str()))
            .any(|(_, document)| finder.find(document.as_bytes()).is_some())
    }
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in it").to_owned()
}

/// `N` random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    keystone::random::bytes().expect("the operating system has randomness")
}

/// A random address of 10.0.0.0/8, from which nobody else makes requests.
pub fn address() -> IpAddr {
    let [a, b, c] = random();
    Ipv4Addr::new(10, a, b, c).into()
}

impl Stack {
    /// The local stack that `make run` started, or the one that the file
    /// named by `KEYSTONE_STACK_ENV` describes.
    pub fn load() -> Self {
        let missing = "There is no running stack to test: start it with `make run`.";
        let file = std::env::var_os("KEYSTONE_STACK_ENV")
            .map_or_else(|| root().join(".local/stack.env"), PathBuf::from);
        let text = std::fs::read_to_string(file).expect(missing);
        let values: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let value = |name: &str| values.get(name).expect("stack.env is complete").clone();
        let endpoint = value("AWS_ENDPOINT_URL");
        TcpStream::connect(endpoint.trim_start_matches("http://")).expect(missing);
        let http = reqwest::Client::builder()
            // The gateway closes what was idle for 75 s.
            .pool_idle_timeout(Duration::from_mins(1))
            .timeout(Duration::from_secs(90))
            .build()
            .expect("a client without TLS needs nothing");
        let aws = Aws {
            http: http.clone(),
            endpoint,
            region: value("AWS_REGION"),
            access_key_id: value("AWS_ACCESS_KEY_ID"),
            secret_access_key: value("AWS_SECRET_ACCESS_KEY"),
        };
        Self { aws, http, values, database: OnceCell::new() }
    }

    /// A value of `stack.env`.
    pub fn value(&self, name: &str) -> &str {
        self.values.get(name).unwrap_or_else(|| panic!("stack.env has no {name}"))
    }

    /// The operator's access to AWS.
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// The buckets' service, with the operator's rights.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let (id, secret) = (self.value("AWS_ACCESS_KEY_ID"), self.value("AWS_SECRET_ACCESS_KEY"));
        aws_sdk_s3::Client::from_conf(
            Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(self.value("AWS_REGION").to_owned()))
                .endpoint_url(self.value("AWS_ENDPOINT_URL"))
                .force_path_style(true)
                .credentials_provider(Credentials::new(id, secret, None, None, "operator"))
                .build(),
        )
    }

    /// Somebody who is not signed in, at an address of their own.
    pub fn client(&self) -> Client {
        Client::new(self.http.clone(), self.value("KEYSTONE_URL").to_owned(), address())
    }

    /// A new tenant with a user of each of `roles` beside its `super_admin`,
    /// all signed in.
    pub async fn tenant(&self, name: &str, roles: &[Role]) -> Tenant<'_> {
        Tenant::provision(self, name, roles).await
    }

    /// A new tenant, of which nobody has accepted an invitation.
    pub async fn unattended_tenant(&self, name: &str) -> Tenant<'_> {
        Tenant::begin(self, name).await
    }

    /// Name of the deployed function `name`.
    pub fn function(&self, name: &str) -> String {
        format!("{}-{name}", self.value("STACK_NAME"))
    }

    /// The environment of the function `name`, with what Lambda would add.
    pub async fn environment(&self, name: &str) -> BTreeMap<String, String> {
        let mut environment = self.aws.environment(&self.function(name)).await;
        for name in ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        {
            environment.insert(name.into(), self.value(name).into());
        }
        environment
    }

    /// The database, with the administrator's rights.
    pub async fn database(&self) -> &mongodb::Client {
        let connect = || mongodb::Client::with_uri_str(self.value("MONGODB_ADMIN_URI"));
        self.database.get_or_try_init(connect).await.expect("the database answers")
    }

    /// Everything that the database holds.
    pub async fn dump(&self) -> Dump {
        let client = self.database().await;
        let mut documents = Vec::new();
        for name in client.list_database_names().await.expect("the database answers") {
            let database = client.database(&name);
            for collection in database.list_collection_names().await.expect("it answers") {
                let found = database.collection::<RawDocumentBuf>(&collection).find(doc! {}).await;
                let found: Vec<RawDocumentBuf> =
                    found.expect("it answers").try_collect().await.expect("it answers");
                documents.extend(found.into_iter().map(|found| (collection.clone(), found)));
            }
        }
        Dump(documents)
    }

    /// What all functions and the gateway have logged since `start`, into the two
    /// groups that `template.yaml` names. The emulator's list of groups fails when
    /// a function logs meanwhile.
    pub async fn logs(&self, start: Timestamp) -> String {
        let mut text = String::new();
        for service in ["lambda", "apigateway"] {
            let group = format!("/aws/{service}/{}", self.value("STACK_NAME"));
            text.push_str(&self.aws.log_events(&group, start).await);
        }
        text
    }

    /// Whom the provider's letters to its own people go to.
    pub async fn security_contact(&self) -> String {
        let settings = self.database().await.database("t_keystone");
        let settings = settings.collection::<Document>("settings").find_one(doc! {}).await;
        let settings = settings.expect("it answers").expect("the provider has settings");
        let contacts = settings.get_document("contacts").expect("contacts");
        let contact =
            contacts.get_document("security").or_else(|_| contacts.get_document("primary"));
        contact.and_then(|contact| contact.get_str("email")).expect("an address").to_owned()
    }

    /// Whether a mail to `address` that says `text` leaves now.
    pub async fn mails_after_drain(&self, address: &str, text: &str) -> bool {
        for _ in 0..100 {
            self.aws.invoke(self.value("DRAIN_OUTBOX_FUNCTION"), &serde_json::json!({})).await;
            // Another run may be sending it right now.
            if self.mails_to(address).await.iter().any(|mail| mail.contains(text)) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    }

    /// The mails sent to `address`, oldest first, as text.
    pub async fn mails_to(&self, address: &str) -> Vec<String> {
        let inbox = self.http.get(self.value("MAIL_INBOX_URL")).send().await;
        let inbox: Value = inbox.expect("the inbox answers").json().await.expect("as JSON");
        let accounts = inbox["messages"].as_object().expect("messages by account");
        accounts
            .values()
            .flat_map(|mails| mails.as_array().into_iter().flatten())
            .filter(|mail| {
                mail["To"].as_array().is_some_and(|to| to.iter().any(|to| to == address))
            })
            .map(|mail| mail["BodyText"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}
