//! Passwords changed, forgotten and hashed anew (claims C7 and C21).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use futures::future::join_all;
use keystone::auth::Role;
use keystone::auth::password::{Password, PasswordContext, PasswordInput, Pepper};
use keystone_tests::event::Event;
use keystone_tests::runtime_api::{Function, build_directory};
use keystone_tests::{Answer, Client, Stack, Tenant, stack};
use serde_json::{Value, json};

/// A password that nobody has yet.
const OTHER: &str = "Combine harvester under seven moons";

async fn sign_in(tenant: &Tenant<'_>, role: Role, password: &str) -> Answer {
    let mut credentials = tenant.credentials(role);
    credentials["password"] = json!(password);
    tenant.stranger().post("/v1/auth/login", &credentials).await
}

async fn ask(client: Client, slug: &str, email: &str) -> Answer {
    client.post("/v1/auth/password-reset", &json!({ "tenant": slug, "email": email })).await
}

async fn confirm(tenant: &Tenant<'_>, token: &str, password: &str) -> Answer {
    let chosen = json!({ "tenant": tenant.slug(), "token": token, "password": password });
    tenant.stranger().post("/v1/auth/password-reset/confirm", &chosen).await
}

#[tokio::test]
async fn a_change_ends_every_other_session() {
    let stack = Stack::load();
    let tenant = stack.tenant("password-change", &[Role::Viewer]).await;
    let viewer = tenant.user(Role::Viewer);
    let elsewhere = tenant.sign_in(Role::Viewer).await;
    let old = tenant.credentials(Role::Viewer)["password"].as_str().unwrap().to_owned();
    let change = |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        async move { viewer.post("/v1/auth/password", &body).await }
    };
    let field = |answer: &Answer| answer.json()["errors"][0]["field"].clone();
    assert_eq!(field(&change("wrong", OTHER).await.expect(422)), "/current_password");
    assert_eq!(field(&change(&old, "short").await.expect(422)), "/new_password");
    assert_eq!(field(&change(&old, "password-1234").await.expect(422)), "/new_password");
    viewer.get("/v1/products").await.must(200);

    let changed = change(&old, OTHER).await.expect(200).json();
    for dead in [viewer, &elsewhere] {
        dead.get("/v1/products").await.must(401);
    }
    let fresh = viewer.with_token(changed["token"].as_str().unwrap());
    fresh.get("/v1/products").await.must(200);
    let sessions = fresh.get("/v1/auth/sessions").await.expect(200).json();
    assert_eq!(sessions["items"].as_array().unwrap().len(), 1, "{sessions}");
    sign_in(&tenant, Role::Viewer, &old).await.must(401);
    sign_in(&tenant, Role::Viewer, OTHER).await.must(200);
    let email = tenant.email_of(Role::Viewer);
    assert!(stack.mails_after_drain(&email, "your password was changed").await);
    tenant.finish().await;
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_once() {
    let stack = Stack::load();
    let tenant = stack.tenant("password-reset", &[Role::Viewer]).await;
    let (viewer, email) = (tenant.user(Role::Viewer), tenant.email_of(Role::Viewer));
    ask(tenant.stranger(), tenant.slug(), &email.to_uppercase()).await.must(204);
    let token = tenant.mailed_token(&email, "/password-reset/").await;
    // Asking changes nothing yet, and a weak password does not cost the token.
    viewer.get("/v1/products").await.must(200);
    confirm(&tenant, &token, "short").await.must(422);
    let answers =
        join_all([confirm(&tenant, &token, OTHER), confirm(&tenant, &token, OTHER)]).await;
    let done = answers.iter().filter(|answer| answer.status == 204).count();
    assert_eq!(done, 1, "{} {}", answers[0], answers[1]);
    viewer.get("/v1/products").await.must(401);
    confirm(&tenant, &token, OTHER).await.must(401);
    sign_in(&tenant, Role::Viewer, OTHER).await.must(200);
    assert!(stack.mails_after_drain(&email, "your password was changed").await);

    // It neither skips the second factor nor removes it.
    let owner = tenant.email_of(Role::SuperAdmin);
    ask(tenant.stranger(), tenant.slug(), &owner).await.must(204);
    let token = tenant.mailed_token(&owner, "/password-reset/").await;
    confirm(&tenant, &token, OTHER).await.must(204);
    tenant.owner().get("/v1/products").await.must(401);
    let asked = sign_in(&tenant, Role::SuperAdmin, OTHER).await.expect(200).json();
    let code = tenant.app_code(&owner).await;
    let shown = json!({ "challenge": asked["mfa"]["challenge"], "code": code });
    let client = tenant.stranger();
    let answer = client.post("/v1/auth/mfa", &shown).await.expect(200).json();
    let client = client.with_token(answer["token"].as_str().unwrap());
    tenant.with_owner(client).finish().await;
}

