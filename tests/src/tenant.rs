//! A tenant of a test, with people in every role that the test asks for.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::join_all;
use keystone::auth::Role;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::TRANSIENT_TRANSACTION_ERROR;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::authenticator::Authenticator;
use crate::bulk::REQUEST;
use crate::client::Ledger;
use crate::stack::random;
use crate::{Answer, Client, Stack};

/// Actions that a tenant's trail may hold without a request of the test's.
const BESIDE: &[&str] = &[
    "tenant.provision",
    "tenant.invite_again",
    "tenant.begin_closing",
    "tenant.call_closing_off",
    "mail.bounce",
    "mail.send",
    "data_key.create",
    "data_key.reseal",
    "subject_key.destroy",
    "audit_export.start",
    "duty_reminder.send",
    "audit_export.add_file",
    "audit_export.finish",
    "audit_export.give_up",
    "audit_export.refuse",
    "audit_trail.check",
    "data_subject_request.remind",
    "data_subject_request.miss",
    "data_subject_request.erase",
    "audit_trail.scope",
    "sub_processor_notice.send",
    "sub_processor_notice.object",
    "sub_processor_notice.settle",
    "incident.notify",
    "incident.record_by_hand",
    "incident.update",
    "incident.write_again",
    "notice.publish",
    "mail.give_up",
    "questionnaire.answer",
    "questionnaire.issue",
    "questionnaire.remind",
    "questionnaire.miss",
    "operator_access.grant",
    "operator_access.use",
];

/// A provisioned tenant.
pub struct Tenant<'s> {
    stack: &'s Stack,
    slug: String,
    password: String,
    users: BTreeMap<Role, User>,
    /// The apps of those who have one, by e-mail address.
    apps: Mutex<HashMap<String, Authenticator>>,
    ledger: Ledger,
}

/// A user of a tenant, signed in.
struct User {
    email: String,
    client: Client,
}

impl<'s> Tenant<'s> {
    pub(crate) async fn provision(stack: &'s Stack, name: &str, roles: &[Role]) -> Self {
        let mut tenant = Self::begin(stack, name).await;
        tenant.welcome(&[Role::SuperAdmin]).await;
        let below: Vec<Role> =
            roles.iter().copied().filter(|role| *role != Role::SuperAdmin).collect();
        for role in &below {
            let invitation = json!({
                "email": tenant.email_of(*role), "name": "Test Person", "role": role.name(),
            });
            tenant.owner().post("/v1/users", &invitation).await.must(201);
        }
        tenant.welcome(&below).await;
        tenant
    }

    /// A new tenant, of which nobody has accepted an invitation.
    pub(crate) async fn begin(stack: &'s Stack, name: &str) -> Self {
        let slug = format!("{name}-{:08x}", u32::from_be_bytes(random()));
        let tenant = Self {
            stack,
            password: format!("Threshing {:016x} barn", u64::from_be_bytes(random())),
            slug,
            users: BTreeMap::new(),
            apps: Mutex::default(),
            ledger: Ledger::default(),
        };
        let made = tenant.provision_again().await;
        assert_eq!(made, json!({ "tenant": tenant.slug, "created": true }));
        tenant
    }

    /// Asks for the tenant to be made, for the first time or once more.
    pub async fn provision_again(&self) -> Value {
        let owner = json!({ "name": "Orla Byrne", "email": self.email_of(Role::SuperAdmin) });
        let event = json!({
            "operator": "test-operator",
            "tenant": self.slug,
            "legal_name": format!("{} Ltd", self.slug),
            "country": "IE",
            "contacts": { "primary": owner },
            "super_admin": owner,
        });
        self.stack.aws().invoke(self.stack.value("PROVISION_TENANT_FUNCTION"), &event).await
    }

