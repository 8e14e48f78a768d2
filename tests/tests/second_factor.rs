//! The second factor (claim C8): set up, asked for, throttled, removed, and
//! required by the tenant's policy.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_lc_rs::digest;
use futures::future::join_all;
use futures::{StreamExt, stream};
use keystone::auth::Role;
use keystone::auth::session::CHALLENGE_LIFE;
use keystone::http::Assurance;
use keystone_tests::authenticator::Authenticator;
use keystone_tests::routes::{self, Listed};
use keystone_tests::{Answer, Client, Stack, Tenant, stack};
use serde_json::{Value, json};

/// Requests in flight at once.
const PARALLEL: usize = 6;

/// Signs in with the password, as far as the challenge.
async fn challenged(tenant: &Tenant<'_>, email: &str) -> (Client, String) {
    let client = tenant.stranger();
    let answer = client.post("/v1/auth/login", &tenant.credentials_of(email)).await.expect(200);
    let asked = answer.json()["mfa"].clone();
    assert_eq!(asked["methods"], json!(["totp", "recovery_code"]));
    (client, asked["challenge"].as_str().unwrap().to_owned())
}

async fn show(client: &Client, challenge: &str, code: &str) -> Answer {
    client.post("/v1/auth/mfa", &json!({ "challenge": challenge, "code": code })).await
}

fn kind(answer: &Answer) -> Value {
    answer.json()["type"].clone()
}

#[tokio::test]
async fn every_role_can_have_one_and_it_is_asked_for() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-roles", &Role::ALL).await;
    for role in [Role::Demo, Role::Viewer, Role::OpsUser, Role::Admin] {
        let (before, email) = (tenant.user(role), tenant.email_of(role));
        let elsewhere = tenant.sign_in(role).await;
        let begun = tenant.begin_app(before).await.expect(200).json();
        let uri = begun["otpauth_uri"].as_str().unwrap();
        assert!(uri.starts_with("otpauth://totp/Keystone:"), "{uri}");
        assert!(begun["qr_svg"].as_str().unwrap().contains("<svg"), "{begun}");
        // Until it is shown to work nobody is asked for it.
        tenant.sign_in(role).await.get("/v1/products").await.must(200);

        let (client, codes) = tenant.set_up_app(before, &email).await;
        assert_eq!(codes.len(), 10);
        assert_eq!(client.claims()["amr"], json!(["pwd", "otp"]));
        client.get("/v1/products").await.must(200);
        // Sessions with the password alone have ended.
        for old in [before, &elsewhere] {
            old.get("/v1/products").await.must(401);
        }
        tenant.begin_app(&client).await.must(409);
        let again = tenant.sign_in(role).await;
        assert_eq!(again.claims()["amr"], json!(["pwd", "otp"]));
        again.get("/v1/products").await.must(200);
        let path = format!("/v1/users/{}", client.claims()["sub"].as_str().unwrap());
        assert_eq!(tenant.owner().get(&path).await.expect(200).json()["second_factor"], true);
    }
    tenant.finish().await;
}

#[tokio::test]
async fn a_code_is_good_once_and_for_one_step_of_drift() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-codes", &[Role::Viewer]).await;
    let email = tenant.email_of(Role::Viewer);
    tenant.set_up_app(tenant.user(Role::Viewer), &email).await;

    let (client, challenge) = challenged(&tenant, &email).await;
    for drift in [-3, -2, 3] {
        let code = tenant.app_code_at(&email, drift).await;
        show(&client, &challenge, &code).await.must(401);
    }
    // A mistyped code can be corrected.
    let code = tenant.app_code(&email).await;
    show(&client, &challenge, &code).await.must(200);
    // Neither the challenge nor the code works again, the latter not even with
    // another challenge.
    let next = tenant.app_code(&email).await;
    show(&client, &challenge, &next).await.must(401);
    let (client, challenge) = challenged(&tenant, &email).await;
    show(&client, &challenge, &code).await.must(401);
    show(&client, "0".repeat(64).as_str(), &next).await.must(401);
    // Of two sign-ins with one code at once, one succeeds.
    let (other, second) = challenged(&tenant, &email).await;
    let answers = join_all([show(&client, &challenge, &next), show(&other, &second, &next)]).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    tenant.finish().await;
}

#[tokio::test]
async fn a_sign_in_waits_for_its_second_factor_for_five_minutes() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-wait", &[]).await;
    let email = tenant.email_of(Role::SuperAdmin);
    let (client, challenge) = challenged(&tenant, &email).await;
    let (table, aws) = (stack.value("SESSION_TABLE"), stack.aws());
    let key = digest::digest(&digest::SHA256, challenge.as_bytes());
    let key = format!("challenge#{}", hex::encode(key));
    let now = keystone::clock::now().as_millisecond();
    let ends = aws.number_in_session(table, &key, "expires_at").await;
    let life = i64::try_from(CHALLENGE_LIFE.as_millis()).unwrap();
    assert_eq!(CHALLENGE_LIFE.as_mins(), 5);
    assert!(ends <= now + life && ends > now + life - 60_000, "{} ms", ends - now);
    // Over, though its record is still there.
    aws.set_in_session(table, &key, "expires_at", now).await;
    let code = tenant.app_code(&email).await;
    show(&client, &challenge, &code).await.must(401);
    // Not over yet: the same code is accepted.
    aws.set_in_session(table, &key, "expires_at", now + 60_000).await;
    show(&client, &challenge, &code).await.must(200);
    tenant.finish().await;
}

