//! The e-mail address of an account changed: asked for by who is signed in,
//! confirmed by who reads the new address.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use futures::future::join_all;
use keystone::auth::Role;
use keystone::clock;
use keystone_identity::mailed_token::ANSWERS_AFTER;
use keystone_tests::{Answer, Client, Stack, Tenant};
use serde_json::{Value, json};

/// Asks for the address with the password that all users have.
async fn ask(tenant: &Tenant<'_>, client: &Client, email: &str) -> Answer {
    let password = &tenant.credentials(Role::SuperAdmin)["password"];
    client.post("/v1/auth/email", &json!({ "email": email, "password": password })).await
}

async fn confirm(tenant: &Tenant<'_>, token: &str) -> Answer {
    confirm_at(tenant, tenant.slug(), token).await
}

async fn confirm_at(tenant: &Tenant<'_>, slug: &str, token: &str) -> Answer {
    let link = json!({ "tenant": slug, "token": token });
    tenant.stranger().post("/v1/auth/email/confirm", &link).await
}

async fn token_to(tenant: &Tenant<'_>, email: &str) -> String {
    tenant.mailed_token(email, "/email-change/").await
}

async fn sign_in(tenant: &Tenant<'_>, email: &str) -> Answer {
    tenant.stranger().post("/v1/auth/login", &tenant.credentials_of(email)).await
}