#[tokio::test]
async fn a_token_is_stored_hashed_and_ends_after_half_an_hour() {
    let stack = Stack::load();
    let tenant = stack.tenant("reset-expiry", &[Role::Viewer]).await;
    let email = tenant.email_of(Role::Viewer);
    ask(tenant.stranger(), tenant.slug(), &email).await.must(204);
    let token = tenant.mailed_token(&email, "/password-reset/").await;
    let user = tenant.document("users", "email", &email).await;
    let user = user.get_str("_id").unwrap();
    let kept = tenant.document("mailed_tokens", "user", user).await;
    assert!(!kept.to_string().contains(&token));
    let reset = kept.get_document("token").unwrap();
    let expires_at: jiff::Timestamp = reset.get_str("expires_at").unwrap().parse().unwrap();
    let life = expires_at.duration_since(keystone::clock::now());
    assert!((1500..=1800).contains(&life.as_secs()), "{life:?}");
    let past = (keystone::clock::now()).to_string();
    tenant.set_in_document("mailed_tokens", "user", user, "token.expires_at", &past).await;
    confirm(&tenant, &token, OTHER).await.must(401);
    tenant.finish().await;
}

#[tokio::test]
async fn nobody_learns_who_has_an_account() {
    let stack = Stack::load();
    let tenant = stack.tenant("reset-silence", &[Role::Viewer]).await;
    let email = tenant.email_of(Role::Viewer);
    // A function that starts may take longer than a reset waits, and gives it up.
    ask(stack.client(), tenant.slug(), "nobody@keystone.example").await.must(204);
    let mut medians = Vec::new();
    for (client, slug, email) in [
        (tenant.stranger(), tenant.slug(), email.as_str()),
        // What nobody is mailed, no audit trail tells of.
        (stack.client(), tenant.slug(), "nobody@keystone.example"),
        (stack.client(), "no-such-tenant", email.as_str()),
    ] {
        let mut times = Vec::new();
        for _ in 0..7 {
            let started = Instant::now();
            let answer = ask(client.clone(), slug, email).await.expect(204);
            assert!(answer.body.is_empty());
            times.push(started.elapsed());
        }
        times.sort_unstable();
        medians.push(times[3]);
    }
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!(*most < *least + Duration::from_millis(75), "{medians:?}");
    // No account is mailed without end.
    for expected in [204, 204, 204, 429] {
        ask(tenant.stranger(), tenant.slug(), &email).await.must(expected);
    }
    tenant.finish().await;
}

#[tokio::test]
async fn a_tenant_that_cannot_be_written_to_tells_nobody_who_has_an_account() {
    let stack = Stack::load();
    let tenant = stack.tenant("reset-busy", &[Role::Viewer]).await;
    let email = tenant.email_of(Role::Viewer);
    let mut held = tenant.hold_writes().await;
    let timed = async |email: &str| {
        let started = Instant::now();
        ask(stack.client(), tenant.slug(), email).await.must(204);
        started.elapsed()
    };
    let (known, unknown) = futures::join!(timed(&email), timed("nobody@keystone.example"));
    assert!(known.abs_diff(unknown) < Duration::from_millis(250), "{known:?} {unknown:?}");
    held.abort_transaction().await.unwrap();
    // Asked for again, the link is mailed, and one is not too many.
    ask(tenant.stranger(), tenant.slug(), &email).await.must(204);
    let token = tenant.mailed_token(&email, "/password-reset/").await;
    confirm(&tenant, &token, OTHER).await.must(204);
    tenant.finish().await;
}

#[tokio::test]
async fn one_address_cannot_flood_a_tenant_with_reset_requests() {
    let stack = Stack::load();
    let tenant = stack.tenant("reset-flood", &[Role::Viewer]).await;
    let flooder = stack.client();
    let asked = join_all((0..40).map(|n| {
        let (flooder, slug) = (flooder.clone(), tenant.slug());
        async move { ask(flooder, slug, &format!("invented-{n}@keystone.example")).await.status }
    }));
    let statuses = asked.await;
    let count = |status: u16| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(204), count(429)), (10, 30), "{statuses:?}");
    let trail = tenant.audit_trail().await;
    let of = |action: &str| trail.iter().filter(|entry| entry["action"] == action).count();
    assert_eq!((of("user.request_password_reset"), of("session.lock")), (0, 1));
    // Asking locks nobody at the address out of signing in.
    let viewer = tenant.credentials(Role::Viewer);
    tenant.stranger().at(flooder.address()).post("/v1/auth/login", &viewer).await.must(200);
    tenant.finish().await;
}