    /// Lets the invited people of `roles` choose their passwords and sign in.
    async fn welcome(&mut self, roles: &[Role]) {
        if roles.is_empty() {
            return;
        }
        self.stack.aws().invoke(self.stack.value("DRAIN_OUTBOX_FUNCTION"), &json!({})).await;
        let tenant = &*self;
        let users = join_all(roles.iter().map(|role| async move {
            let email = tenant.email_of(*role);
            let token = tenant.invitation_token(&email, 0).await;
            tenant.accept(&token).await.must(204);
            (*role, User { client: tenant.sign_in(*role).await, email })
        }))
        .await;
        self.users.extend(users);
    }

    /// Invites one more person, who chooses a password and signs in.
    pub async fn newcomer(&self, name: &str, role: Role) -> Client {
        let email = self.address_of(name);
        let invitation = json!({ "email": email, "name": name, "role": role.name() });
        self.owner().post("/v1/users", &invitation).await.must(201);
        let token = self.invitation_to(name, 0).await;
        self.accept(&token).await.must(204);
        self.sign_in_as(&email).await
    }

    /// E-mail address of the newcomer `name`.
    pub fn address_of(&self, name: &str) -> String {
        format!("{name}@{}.example", self.slug)
    }

    /// The token of the newcomer's invitation, the one that follows `earlier`
    /// others.
    pub async fn invitation_to(&self, name: &str, earlier: usize) -> String {
        self.stack.aws().invoke(self.stack.value("DRAIN_OUTBOX_FUNCTION"), &json!({})).await;
        self.invitation_token(&self.address_of(name), earlier).await
    }

    /// Accepts an invitation with the password that all users have.
    pub async fn accept(&self, token: &str) -> Answer {
        let acceptance = json!({ "tenant": self.slug, "token": token, "password": self.password });
        self.stranger().post("/v1/invitations/accept", &acceptance).await
    }

    /// The token in the invitation that was mailed to `email` after `earlier`
    /// others.
    async fn invitation_token(&self, email: &str, earlier: usize) -> String {
        self.token_in_mail(email, "/invitations/", earlier).await
    }

    /// The token in the mail to `email` whose link has `path` in it.
    pub async fn mailed_token(&self, email: &str, path: &str) -> String {
        self.mailed_token_after(email, path, 0).await
    }

    /// The same, of the mail that follows `earlier` others.
    pub async fn mailed_token_after(&self, email: &str, path: &str, earlier: usize) -> String {
        assert!(self.stack.mails_after_drain(email, path).await, "no mail to {email}");
        self.token_in_mail(email, path, earlier).await
    }