fn id_of(client: &Client) -> String {
    client.claims()["sub"].as_str().unwrap().to_owned()
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

#[tokio::test]
async fn an_address_is_changed_by_who_reads_it() {
    let stack = Stack::load();
    let tenant = stack.tenant("email-change", &[Role::Viewer]).await;
    let (viewer, old) = (tenant.user(Role::Viewer), tenant.email_of(Role::Viewer));
    let elsewhere = tenant.sign_in(Role::Viewer).await;
    let new = tenant.address_of("moved");
    let field = |answer: &Answer| answer.json()["errors"][0]["field"].clone();
    let wrong = json!({ "email": new, "password": "Not my password at all" });
    assert_eq!(field(&viewer.post("/v1/auth/email", &wrong).await.expect(422)), "/password");
    assert_eq!(field(&ask(&tenant, viewer, "no address").await.expect(422)), "/email");
    assert_eq!(field(&ask(&tenant, viewer, &old.to_uppercase()).await.expect(422)), "/email");

    // Whichever way it is spelt, it is kept in one.
    ask(&tenant, viewer, &new.to_uppercase()).await.must(204);
    let token = token_to(&tenant, &new).await;
    // A reset that was asked for before is void afterwards.
    let account = json!({ "tenant": tenant.slug(), "email": old });
    tenant.stranger().post("/v1/auth/password-reset", &account).await.must(204);
    let reset = tenant.mailed_token(&old, "/password-reset/").await;
    // Asking changes nothing, and the former address hears nothing yet.
    viewer.get("/v1/products").await.must(200);
    sign_in(&tenant, &new).await.must(401);
    let to_old = stack.mails_to(&old).await.concat();
    assert!(!to_old.contains("/email-change/") && !to_old.contains(&new), "{to_old}");

    // Of two uses at once, one succeeds, and there is no third.
    let answers = join_all([confirm(&tenant, &token), confirm(&tenant, &token)]).await;
    assert_eq!(statuses(&answers), [204, 401]);
    confirm(&tenant, &token).await.must(401);
    for dead in [viewer, &elsewhere] {
        dead.get("/v1/products").await.must(401);
    }
    sign_in(&tenant, &old).await.must(401);
    let fresh = tenant.sign_in_as(&new).await;
    fresh.get("/v1/products").await.must(200);
    assert_eq!(id_of(&fresh), id_of(viewer));
    let chosen = json!({
        "tenant": tenant.slug(), "token": reset, "password": "Nine herons above the sluice gate",
    });
    tenant.stranger().post("/v1/auth/password-reset/confirm", &chosen).await.must(401);
    assert!(stack.mails_after_drain(&old, "This one signs nobody in any more.").await);
    let to_old = stack.mails_to(&old).await.concat();
    assert!(!to_old.contains("A super_admin of your organisation can change it."), "{to_old}");

    // The trail tells what changed.
    let path = "/v1/audit?action=user.change_email";
    let entries = tenant.owner().get(path).await.expect(200).json()["items"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 1, "{entries}");
    let delta = entries[0]["delta"].as_array().unwrap();
    let change = |path: &str| delta.iter().find(|change| change["path"] == path).unwrap().clone();
    assert!(change("/email").to_string().contains(&new), "{entries}");
    assert_eq!(change("/former_address_still_contact")["value"], false, "{entries}");
    tenant.finish().await;
}

#[tokio::test]
async fn a_token_is_kept_hashed_and_its_address_sealed_for_half_an_hour() {
    let stack = Stack::load();
    let (tenant, other) =
        futures::join!(stack.tenant("email-token", &[Role::Viewer]), stack.tenant("others", &[]));
    let (viewer, old) = (tenant.user(Role::Viewer), tenant.email_of(Role::Viewer));
    let (user, new) = (id_of(viewer), tenant.address_of("later"));
    ask(&tenant, viewer, &new).await.must(204);
    let token = token_to(&tenant, &new).await;
    let kept = tenant.document("mailed_tokens", "user", &user).await;
    assert!(!kept.to_string().contains(&token) && !kept.to_string().contains(&new), "{kept}");
    assert_eq!(kept.get_str("purpose").unwrap(), "email_change");
    kept.get_document("new_email").unwrap().get_binary_generic("ct").unwrap();
    let expires_at = kept.get_document("token").unwrap().get_str("expires_at").unwrap();
    let expires_at: jiff::Timestamp = expires_at.parse().unwrap();
    let life = expires_at.duration_since(clock::now());
    assert!((1500..=1800).contains(&life.as_secs()), "{life:?}");

    // It is good in its tenant, for its purpose, as it is.
    confirm_at(&tenant, other.slug(), &token).await.must(401);
    confirm_at(&tenant, "no-such-tenant", &token).await.must(401);
    confirm(&tenant, &token.replace(|c: char| c.is_ascii_digit(), "0")).await.must(401);
    let chosen = json!({
        "tenant": tenant.slug(), "token": token, "password": "Nine herons above the sluice gate",
    });
    tenant.stranger().post("/v1/auth/password-reset/confirm", &chosen).await.must(401);
    let until = |moment: jiff::Timestamp| {
        let (tenant, user) = (&tenant, &user);
        async move {
            let (moment, path) = (moment.to_string(), "token.expires_at");
            tenant.set_in_document("mailed_tokens", "user", user, path, &moment).await;
        }
    };
    until(clock::now()).await;
    confirm(&tenant, &token).await.must(401);
    // A change of credentials voids it, though its time is not over.
    until(expires_at).await;
    let ended = tenant.owner().delete(&format!("/v1/users/{user}/sessions")).await;
    assert!(ended.status < 300, "{ended}");
    confirm(&tenant, &token).await.must(401);
    sign_in(&tenant, &new).await.must(401);
    sign_in(&tenant, &old).await.must(200);
    tenant.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn nobody_learns_whose_address_it_is() {
    let stack = Stack::load();
    let tenant = stack.tenant("email-silence", &[Role::OpsUser]).await;
    let asker = tenant.user(Role::OpsUser);
    let (taken, free) = (tenant.email_of(Role::SuperAdmin), tenant.address_of("nobody"));
    for email in [&taken, &free].into_iter().cycle().take(10) {
        let started = Instant::now();
        let answer = ask(&tenant, asker, email).await.expect(204);
        assert!(answer.body.is_empty());
        // What is done for a free address takes a few milliseconds of these.
        assert!(started.elapsed() >= ANSWERS_AFTER, "{:?}", started.elapsed());
    }
    // The asker's own part of the trail shows no difference either.
    let path = "/v1/audit?action=user.request_email_change";
    let trail = asker.get(path).await.expect(200).json()["items"].clone();
    let shape = |entry: &Value| {
        let delta = entry["delta"].as_array().unwrap().iter();
        // Without the token's id, which stands before the name of the field.
        let field = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        delta.map(|change| field(change["path"].as_str().unwrap())).collect::<Vec<_>>()
    };
    let shapes: Vec<_> = trail.as_array().unwrap().iter().map(shape).collect();
    assert_eq!(shapes.len(), 10);
    assert!(shapes.iter().all(|one| *one == shapes[0] && !one.is_empty()), "{trail}");
    assert!(!trail.to_string().contains(&taken) && !trail.to_string().contains(&free), "{trail}");
    // Only the free one was mailed.
    token_to(&tenant, &free).await;
    let to_taken = stack.mails_to(&taken).await.concat();
    assert!(!to_taken.contains("/email-change/"), "{to_taken}");
    // No mailbox is flooded, from wherever the requests come.
    let elsewhere = asker.at(stack.client().address());
    ask(&tenant, &elsewhere, &free).await.must(429);
    tenant.finish().await;
}

#[tokio::test]
async fn an_address_becomes_one_users_only() {
    let stack = Stack::load();
    let tenant = stack.tenant("email-race", &[Role::Viewer, Role::OpsUser]).await;
    let wanted = tenant.address_of("wanted");
    let (viewer, ops_user) = (tenant.user(Role::Viewer), tenant.user(Role::OpsUser));
    ask(&tenant, viewer, &wanted).await.must(204);
    ask(&tenant, ops_user, &wanted).await.must(204);
    let first = token_to(&tenant, &wanted).await;
    let second = tenant.mailed_token_after(&wanted, "/email-change/", 1).await;
    assert_ne!(first, second);
    let answers = join_all([confirm(&tenant, &first), confirm(&tenant, &second)]).await;
    assert_eq!(statuses(&answers), [204, 409], "{} {}", answers[0], answers[1]);
    let winner = tenant.sign_in_as(&wanted).await;
    let (won, lost) = if id_of(&winner) == id_of(viewer) {
        (Role::Viewer, Role::OpsUser)
    } else {
        (Role::OpsUser, Role::Viewer)
    };
    // Whoever was late keeps address and session.
    tenant.user(lost).get("/v1/products").await.must(200);
    sign_in(&tenant, &tenant.email_of(lost)).await.must(200);
    tenant.user(won).get("/v1/products").await.must(401);
    // The former address is free again.
    ask(&tenant, tenant.user(lost), &tenant.email_of(won)).await.must(204);
    token_to(&tenant, &tenant.email_of(won)).await;
    tenant.finish().await;
}

#[tokio::test]
async fn a_contact_stays_where_it_is() {
    let stack = Stack::load();
    let tenant = stack.tenant("email-contact", &[]).await;
    let (old, new) = (tenant.email_of(Role::SuperAdmin), tenant.address_of("orla"));
    ask(&tenant, tenant.owner(), &new).await.must(204);
    confirm(&tenant, &token_to(&tenant, &new).await).await.must(204);
    // The second factor goes with the account.
    let asked = sign_in(&tenant, &new).await.expect(200).json();
    let code = tenant.app_code(&old).await;
    let shown = json!({ "challenge": asked["mfa"]["challenge"], "code": code });
    let client = tenant.stranger();
    let answer = client.post("/v1/auth/mfa", &shown).await.expect(200).json();
    let client = client.with_token(answer["token"].as_str().unwrap());
    let settings = client.get("/v1/tenant").await.expect(200).json();
    assert_eq!(settings["contacts"]["primary"]["email"], old, "{settings}");
    let told = "A super_admin of your organisation can change it.";
    assert!(stack.mails_after_drain(&old, told).await);
    tenant.with_owner(client).finish().await;
}
