//! Guessing passwords against the deployed API.

use futures::future::join_all;
use keystone::auth::Role;
use keystone_tests::{Answer, Stack, Tenant, stack};
use serde_json::{Value, json};

/// A password that is nobody's.
const OTHER: &str = "Nine herons above the sluice gate";

fn wrong_password(tenant: &Tenant<'_>, email: &str) -> Value {
    json!({ "tenant": tenant.slug(), "email": email, "password": "not the password" })
}

/// The bodies, which must all be the same but for the request id.
fn one_body(answers: &[&Answer]) -> Value {
    let first = answers[0].body_without_request_id();
    for answer in answers {
        assert_eq!(answer.body_without_request_id(), first);
    }
    first
}

#[tokio::test]
async fn of_sixty_parallel_guesses_ten_reach_the_password() {
    let stack = Stack::load();
    let (tenant, bystander) =
        futures::join!(stack.tenant("guessed", &[]), stack.tenant("bystander", &[]));
    let known = tenant.emails().remove(0);
    let intruder = tenant.stranger();
    let guesses = join_all((0..60).map(|n| {
        let email = if n % 2 == 0 { known.as_str() } else { "nobody@keystone.example" };
        let guess = wrong_password(&tenant, email);
        let intruder = &intruder;
        async move { intruder.post("/v1/auth/login", &guess).await }
    }));
    // Meanwhile somebody of another tenant signs in elsewhere.
    let (answers, _) = futures::join!(guesses, bystander.sign_in(Role::SuperAdmin));

    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 401).collect();
    let locked: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!((refused.len(), locked.len()), (10, 50));
    assert_eq!(one_body(&refused)["type"], "urn:keystone:problem:invalid-credentials");
    assert_eq!(one_body(&locked)["type"], "urn:keystone:problem:too-many-requests");
    for answer in locked {
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=900).contains(&seconds), "{seconds}");
    }

    let trail = tenant.audit_trail().await;
    let count = |action: &str, outcome: &str| {
        let fits = |entry: &&Value| entry["action"] == action && entry["outcome"] == outcome;
        trail.iter().filter(fits).count()
    };
    assert_eq!(count("session.create", "failed"), 10);
    assert_eq!(count("session.lock", "denied"), 1);
    tenant.finish().await;
    bystander.finish().await;
}

#[tokio::test]
async fn a_locked_account_refuses_the_right_password_from_anywhere() {
    let stack = Stack::load();
    let tenant = stack.tenant("locked", &[Role::Viewer]).await;
    let viewer = tenant.credentials(Role::Viewer);
    let guess = wrong_password(&tenant, viewer["email"].as_str().unwrap());
    let guesses = join_all((0..10).map(|_| {
        let (stranger, guess) = (tenant.stranger(), &guess);
        async move { stranger.post("/v1/auth/login", guess).await }
    }));
    for answer in guesses.await {
        answer.must(401);
    }
    let elsewhere = tenant.stranger().at(stack::address());
    elsewhere.post("/v1/auth/login", &viewer).await.must(429);
    // Another account of the same tenant is as free as before.
    tenant.sign_in(Role::SuperAdmin).await;
    tenant.finish().await;
}

#[tokio::test]
async fn mailed_tokens_are_guessed_ten_times_and_no_more() {
    let stack = Stack::load();
    let tenant = stack.tenant("guessed-token", &[]).await;
    for path in ["/v1/auth/password-reset/confirm", "/v1/invitations/accept"] {
        let intruder = stack.client();
        let mut statuses = Vec::new();
        for n in 0..12 {
            let token = format!("{n:064x}");
            let guess = json!({ "tenant": tenant.slug(), "token": token, "password": OTHER });
            let answer = intruder.post(path, &guess).await;
            if answer.status == 429 {
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=900).contains(&seconds), "{seconds}");
            }
            statuses.push(answer.status);
        }
        assert_eq!(statuses, [[401; 10].as_slice(), &[429; 2]].concat(), "{path}");
        // An invalid body is no guess, and from elsewhere guessing goes on.
        intruder.post(path, &json!({})).await.must(422);
        let guess = json!({ "tenant": tenant.slug(), "token": "0", "password": OTHER });
        stack.client().post(path, &guess).await.must(401);
    }
    tenant.finish().await;
}