#[tokio::test]
async fn a_recovery_code_is_good_once() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-recovery", &[Role::Viewer]).await;
    let email = tenant.email_of(Role::Viewer);
    let (_, codes) = tenant.set_up_app(tenant.user(Role::Viewer), &email).await;
    let typed = codes[0].to_lowercase().replace('-', " ");
    let (client, challenge) = challenged(&tenant, &email).await;
    let (other, second) = challenged(&tenant, &email).await;
    let answers =
        join_all([show(&client, &challenge, &typed), show(&other, &second, &codes[0])]).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    let (client, challenge) = challenged(&tenant, &email).await;
    show(&client, &challenge, &codes[0]).await.must(401);
    show(&client, &challenge, &codes[9]).await.must(200);
    let told = stack.mails_after_drain(&email, "8 are left").await;
    assert!(told, "the owner of the account hears of it");
    tenant.finish().await;
}

#[tokio::test]
async fn codes_are_throttled_however_often_the_password_is_right() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-throttle", &[Role::Viewer, Role::OpsUser]).await;
    let email = tenant.email_of(Role::Viewer);
    let (_, codes) = tenant.set_up_app(tenant.user(Role::Viewer), &email).await;
    let mut refused = 0;
    for attempt in 0..12 {
        // A new challenge from a new address for every guess, of either kind.
        let (client, challenge) = challenged(&tenant, &email).await;
        let guess = if attempt % 2 == 0 { "000000" } else { "0000-0000-0000-0000-0000-0000" };
        let answer = show(&client, &challenge, guess).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").is_some());
        } else {
            answer.must(401);
            refused += 1;
        }
    }
    assert_eq!(refused, 10);
    // Not even the right code helps now.
    let (client, challenge) = challenged(&tenant, &email).await;
    show(&client, &challenge, &codes[0]).await.must(429);
    let locks = tenant.owner().get("/v1/audit?action=session.lock").await.expect(200).json();
    assert_eq!(locks["items"].as_array().unwrap().len(), 1, "{locks}");
    assert_eq!(locks["items"][0]["outcome"], "denied", "{locks}");
    let user = tenant.user(Role::Viewer).claims()["sub"].clone();
    assert_eq!(locks["items"][0]["resource"], json!({ "type": "user", "id": user }));
    // The owner of the account hears of it, once, since the password was right.
    let told = "somebody entered your password and then too many wrong codes";
    assert!(stack.mails_after_drain(&email, told).await);
    let (client, challenge) = challenged(&tenant, &email).await;
    show(&client, &challenge, "000000").await.must(429);
    stack.aws().invoke(stack.value("DRAIN_OUTBOX_FUNCTION"), &json!({})).await;
    let mails = stack.mails_to(&email).await;
    assert_eq!(mails.iter().filter(|mail| mail.contains(told)).count(), 1, "{mails:?}");
    // Nobody else is locked.
    tenant.set_up_app(tenant.user(Role::OpsUser), &tenant.email_of(Role::OpsUser)).await;
    tenant.sign_in(Role::OpsUser).await;
    tenant.finish().await;
}

#[tokio::test]
async fn whoever_must_have_one_can_do_nothing_but_set_it_up() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-required", &[Role::Viewer]).await;
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    viewer.get("/v1/products").await.must(200);
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let policy = json!({ "second_factor_roles": ["super_admin", "viewer"] });
    owner.patch("/v1/tenant", &etag, &policy).await.must(200);

    // On the very next request of a session that was open already.
    let guarded: Vec<Listed> = routes::all()
        .into_iter()
        .filter(|listed| listed.assurance.is_some_and(|assurance| !assurance.serves_enrolment()))
        .collect();
    assert!(guarded.len() > 20);
    stream::iter(guarded)
        .for_each_concurrent(PARALLEL, |listed| async move {
            let answer = routes::attempt(viewer, &listed).await;
            answer.must(403);
            assert_eq!(kind(&answer), "urn:keystone:problem:second-factor-required");
        })
        .await;
    let served: Vec<&str> = routes::all()
        .iter()
        .filter(|listed| listed.assurance.is_some_and(Assurance::serves_enrolment))
        .map(|listed| listed.spec.name)
        .collect();
    assert_eq!(served, ["logout", "reauthenticate", "enrol-totp", "activate-totp"]);

    // A new sign-in says what is to be done.
    let email = tenant.email_of(Role::Viewer);
    let client = tenant.stranger();
    let answer = client.post("/v1/auth/login", &tenant.credentials_of(&email)).await;
    assert_eq!(answer.expect(200).json()["second_factor_required"], true);
    tenant.set_up_app(viewer, &email).await.0.get("/v1/products").await.must(200);
    tenant.finish().await;
}

