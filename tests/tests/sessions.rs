//! Sessions: listed, ended by their user, and ended by time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use keystone::auth::Role;
use keystone::auth::session::{IDLE_LIMIT, LIFETIME};
use keystone::tenant::Id;
use keystone_tests::routes::{self, Listed};
use keystone_tests::subject_requests::{PATH, checked, opened};
use keystone_tests::{Client, Stack, samples};
use serde_json::{Value, json};

/// Requests in flight at once.
const PARALLEL: usize = 6;

/// How long requests wait whose session then ends.
const WAIT: Duration = Duration::from_secs(2);

fn sid(client: &Client) -> String {
    client.claims()["sid"].as_str().unwrap().to_owned()
}

async fn listed(client: &Client) -> Vec<Value> {
    let page = client.get("/v1/auth/sessions").await.expect(200).json();
    page["items"].as_array().unwrap().clone()
}

fn ids(sessions: &[Value]) -> Vec<&str> {
    sessions.iter().map(|session| session["id"].as_str().unwrap()).collect()
}

/// Checks that `client` is refused by every guarded route.
async fn is_dead(client: &Client) {
    let guarded: Vec<Listed> =
        routes::all().into_iter().filter(|listed| listed.permission.is_some()).collect();
    stream::iter(guarded)
        .for_each_concurrent(PARALLEL, |listed| async move {
            routes::attempt(client, &listed).await.must(401);
        })
        .await;
}

#[tokio::test]
async fn a_user_sees_and_ends_their_own_sessions() {
    let stack = Stack::load();
    let tenant = stack.tenant("own-sessions", &[Role::Viewer]).await;
    let first = tenant.user(Role::Viewer);
    let second = tenant.sign_in(Role::Viewer).await;
    let third = tenant.sign_in(Role::Viewer).await;

    let sessions = listed(&second).await;
    let (newest, oldest) = (sid(&third), sid(first));
    assert_eq!(ids(&sessions), [&newest, &sid(&second), &oldest], "newest first");
    for (session, client) in sessions.iter().zip([&third, &second, first]) {
        assert_eq!(session["source_ip"], client.address().to_string());
        assert_eq!(session["current"], session["id"] == sid(&second));
        let time = |name: &str| -> Timestamp { session[name].as_str().unwrap().parse().unwrap() };
        assert!(time("created_at") <= time("last_seen"));
        assert_eq!(time("expires_at"), time("last_seen") + IDLE_LIMIT);
        assert_eq!(session.as_object().unwrap().len(), 7, "{session}");
    }
    // In pages.
    let page = second.get("/v1/auth/sessions?limit=2").await.expect(200).json();
    assert_eq!(ids(page["items"].as_array().unwrap()), [&newest, &sid(&second)]);
    let next = page["next_cursor"].as_str().unwrap();
    let page = second.get(&format!("/v1/auth/sessions?cursor={next}")).await.expect(200).json();
    assert_eq!(ids(page["items"].as_array().unwrap()), [&oldest]);
    assert!(page.get("next_cursor").is_none());

    // Another's session is not there to be seen or ended, not even for those
    // who manage users.
    let owner = tenant.owner();
    assert_eq!(ids(&listed(owner).await), [&sid(owner)]);
    owner.delete(&format!("/v1/auth/sessions/{newest}")).await.must(404);
    second.delete(&format!("/v1/auth/sessions/{}", sid(owner))).await.must(404);
    third.get("/v1/products").await.must(200);

    // One ends, at once and on every route.
    second.delete(&format!("/v1/auth/sessions/{newest}")).await.must(204);
    is_dead(&third).await;
    second.delete(&format!("/v1/auth/sessions/{newest}")).await.must(404);
    second.delete("/v1/auth/sessions/none").await.must(404);
    first.get("/v1/products").await.must(200);

    // All end; another takes the place of the one in use.
    let kept = second.delete("/v1/auth/sessions").await.expect(200).json();
    is_dead(first).await;
    is_dead(&second).await;
    let second = second.with_token(kept["token"].as_str().unwrap());
    assert_eq!(ids(&listed(&second).await), [&sid(&second)]);
    owner.get("/v1/products").await.must(200);

    // One's own as well.
    second.delete(&format!("/v1/auth/sessions/{}", sid(&second))).await.must(204);
    second.get("/v1/products").await.must(401);
    tenant.finish().await;
}