#[tokio::test]
async fn a_request_for_a_reset_touches_nothing_that_others_hold() {
    let stack = Stack::load();
    let tenant = stack.tenant("reset-gentle", &[Role::Viewer]).await;
    let (owner, email) = (tenant.owner(), tenant.email_of(Role::Viewer));
    ask(tenant.stranger(), tenant.slug(), &email).await.must(204);
    let token = tenant.mailed_token(&email, "/password-reset/").await;
    let path = format!("/v1/users/{}", tenant.user(Role::Viewer).claims()["sub"].as_str().unwrap());
    let etag = owner.get(&path).await.expect(200).etag();
    // Somebody else asks for the same account: the version that an
    // administrator read still holds, and so does the owner's earlier link.
    ask(tenant.stranger(), tenant.slug(), &email).await.must(204);
    owner.patch(&path, &etag, &json!({ "name": "Renamed" })).await.must(200);
    confirm(&tenant, &token, OTHER).await.must(204);
    // With the password changed the other link is worth nothing.
    let other = tenant.mailed_token_after(&email, "/password-reset/", 1).await;
    assert_ne!(other, token);
    confirm(&tenant, &other, "Nine herons above the sluice gate").await.must(401);
    tenant.finish().await;
}

/// The stored hash of a user's password, and the id of its pepper.
async fn kept_hash(tenant: &Tenant<'_>, email: &str) -> (String, String) {
    let user = tenant.document("users", "email", email).await;
    let kept = user.get_document("password").unwrap();
    let text = |field: &str| kept.get_str(field).unwrap().to_owned();
    (text("hash"), text("pepper_id"))
}

#[tokio::test]
async fn a_hash_of_a_former_pepper_is_renewed_at_sign_in() {
    let stack = Stack::load();
    let tenant = stack.tenant("pepper", &[Role::Viewer]).await;
    let mut environment = stack.environment("login").await;
    let secret = stack.aws().secret(&environment["PEPPER_SECRET"]).await;
    let mut peppers: Value = serde_json::from_str(&secret).unwrap();
    let current = peppers["current"].as_str().unwrap().to_owned();
    // A sign-in whose secret still has the pepper that was current before.
    let former = "a pepper that was current before this one";
    peppers["former"] = json!(former);
    let name = format!("pepper-test-{:08x}", u32::from_be_bytes(stack::random()));
    stack.aws().make_secret(&name, &peppers.to_string()).await;
    environment.insert("PEPPER_SECRET".into(), name.clone());
    let mut login = Function::start(&build_directory().join("login"), &environment).await;

    let made = json!({ "current": "former", "former": former }).to_string();
    let made = Pepper::from_secret_json(&made).unwrap();
    // With and without a second factor, whose challenge shows the password too.
    for role in [Role::Viewer, Role::SuperAdmin] {
        let (email, credentials) = (tenant.email_of(role), tenant.credentials(role));
        let input: PasswordInput = serde_json::from_value(credentials["password"].clone()).unwrap();
        let context = PasswordContext { email: "", name: "", tenant: "", organisation: "" };
        let hash = Password::new("/password", &input, context).unwrap().hash(&made).unwrap();
        let hash = serde_json::to_value(&hash).unwrap();
        for field in ["hash", "pepper_id"] {
            let (path, value) = (format!("password.{field}"), hash[field].as_str().unwrap());
            tenant.set_in_document("users", "email", &email, &path, value).await;
        }
        let old = kept_hash(&tenant, &email).await;
        assert_eq!(old.1, "former");
        // The deployed function does not know that pepper.
        tenant.stranger().post("/v1/auth/login", &credentials).await.must(401);

        let mut wrong = credentials.clone();
        wrong["password"] = json!(OTHER);
        for (body, status) in [(&wrong, 401), (&credentials, 200)] {
            assert_eq!(kept_hash(&tenant, &email).await, old, "nothing but a right one renews it");
            let event = Event::new("POST", "/v1/auth/login", &[], stack::address()).json(body);
            assert_eq!(login.request(&event).await.status, status);
            if status == 200 {
                tenant.vouch_for(&event.request_id());
            }
        }
        let new = kept_hash(&tenant, &email).await;
        assert_eq!(new.1, current);
        assert_ne!(new.0, old.0);
        // It holds without the former pepper, and is not renewed again.
        tenant.stranger().post("/v1/auth/login", &credentials).await.must(200);
        assert_eq!(kept_hash(&tenant, &email).await, new);
    }
    stack.aws().delete_secret(&name).await;
    tenant.finish().await;
}