    async fn token_in_mail(&self, email: &str, path: &str, earlier: usize) -> String {
        for _ in 0..100 {
            let mails = self.stack.mails_to(email).await;
            let mut mails = mails.iter().filter(|mail| mail.contains(path));
            if let Some(mail) = mails.nth(earlier) {
                let (_, token) = mail.split_once("#token=").expect("the link has a token");
                return token.chars().take_while(char::is_ascii_alphanumeric).collect();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no mail with {path} was sent to {email}");
    }

    /// The stored document of `collection` whose `field` is `value`.
    pub async fn document(&self, collection: &str, field: &str, value: &str) -> Document {
        let found = self.collection(collection).await.find_one(doc! { field: value }).await;
        found.expect("the database answers").expect("there is such a document")
    }

    /// Whom the kept answers to requests with an `Idempotency-Key` are sealed for.
    pub async fn kept_answers_of(&self) -> Vec<String> {
        let kept = self.collection("idempotency").await.find(doc! {}).await;
        let kept: Vec<Document> =
            kept.expect("it answers").try_collect().await.expect("it answers");
        let reply = |one: &Document| one.get_document("reply").expect("an answer").clone();
        kept.iter().map(|one| reply(one).get_str("sub").expect("whose it is").to_owned()).collect()
    }

    /// Sets one field of a stored document behind the back of the functions.
    pub async fn set_in_document(
        &self,
        collection: &str,
        field: &str,
        value: &str,
        path: &str,
        to: impl Into<Bson>,
    ) {
        let done = self
            .collection(collection)
            .await
            .update_one(doc! { field: value }, doc! { "$set": { path: to.into() } })
            .await
            .expect("the database answers");
        assert_eq!(done.modified_count, 1);
    }

    /// Holds what every write of the tenant needs, until the session is dropped
    /// or its transaction aborted.
    pub async fn hold_writes(&self) -> ClientSession {
        let mut session = self.stack.database().await.start_session().await.expect("it answers");
        // A job may write to the tenant at this moment.
        loop {
            session.start_transaction().await.expect("it answers");
            let heads = self.collection("audit_head").await;
            let claim = doc! { "$inc": { "claims": 1_i64 } };
            match heads.update_one(doc! {}, claim).session(&mut session).await {
                Ok(done) => {
                    assert_eq!(done.modified_count, 1);
                    return session;
                }
                Err(error) => assert!(error.contains_label(TRANSIENT_TRANSACTION_ERROR), "{error}"),
            }
            session.abort_transaction().await.expect("it answers");
        }
    }

    /// Counts a member of a stored document up by one, in the transaction of
    /// `session`.
    pub async fn count_up(
        &self,
        session: &mut ClientSession,
        collection: &str,
        id: &str,
        member: &str,
    ) {
        let up = doc! { "$inc": { member: 1_i64 } };
        let collection = self.collection(collection).await;
        let done = collection.update_one(doc! { "_id": id }, up).session(session).await;
        assert_eq!(done.expect("the database answers").modified_count, 1);
    }

    async fn collection(&self, name: &str) -> mongodb::Collection<Document> {
        self.stack.database().await.database(&format!("t_{}", self.slug)).collection(name)
    }

    /// The same, with another session for the `super_admin`.
    #[must_use]
    pub fn with_owner(mut self, client: Client) -> Self {
        let email = self.email_of(Role::SuperAdmin);
        self.users.insert(Role::SuperAdmin, User { email, client });
        self
    }

    /// Somebody at a new address who is not signed in, whose requests to this
    /// tenant count.
    pub fn stranger(&self) -> Client {
        self.stack.client().recorded_in(&self.ledger)
    }

    /// Signs a user in once more, at another address.
    pub async fn sign_in(&self, role: Role) -> Client {
        self.sign_in_as(&self.email_of(role)).await
    }

    /// Signs in the user with this address, who shows a second factor when
    /// asked and sets one up when it is required.
    pub async fn sign_in_as(&self, email: &str) -> Client {
        let client = self.stranger();
        let answer = client.post("/v1/auth/login", &self.credentials_of(email)).await;
        let mut answer = answer.expect(200).json();
        if let Some(challenge) = answer["mfa"]["challenge"].as_str() {
            let code = self.app_code(email).await;
            let shown = json!({ "challenge": challenge, "code": code });
            answer = client.post("/v1/auth/mfa", &shown).await.expect(200).json();
        }
        let client = client.with_token(answer["token"].as_str().expect("a token"));
        if answer["second_factor_required"] == true {
            return self.set_up_app(&client, email).await.0;
        }
        client
    }

    /// Sets up an authenticator app for the signed-in user with this address;
    /// gives the new session and the recovery codes.
    pub async fn set_up_app(&self, client: &Client, email: &str) -> (Client, Vec<String>) {
        let begun = self.begin_app(client).await.expect(200).json();
        let app = Authenticator::new(begun["secret"].as_str().expect("a secret"));
        self.apps.lock().await.insert(email.to_owned(), app);
        let code = json!({ "code": self.app_code(email).await });
        let done = client.post("/v1/mfa/totp/activate", &code).await.expect(200).json();
        let codes = done["recovery_codes"].as_array().expect("recovery codes").iter();
        let codes = codes.map(|code| code.as_str().expect("text").to_owned()).collect();
        (client.with_token(done["session"]["token"].as_str().expect("a token")), codes)
    }

    /// Begins to set up an authenticator app for a signed-in user.
    pub async fn begin_app(&self, client: &Client) -> Answer {
        client.post("/v1/mfa/totp", &json!({ "password": self.password })).await
    }

    /// The seed that the app of the user with this address shares.
    pub async fn app_seed(&self, email: &str) -> String {
        self.apps.lock().await.get(email).expect("the user has an app").secret().to_owned()
    }

    /// A code that the app of the user with this address has not shown yet.
    pub async fn app_code(&self, email: &str) -> String {
        let mut apps = self.apps.lock().await;
        apps.get_mut(email).expect("the user has an app").fresh_code().await
    }

    /// The code that the app shows `drift` steps from now.
    pub async fn app_code_at(&self, email: &str, drift: i64) -> String {
        self.apps.lock().await.get(email).expect("the user has an app").code_at(drift)
    }

    /// What the user of this role signs in with.
    pub fn credentials(&self, role: Role) -> Value {
        self.credentials_of(&self.email_of(role))
    }

    /// What the user with this address signs in with.
    pub fn credentials_of(&self, email: &str) -> Value {
        json!({ "tenant": self.slug, "email": email, "password": self.password })
    }

    /// E-mail address of the user of this role.
    pub fn email_of(&self, role: Role) -> String {
        format!("{}@{}.example", role.name(), self.slug)
    }

    /// The tenant's slug.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// E-mail addresses of all users.
    pub fn emails(&self) -> Vec<String> {
        self.users.values().map(|user| user.email.clone()).collect()
    }

    /// The user of this role, signed in.
    pub fn user(&self, role: Role) -> &Client {
        &self.users.get(&role).unwrap_or_else(|| panic!("the test has no {}", role.name())).client
    }

    /// The `super_admin`.
    pub fn owner(&self) -> &Client {
        self.user(Role::SuperAdmin)
    }

    /// Counts an accepted request that was sent to a function directly.
    pub fn vouch_for(&self, request_id: &str) {
        self.ledger.lock().expect("no test panicked with it").push(request_id.to_owned());
    }

    /// The whole audit trail as the owner sees it, newest first.
    pub async fn audit_trail(&self) -> Vec<Value> {
        let mut entries = Vec::new();
        let mut path = "/v1/audit?limit=100".to_owned();
        loop {
            let page = self.owner().get(&path).await.expect(200).json();
            entries.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/audit?limit=100&cursor={cursor}"),
                None => return entries,
            }
        }
    }

    /// Checks that each accepted request that changed or disclosed something
    /// left exactly one audit entry, and that there are no others. Then takes
    /// the tenant out of normal use, so that later jobs need not visit it.
    pub async fn finish(self) {
        let mut entries: HashMap<String, Vec<Value>> = HashMap::new();
        for entry in self.audit_trail().await {
            let request = entry["request_id"].as_str().expect("a request id").to_owned();
            entries.entry(request).or_default().push(entry);
        }
        for request in self.ledger.lock().expect("no test panicked with it").iter() {
            let of_request = entries.remove(request).unwrap_or_default();
            assert_eq!(of_request.len(), 1, "request {request} left {of_request:?}");
        }
        for entry in entries.values().flatten() {
            let beside = BESIDE.iter().any(|action| entry["action"] == *action);
            let refused = entry["outcome"] == "failed" || entry["outcome"] == "denied";
            let bulk = entry["request_id"].as_str().is_some_and(|id| id.starts_with(REQUEST));
            assert!(beside || refused || bulk, "no accepted request explains {entry}");
        }
        self.close().await;
    }

    /// Takes the tenant out of normal use, unchecked.
    pub async fn close(self) {
        self.set_state("closed").await;
    }

    /// Says in the registry where the tenant stands.
    pub async fn set_state(&self, state: &str) {
        let registry = self.stack.database().await.database("keystone_control");
        let done = registry
            .collection::<Document>("tenants")
            .update_one(doc! { "_id": &self.slug }, doc! { "$set": { "state": state } })
            .await
            .expect("the registry can be written");
        assert_eq!(done.matched_count, 1);
    }
}