#[tokio::test]
async fn what_no_list_shows_ends_with_all_others() {
    let stack = Stack::load();
    let tenant = stack.tenant("unlisted", &[]).await;
    let (owner, email) = (tenant.owner(), tenant.email_of(Role::SuperAdmin));
    // A sign-in that waits for its second factor is in no list, like a session
    // that the index by user does not show yet.
    let client = tenant.stranger();
    let asked = client.post("/v1/auth/login", &tenant.credentials_of(&email)).await.expect(200);
    let claims = owner.claims();
    let kept = owner.delete("/v1/auth/sessions").await.expect(200).json();
    let challenge = asked.json()["mfa"]["challenge"].clone();
    let shown = json!({ "challenge": challenge, "code": tenant.app_code(&email).await });
    client.post("/v1/auth/mfa", &shown).await.must(401);
    // Nobody signed in: the session is as old as the one before.
    let owner = owner.with_token(kept["token"].as_str().unwrap());
    for claim in ["iat", "exp", "amr", "sub"] {
        assert_eq!(owner.claims()[claim], claims[claim], "{claim}");
    }
    assert_ne!(owner.claims()["sid"], claims["sid"]);
    tenant.with_owner(owner).finish().await;
}

#[tokio::test]
async fn who_manages_a_user_ends_their_sessions() {
    let stack = Stack::load();
    let tenant = stack.tenant("ended-by-admin", &[Role::Admin, Role::Viewer]).await;
    let (admin, viewer) = (tenant.user(Role::Admin), tenant.user(Role::Viewer));
    let elsewhere = tenant.sign_in(Role::Viewer).await;
    let path = |client: &Client| {
        format!("/v1/users/{}/sessions", client.claims()["sub"].as_str().unwrap())
    };
    viewer.delete(&path(viewer)).await.must(403);
    for above in [admin, tenant.owner()] {
        admin.delete(&path(above)).await.must(403);
    }
    admin.delete(&path(viewer)).await.must(204);
    is_dead(viewer).await;
    is_dead(&elsewhere).await;
    let again = tenant.sign_in(Role::Viewer).await;
    assert_eq!(ids(&listed(&again).await), [&sid(&again)]);
    tenant.finish().await;
}

/// A user's sessions end, or all of the tenant's, in the transaction for which
/// their requests wait.
#[tokio::test]
async fn nothing_follows_from_a_session_that_was_ended_meanwhile() {
    let stack = Stack::load();
    for all in [false, true] {
        let tenant = stack.tenant("ended-meanwhile", &[Role::Viewer]).await;
        let owner = tenant.owner();
        let deputy = tenant.newcomer("deputy", Role::SuperAdmin).await;
        let id = |client: &Client| client.claims()["sub"].as_str().unwrap().to_owned();
        let (viewer, own) = (id(tenant.user(Role::Viewer)), id(&deputy));
        let customer = samples::customer("1 Quay Street", "+353860000001");
        let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
        let user = format!("/v1/users/{viewer}");
        let asked = opened(owner, "access", "customer", &customer).await;
        let settings = owner.get("/v1/tenant").await.expect(200).etag();
        let of_user = owner.get(&user).await.expect(200).etag();
        let why = json!({ "reason": "Late" });
        let late = json!({ "email": "late@keystone.example", "name": "Late", "role": "viewer" });
        let step = asked.etag();
        let requests: [(&str, String, &str, Value); 9] = [
            ("POST", "/v1/users".into(), "", late),
            ("PATCH", user.clone(), &of_user, json!({ "role": "admin" })),
            ("DELETE", format!("{user}/sessions"), "", Value::Null),
            ("POST", format!("{user}/offboard"), "", why.clone()),
            ("PATCH", "/v1/tenant".into(), &settings, json!({ "audit_review_days": 7 })),
            ("POST", "/v1/tenant/end-sessions".into(), "", why),
            (
                "POST",
                format!("/v1/customers/{customer}/erase"),
                "",
                json!({ "ground": "objection" }),
            ),
            ("DELETE", "/v1/mfa/totp".into(), "", Value::Null),
            ("PATCH", format!("{PATH}/{}", asked.id()), &step, checked("confirmed")),
        ];
        // What was mailed to a thief of the viewer's session.
        let thief = tenant.address_of("thief");
        let password = tenant.credentials(Role::Viewer)["password"].clone();
        let moved = json!({ "email": thief, "password": password });
        tenant.user(Role::Viewer).post("/v1/auth/email", &moved).await.must(204);
        let token = tenant.mailed_token(&thief, "/email-change/").await;
        let link = json!({ "tenant": tenant.slug(), "token": token });
        let stranger = tenant.stranger();
        let mut held = tenant.hold_writes().await;
        let begun = Instant::now();
        let answers = join_all(requests.iter().map(|(method, path, etag, body)| {
            let request = deputy.request(method, path).header("if-match", etag);
            let request = if body.is_null() { request } else { request.json(body) };
            async move { (request.send().await, begun.elapsed()) }
        }));
        let ended = async {
            // Each is past the pipeline by then, and no write gives up so soon.
            tokio::time::sleep(WAIT).await;
            let (collection, document, count) = if all {
                ("settings", Id::from_u128(1).to_string(), "session_epoch")
            } else {
                ("users", own.clone(), "credentials")
            };
            tenant.count_up(&mut held, collection, &document, count).await;
            held.commit_transaction().await.unwrap();
        };
        let confirmed = async {
            let answer = stranger.post("/v1/auth/email/confirm", &link).await;
            (answer, begun.elapsed())
        };
        // Only the end of all sessions is about the viewer too.
        let (answers, ()) = if all {
            let (mut answers, confirmed, ended) = futures::join!(answers, confirmed, ended);
            answers.push(confirmed);
            (answers, ended)
        } else {
            futures::join!(answers, ended)
        };
        for (answer, after) in answers {
            answer.must(401);
            assert!(after >= WAIT, "it did not wait: {answer}");
        }
        let tenant = if all {
            let owner = tenant.sign_in(Role::SuperAdmin).await;
            tenant.with_owner(owner)
        } else {
            tenant
        };
        let trail = tenant.audit_trail().await;
        let last = trail.iter().find(|entry| entry["actor"]["id"] == own.as_str()).unwrap();
        let newcomer = "user.activate_second_factor";
        assert_eq!(last["action"], newcomer, "nothing after they joined: {last}");
        tenant.finish().await;
    }
}

