//! What is sensitive needs a sign-in of the last quarter of an hour.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures::{StreamExt, stream};
use keystone::auth::Role;
use keystone::auth::session::RECENT;
use keystone::clock;
use keystone::http::Assurance;
use keystone_tests::routes::{self, Listed};
use keystone_tests::{Client, Stack, stack};
use serde_json::json;

/// Requests in flight at once.
const PARALLEL: usize = 6;

/// Moves the sign-in of `client` into the past, `milliseconds` from now.
async fn age(stack: &Stack, client: &Client, milliseconds: i64) {
    let sid = client.claims()["sid"].as_str().unwrap().to_owned();
    let at = clock::now().as_millisecond() - milliseconds;
    stack.aws().set_in_session(stack.value("SESSION_TABLE"), &sid, "created_at", at).await;
}

#[tokio::test]
async fn sensitive_routes_ask_for_a_recent_sign_in() {
    let stack = Stack::load();
    let tenant = stack.tenant("recent", &[]).await;
    let owner = tenant.owner();
    let limit = i64::try_from(RECENT.as_millis()).unwrap();
    age(&stack, owner, limit + 1).await;
    let sensitive: Vec<Listed> = routes::all()
        .into_iter()
        .filter(|listed| listed.assurance.is_some_and(Assurance::needs_recent))
        .collect();
    let names: Vec<&str> = sensitive.iter().map(|listed| listed.spec.name).collect();
    assert_eq!(
        names,
        [
            "create-audit-export",
            "request-email-change",
            "change-password",
            "end-other-sessions",
            "end-session",
            "erase-customer",
            "make-subject-bundle",
            "remove-totp",
            "enrol-totp",
            "activate-totp",
            "make-recall-pack",
            "erase-supplier",
            "update-tenant",
            "export-tenant-data",
            "end-all-sessions",
            "create-user",
            "update-user",
            "erase-user",
            "invite-user",
            "offboard-user",
            "end-user-sessions",
            "remove-user-totp",
        ]
    );
    stream::iter(sensitive)
        .for_each_concurrent(PARALLEL, |listed| async move {
            let answer = routes::attempt(owner, &listed).await;
            answer.must(401);
            let kind = &answer.json()["type"];
            assert_eq!(kind, "urn:keystone:problem:reauthentication-required", "{answer}");
        })
        .await;
    // Everything else goes on.
    owner.get("/v1/users").await.must(200);

    // The password alone is not enough for who has a second factor.
    let email = tenant.email_of(Role::SuperAdmin);
    let password = tenant.credentials(Role::SuperAdmin)["password"].clone();
    let missing = owner.post("/v1/auth/reauthenticate", &json!({ "password": password })).await;
    assert_eq!(missing.expect(422).json()["errors"][0]["field"], "/code");
    let proofs = json!({ "password": "wrong", "code": tenant.app_code(&email).await });
    owner.post("/v1/auth/reauthenticate", &proofs).await.must(401);
    let proofs = json!({ "password": password, "code": "000000" });
    owner.post("/v1/auth/reauthenticate", &proofs).await.must(401);
    let proofs = json!({ "password": password, "code": tenant.app_code(&email).await });
    let renewed = owner.post("/v1/auth/reauthenticate", &proofs).await.expect(200).json();
    // The old token is worth nothing any more.
    owner.get("/v1/users").await.must(401);
    let renewed = owner.with_token(renewed["token"].as_str().unwrap());
    renewed.get("/v1/users").await.must(200);
    let new = json!({ "email": "new@keystone.example", "name": "New", "role": "viewer" });
    renewed.post("/v1/users", &new).await.must(201);
    tenant.with_owner(renewed).finish().await;
}

#[tokio::test]
async fn a_session_that_is_carried_on_is_no_younger_and_lives_no_longer() {
    let stack = Stack::load();
    let tenant = stack.tenant("carried-on", &[Role::Viewer]).await;
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let old = tenant.credentials(Role::Viewer)["password"].as_str().unwrap().to_owned();
    let change = |new: &str| json!({ "current_password": old, "new_password": new });
    let same = owner.post("/v1/auth/password", &change(&old)).await.expect(422).json();
    assert_eq!(same["errors"][0]["field"], "/new_password");

    // Signed in 10 minutes ago, and over in one hour.
    let (minute, now) = (60_000, clock::now().as_millisecond());
    let (signed_in, ends) = ((now - 10 * minute) / 1000, (now + 60 * minute) / 1000);
    for client in [owner, viewer] {
        let sid = client.claims()["sid"].as_str().unwrap().to_owned();
        let table = stack.value("SESSION_TABLE");
        stack.aws().set_in_session(table, &sid, "created_at", signed_in * 1000).await;
        stack.aws().set_in_session(table, &sid, "expires_at", ends * 1000).await;
    }
    let times = |client: &Client| {
        let claims = client.claims();
        (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap())
    };
    // By the password, without the second factor that the owner has.
    let other = change("Combine harvester under seven moons");
    let changed = owner.post("/v1/auth/password", &other).await.expect(200).json();
    let owner = owner.with_token(changed["token"].as_str().unwrap());
    assert_eq!(times(&owner), (signed_in, ends));
    assert_eq!(owner.claims()["amr"], json!(["pwd", "otp"]));
    age(&stack, &owner, i64::try_from(RECENT.as_millis()).unwrap() + 1).await;
    let new = json!({ "email": "new@keystone.example", "name": "New", "role": "viewer" });
    owner.post("/v1/users", &new).await.must(401);
    // By the first code of an app.
    let (viewer, _) = tenant.set_up_app(viewer, &tenant.email_of(Role::Viewer)).await;
    assert_eq!(times(&viewer), (signed_in, ends));
    assert_eq!(viewer.claims()["amr"], json!(["pwd", "otp"]));
    tenant.with_owner(owner).finish().await;
}

#[tokio::test]
async fn wrong_passwords_are_counted_here_too() {
    let stack = Stack::load();
    let tenant = stack.tenant("recent-throttle", &[Role::Viewer, Role::OpsUser]).await;
    let viewer = tenant.user(Role::Viewer);
    for _ in 0..10 {
        viewer.post("/v1/auth/reauthenticate", &json!({ "password": "wrong" })).await.must(401);
    }
    let right = json!({ "password": tenant.credentials(Role::Viewer)["password"] });
    viewer.post("/v1/auth/reauthenticate", &right).await.must(429);
    // The counts are apart: sign-in goes on, and whoever is locked out of it by
    // others' guesses can still do what needs the password.
    let viewer = tenant.sign_in(Role::Viewer).await;
    let mut wrong = tenant.credentials(Role::Viewer);
    wrong["password"] = json!("wrong");
    for expected in [[401; 10].as_slice(), &[429]].concat() {
        tenant.stranger().post("/v1/auth/login", &wrong).await.must(expected);
    }
    viewer.at(stack::address()).post("/v1/auth/reauthenticate", &right).await.must(429);
    let other = json!({ "password": tenant.credentials(Role::OpsUser)["password"] });
    let mut wrong = tenant.credentials(Role::OpsUser);
    wrong["password"] = json!("wrong");
    for _ in 0..10 {
        tenant.stranger().post("/v1/auth/login", &wrong).await.must(401);
    }
    tenant.user(Role::OpsUser).post("/v1/auth/reauthenticate", &other).await.must(200);
    tenant.finish().await;
}