#[tokio::test]
async fn it_is_removed_by_its_owner_or_by_who_manages_them() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-removed", &[Role::Admin, Role::Viewer]).await;
    let (admin, owner) = (tenant.user(Role::Admin), tenant.owner());
    let email = tenant.email_of(Role::Viewer);
    let (viewer, _) = tenant.set_up_app(tenant.user(Role::Viewer), &email).await;
    viewer.delete("/v1/mfa/totp").await.must(204);
    viewer.get("/v1/products").await.must(401);
    let viewer = tenant.sign_in(Role::Viewer).await;
    assert_eq!(viewer.claims()["amr"], json!(["pwd"]));
    viewer.delete("/v1/mfa/totp").await.must(404);

    // A challenge from before a removal is worth nothing after it.
    let (viewer, _) = tenant.set_up_app(&viewer, &email).await;
    let (client, challenge) = challenged(&tenant, &email).await;
    let path = format!("/v1/users/{}/totp", viewer.claims()["sub"].as_str().unwrap());
    viewer.delete(&path).await.must(403);
    admin.delete(&path).await.must(204);
    admin.delete(&path).await.must(404);
    viewer.get("/v1/products").await.must(401);
    let code = tenant.app_code(&email).await;
    show(&client, &challenge, &code).await.must(401);
    assert!(stack.mails_after_drain(&email, "recovery codes were removed").await);

    // An admin does not weaken a super_admin, and nobody uses it on themselves.
    let path = format!("/v1/users/{}/totp", owner.claims()["sub"].as_str().unwrap());
    admin.delete(&path).await.must(403);
    owner.delete(&path).await.must(403);
    tenant.finish().await;
}

#[tokio::test]
async fn a_stolen_token_sets_up_no_app() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-stolen", &[Role::Viewer]).await;
    let thief = tenant.user(Role::Viewer);
    let begin = |body: Value| async move { thief.post("/v1/mfa/totp", &body).await };
    for body in [json!({}), json!({ "password": "" }), json!({ "password": "a guess or two" })] {
        let refused = begin(body).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], "/password");
    }
    thief.post("/v1/mfa/totp/activate", &json!({ "code": "000000" })).await.must(409);
    let query = "/v1/audit?action=user.enrol_second_factor";
    let tried = tenant.owner().get(query).await.expect(200).json();
    assert_eq!(tried["items"][0]["outcome"], "failed", "{tried}");
    // Guesses are counted, and in the end not even the right one helps.
    for _ in 1..10 {
        begin(json!({ "password": "a guess or two" })).await.must(422);
    }
    tenant.begin_app(thief).await.must(429);
    thief.get("/v1/products").await.must(200);
    tenant.finish().await;
}

#[tokio::test]
async fn codes_of_an_app_being_set_up_and_of_a_renewed_sign_in_are_throttled() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-guessed", &[Role::Viewer]).await;
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let password = tenant.credentials(Role::Viewer)["password"].clone();
    // One that the app shows at no time near.
    let wrong = |code: &str| if code == "000000" { "000001" } else { "000000" };
    let begun = tenant.begin_app(viewer).await.expect(200).json();
    let mut app = Authenticator::new(begun["secret"].as_str().unwrap());
    for _ in 0..10 {
        let code = json!({ "code": wrong(&app.code_at(0)) });
        viewer.post("/v1/mfa/totp/activate", &code).await.must(422);
    }
    // From another address too, whose own count is empty.
    let right = json!({ "code": app.fresh_code().await });
    viewer.at(stack::address()).post("/v1/mfa/totp/activate", &right).await.must(429);

    let email = tenant.email_of(Role::SuperAdmin);
    for _ in 0..10 {
        let code = wrong(&tenant.app_code_at(&email, 0).await);
        let proofs = json!({ "password": password, "code": code });
        owner.post("/v1/auth/reauthenticate", &proofs).await.must(401);
    }
    let right = json!({ "password": password, "code": tenant.app_code(&email).await });
    owner.at(stack::address()).post("/v1/auth/reauthenticate", &right).await.must(429);
    owner.get("/v1/products").await.must(200);
    tenant.finish().await;
}

#[tokio::test]
async fn setting_up_goes_by_its_steps() {
    let stack = Stack::load();
    let tenant = stack.tenant("factor-steps", &[Role::Viewer]).await;
    let viewer = tenant.user(Role::Viewer);
    let activate = |code: &'static str| async move {
        viewer.post("/v1/mfa/totp/activate", &json!({ "code": code })).await
    };
    activate("000000").await.must(409);
    tenant.begin_app(viewer).await.must(200);
    let wrong = activate("abcdef").await.expect(422).json();
    assert_eq!(wrong["errors"][0]["field"], "/code");
    activate("1").await.must(422);
    // A recovery code of nobody's is no code of the app.
    activate("0000-0000-0000-0000-0000-0000").await.must(422);
    let email = tenant.email_of(Role::Viewer);
    let (viewer, _) = tenant.set_up_app(viewer, &email).await;
    let code = json!({ "code": tenant.app_code(&email).await });
    viewer.post("/v1/mfa/totp/activate", &code).await.must(409);
    tenant.finish().await;
}