#[tokio::test]
async fn all_sessions_of_a_tenant_end_at_once() {
    let stack = Stack::load();
    let (tenant, other) = futures::join!(
        stack.tenant("all-ended", &[Role::Admin, Role::Viewer]),
        stack.tenant("not-ended", &[])
    );
    let (owner, admin, viewer) =
        (tenant.owner(), tenant.user(Role::Admin), tenant.user(Role::Viewer));
    let path = "/v1/tenant/end-sessions";
    let reason = json!({ "reason": "A laptop was stolen" });
    for (body, field) in [(json!({}), "/reason"), (json!({ "reason": "" }), "/reason")] {
        assert_eq!(owner.post(path, &body).await.expect(422).json()["errors"][0]["field"], field);
    }
    for who in [admin, viewer] {
        who.post(path, &reason).await.must(403);
        who.get("/v1/products").await.must(200);
    }
    // A sign-in waits for its second factor meanwhile, and links were mailed: to
    // the address of a thief, for another password, to somebody invited.
    let email = tenant.email_of(Role::SuperAdmin);
    let client = tenant.stranger();
    let asked = client.post("/v1/auth/login", &tenant.credentials_of(&email)).await.expect(200);
    let (of_viewer, thief) = (tenant.email_of(Role::Viewer), tenant.address_of("thief"));
    let password = tenant.credentials(Role::Viewer)["password"].clone();
    let moved = json!({ "email": thief, "password": password });
    viewer.post("/v1/auth/email", &moved).await.must(204);
    let moved = tenant.mailed_token(&thief, "/email-change/").await;
    let account = json!({ "tenant": tenant.slug(), "email": of_viewer });
    client.post("/v1/auth/password-reset", &account).await.must(204);
    let reset = tenant.mailed_token(&of_viewer, "/password-reset/").await;
    let new = tenant.address_of("new");
    let new = json!({ "email": new, "name": "New", "role": "viewer" });
    let invited = owner.post("/v1/users", &new).await.expect(201).id();
    let invitation = tenant.invitation_to("new", 0).await;
    owner.post(path, &reason).await.must(204);
    for dead in [owner, admin, viewer] {
        is_dead(dead).await;
    }
    let challenge = asked.json()["mfa"]["challenge"].clone();
    let shown = json!({ "challenge": challenge, "code": tenant.app_code(&email).await });
    client.post("/v1/auth/mfa", &shown).await.must(401);
    other.owner().get("/v1/products").await.must(200);
    let slug = tenant.slug().to_owned();
    let with = |token: &str| {
        let password = "Nine herons above the sluice gate";
        json!({ "tenant": slug, "token": token, "password": password })
    };
    let link = json!({ "tenant": tenant.slug(), "token": moved });
    let stranger = tenant.stranger();
    stranger.post("/v1/auth/email/confirm", &link).await.must(401);
    stranger.post("/v1/auth/password-reset/confirm", &with(&reset)).await.must(401);
    tenant.accept(&invitation).await.must(401);

    // All may sign in again, and see no session but the new one.
    let viewer = tenant.sign_in(Role::Viewer).await;
    assert_eq!(ids(&listed(&viewer).await), [&sid(&viewer)]);
    let owner = tenant.sign_in(Role::SuperAdmin).await;
    let tenant = tenant.with_owner(owner);
    // What is mailed from now on opens again.
    stranger.post("/v1/auth/password-reset", &account).await.must(204);
    let reset = tenant.mailed_token_after(&of_viewer, "/password-reset/", 1).await;
    stranger.post("/v1/auth/password-reset/confirm", &with(&reset)).await.must(204);
    let again = format!("/v1/users/{invited}/invite");
    tenant.owner().request("POST", &again).send().await.must(200);
    let invitation = tenant.invitation_to("new", 1).await;
    tenant.accept(&invitation).await.must(204);
    let trail = tenant.audit_trail().await;
    let entry = trail.iter().find(|entry| entry["action"] == "settings.end_sessions").unwrap();
    assert!(entry["delta"].to_string().contains("A laptop was stolen"), "{entry}");
    tenant.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn a_session_shows_what_the_client_called_itself() {
    let stack = Stack::load();
    let tenant = stack.tenant("agents", &[Role::Viewer]).await;
    let client = tenant.stranger();
    let agent = format!("Packhouse/2.1 {}", "x".repeat(300));
    let answer = client
        .request("POST", "/v1/auth/login")
        .header("user-agent", &agent)
        .json(&tenant.credentials(Role::Viewer))
        .send()
        .await
        .expect(200);
    let client = client.with_token(answer.json()["token"].as_str().unwrap());
    let sessions = listed(&client).await;
    assert_eq!(sessions[0]["user_agent"], agent[..256]);
    tenant.finish().await;
}

#[tokio::test]
async fn a_session_ends_by_disuse_and_by_age() {
    let stack = Stack::load();
    let tenant = stack.tenant("by-time", &[Role::Viewer]).await;
    let (table, aws) = (stack.value("SESSION_TABLE"), stack.aws());
    let now = keystone::clock::now();
    let minute = SignedDuration::from_mins(1);
    let keeper = tenant.user(Role::Viewer);

    // Unused for 8 hours: dead, though its token has 24.
    let idle = tenant.sign_in(Role::Viewer).await;
    let unused = (now - IDLE_LIMIT).as_millisecond();
    aws.set_in_session(table, &sid(&idle), "last_seen", unused).await;
    idle.get("/v1/products").await.must(401);
    idle.get("/v1/products").await.must(401);

    // Used 7 hours 59 minutes ago: lives, and on from there.
    let busy = tenant.sign_in(Role::Viewer).await;
    let used = (now - IDLE_LIMIT + minute).as_millisecond();
    aws.set_in_session(table, &sid(&busy), "last_seen", used).await;
    busy.get("/v1/products").await.must(200);
    tokio::time::sleep(Duration::from_millis(5)).await;
    busy.get("/v1/products").await.must(200);

    // At its end it is dead, however much it is used.
    let old = tenant.sign_in(Role::Viewer).await;
    old.get("/v1/products").await.must(200);
    aws.set_in_session(table, &sid(&old), "expires_at", now.as_millisecond()).await;
    old.get("/v1/products").await.must(401);
    let lifetime = old.claims()["exp"].as_i64().unwrap() - old.claims()["iat"].as_i64().unwrap();
    assert_eq!(lifetime, LIFETIME.as_secs());

    // The dead are neither listed nor there to be ended.
    let alive = listed(keeper).await;
    assert_eq!(ids(&alive), [&sid(&busy), &sid(keeper)]);
    for dead in [&idle, &old] {
        keeper.delete(&format!("/v1/auth/sessions/{}", sid(dead))).await.must(404);
    }
    let current: Vec<&Value> = alive.iter().map(|session| &session["current"]).collect();
    assert_eq!(current, [&json!(false), &json!(true)]);
    tenant.finish().await;
}
