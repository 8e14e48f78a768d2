//! Users: who may manage whom, and that it takes effect at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use futures::future::join_all;
use futures::{StreamExt, stream};
use keystone::auth::{Grant, Permission, Role};
use keystone_tests::routes::{self, Listed};
use keystone_tests::{Answer, Client, Stack};
use serde_json::{Value, json};

/// Requests in flight at once.
const PARALLEL: usize = 6;

/// Routes by which users end the session that they use.
const ENDING: [&str; 3] = ["end-other-sessions", "logout", "remove-totp"];

/// How often two `super_admins` try to demote each other.
const ROUNDS: usize = 20;

fn id_of(client: &Client) -> String {
    client.claims()["sub"].as_str().unwrap().to_owned()
}

fn path_of(client: &Client) -> String {
    format!("/v1/users/{}", id_of(client))
}

async fn set_role(by: &Client, of: &Client, role: Role) -> Answer {
    let etag = by.get(&path_of(of)).await.expect(200).etag();
    by.patch(&path_of(of), &etag, &json!({ "role": role.name() })).await
}

async fn offboard(by: &Client, of: &Client, reason: &str) -> Answer {
    by.post(&format!("{}/offboard", path_of(of)), &json!({ "reason": reason })).await
}

/// The guarded routes, each of which is a function of its own.
fn guarded() -> Vec<Listed> {
    routes::all().into_iter().filter(|listed| listed.permission.is_some()).collect()
}

/// What each of `routes` answers `client`.
async fn answers(client: &Client, routes: Vec<Listed>) -> Vec<(Listed, Answer)> {
    stream::iter(routes)
        .map(|listed| async move { (listed, routes::attempt(client, &listed).await) })
        .buffer_unordered(PARALLEL)
        .collect()
        .await
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_changed_role_acts_on_the_next_request_of_every_route() {
    let stack = Stack::load();
    let tenant = stack.tenant("demoted", &[Role::Admin]).await;
    let admin = tenant.user(Role::Admin);
    // Signing out would end the session under test.
    let routes: Vec<Listed> =
        guarded().into_iter().filter(|listed| !ENDING.contains(&listed.spec.name)).collect();
    for role in [Role::Admin, Role::Demo, Role::OpsUser, Role::Admin] {
        set_role(tenant.owner(), admin, role).await.must(200);
        for (listed, answer) in answers(admin, routes.clone()).await {
            assert_ne!(answer.status, 401, "{answer}");
            let denied = listed.permission.unwrap().grant(role) == Grant::Denied;
            assert_eq!(answer.status == 403, denied, "{role:?}: {answer}");
        }
    }
    tenant.finish().await;
}

#[tokio::test]
async fn offboarding_ends_everything_at_once() {
    let stack = Stack::load();
    let tenant = stack.tenant("offboarded", &[Role::Admin]).await;
    let owner = tenant.owner();
    let (leaver, admin) = (tenant.newcomer("leaver", Role::Admin).await, tenant.user(Role::Admin));
    let elsewhere = tenant.sign_in_as(&tenant.address_of("leaver")).await;
    let routes = guarded();
    let warm: Vec<Listed> =
        routes.iter().copied().filter(|listed| !ENDING.contains(&listed.spec.name)).collect();
    for (_, answer) in answers(&leaver, warm).await {
        assert_ne!(answer.status, 401, "{answer}");
    }

    let left = offboard(admin, &leaver, "Left the company").await.expect(200);
    assert_eq!(left.json()["sessions_ended"], 2);
    assert_eq!(left.json()["user"]["status"], "deactivated");
    for session in [&leaver, &elsewhere] {
        for (_, answer) in answers(session, routes.clone()).await {
            answer.must(401);
        }
    }
    let credentials = tenant.credentials_of(&tenant.address_of("leaver"));
    tenant.stranger().post("/v1/auth/login", &credentials).await.must(401);

    // One entry, with the reason and the number.
    let query = format!("/v1/audit?action=user.offboard&resource_id={}", id_of(&leaver));
    let found = owner.get(&query).await.expect(200).json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
    let delta = found["items"][0]["delta"].as_array().unwrap().clone();
    let value = |path: &str| delta.iter().find(|change| change["path"] == path).unwrap().clone();
    assert_eq!(value("/sessions_ended")["value"], 2);
    assert_eq!(value("/status")["value"], "deactivated");
    assert!(value("/reason").to_string().contains("Left the company"), "{delta:?}");

    // Who has left cannot be changed, nor leave again.
    set_role(owner, &leaver, Role::Viewer).await.must(409);
    offboard(owner, &leaver, "Again").await.must(409);

    // Invited again it is the same user, and no old session comes back.
    let email = tenant.address_of("leaver");
    let again = json!({ "email": email, "name": "Back Again", "role": "viewer" });
    let invited = owner.post("/v1/users", &again).await.expect(201);
    assert_eq!((invited.id(), &invited.json()["status"]), (id_of(&leaver), &json!("invited")));
    tenant.stranger().post("/v1/auth/login", &credentials).await.must(401);
    let token = tenant.invitation_to("leaver", 1).await;
    tenant.accept(&token).await.must(204);
    let back = tenant.sign_in_as(&email).await;
    assert_eq!(id_of(&back), id_of(&leaver));
    back.get("/v1/products").await.must(200);
    back.get("/v1/users").await.must(403);
    leaver.get("/v1/products").await.must(401);
    elsewhere.get("/v1/products").await.must(401);
    owner.post("/v1/users", &again).await.must(409);
    tenant.finish().await;
}

#[tokio::test]
async fn an_open_invitation_is_void_after_offboarding() {
    let stack = Stack::load();
    let tenant = stack.tenant("void", &[]).await;
    let owner = tenant.owner();
    let email = tenant.address_of("never");
    let invitation = json!({ "email": email, "name": "Never", "role": "viewer" });
    let id = owner.post("/v1/users", &invitation).await.expect(201).id();
    let first = tenant.invitation_to("never", 0).await;
    let path = format!("/v1/users/{id}/offboard");
    let left = owner.post(&path, &json!({ "reason": "Invited by mistake" })).await.expect(200);
    assert_eq!(left.json()["sessions_ended"], 0);
    tenant.accept(&first).await.must(401);
    // A new invitation does not revive the old one.
    owner.post("/v1/users", &invitation).await.must(201);
    tenant.accept(&first).await.must(401);
    let second = tenant.invitation_to("never", 1).await;
    tenant.accept(&second).await.must(204);
    tenant.accept(&second).await.must(401);
    tenant.finish().await;
}

#[tokio::test]
async fn an_invitation_speaks_plainly_and_carries_no_link_of_anybodys() {
    let stack = Stack::load();
    let tenant = stack.tenant("plain", &[]).await;
    let owner = tenant.owner();
    let email = tenant.address_of("reader");
    let invite = |email: &str, name: &str| {
        let body = json!({ "email": email, "name": name, "role": "ops_user" });
        async move { owner.post("/v1/users", &body).await }
    };
    for (email, name, field) in [
        (email.as_str(), "Win at https://evil.example", "/name"),
        (email.as_str(), "www.evil.example", "/name"),
        ("\"a b\"@evil.example", "Eve", "/email"),
        ("eve@[127.0.0.1]", "Eve", "/email"),
    ] {
        let refused = invite(email, name).await.expect(422).json();
        assert_eq!(refused["errors"][0]["field"], field, "{refused}");
    }
    let made = invite(&email, "Niamh Daly").await.expect(201);
    let renamed = json!({ "name": "See www.evil.example" });
    owner.patch(&format!("/v1/users/{}", made.id()), &made.etag(), &renamed).await.must(422);
    let said = format!("for {} Ltd, as a member of the operations team", tenant.slug());
    assert!(stack.mails_after_drain(&email, &said).await);
    tenant.finish().await;
}

#[tokio::test]
async fn an_invitation_is_stored_hashed_and_ends_after_seven_days() {
    let stack = Stack::load();
    let tenant = stack.tenant("invited", &[]).await;
    let email = tenant.address_of("late");
    let invitation = json!({ "email": email, "name": "Late", "role": "viewer" });
    tenant.owner().post("/v1/users", &invitation).await.must(201);
    let token = tenant.invitation_to("late", 0).await;
    let user = tenant.document("users", "email", &email).await;
    assert!(!user.to_string().contains(&token));
    let stored = user.get_document("invitation").unwrap().get_str("expires_at").unwrap();
    let expires_at: jiff::Timestamp = stored.parse().unwrap();
    let days = expires_at.duration_since(keystone::clock::now()).as_secs_f64() / 86_400.0;
    assert!(days > 6.99 && days <= 7.0, "{days} days");
    let past = keystone::clock::now().to_string();
    tenant.set_in_document("users", "email", &email, "invitation.expires_at", &past).await;
    tenant.accept(&token).await.must(401);
    tenant.finish().await;
}

#[tokio::test]
async fn an_invitation_that_was_lost_or_has_ended_is_sent_again() {
    let stack = Stack::load();
    let tenant = stack.tenant("again", &[Role::Admin]).await;
    let (owner, admin) = (tenant.owner(), tenant.user(Role::Admin));
    let email = tenant.address_of("late");
    let invitation = json!({ "email": email, "name": "Late", "role": "viewer" });
    let id = admin.post("/v1/users", &invitation).await.expect(201).id();
    let first = tenant.invitation_to("late", 0).await;
    let past = keystone::clock::now().to_string();
    tenant.set_in_document("users", "email", &email, "invitation.expires_at", &past).await;
    tenant.accept(&first).await.must(401);
    let again = |by: &Client, id: &str| {
        let (by, path) = (by.clone(), format!("/v1/users/{id}/invite"));
        async move { by.request("POST", &path).send().await }
    };
    let invited = again(admin, &id).await.expect(200);
    assert_eq!(invited.json()["status"], "invited");
    let second = tenant.invitation_to("late", 1).await;
    // Once more while it is open: only the last one holds.
    again(owner, &id).await.must(200);
    let third = tenant.invitation_to("late", 2).await;
    tenant.accept(&second).await.must(401);
    tenant.accept(&third).await.must(204);
    // Who has accepted, or has left, is not invited like this.
    again(owner, &id).await.must(409);
    again(owner, &id_of(owner)).await.must(409);
    owner.post(&format!("/v1/users/{id}/offboard"), &json!({ "reason": "Left" })).await.must(200);
    again(owner, &id).await.must(409);
    // Nor does an admin invite who is above them.
    let peer = json!({ "email": "p@keystone.example", "name": "P", "role": "super_admin" });
    let peer = owner.post("/v1/users", &peer).await.expect(201).id();
    again(admin, &peer).await.must(403);
    tenant.finish().await;
}

#[tokio::test]
async fn an_invitation_is_accepted_once() {
    let stack = Stack::load();
    let tenant = stack.tenant("accepted-once", &[]).await;
    let email = tenant.address_of("new");
    let invitation = json!({ "email": email, "name": "New", "role": "viewer" });
    tenant.owner().post("/v1/users", &invitation).await.must(201);
    let token = tenant.invitation_to("new", 0).await;
    let answers = join_all([tenant.accept(&token), tenant.accept(&token)]).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 401], "{} {}", answers[0], answers[1]);
    tenant.accept(&token).await.must(401);
    tenant.sign_in_as(&email).await;
    tenant.finish().await;
}

#[tokio::test]
async fn no_mailbox_is_flooded_with_invitations() {
    let stack = Stack::load();
    let tenant = stack.tenant("flooded", &[Role::Admin]).await;
    let (owner, admin) = (tenant.owner(), tenant.user(Role::Admin));
    let email = tenant.address_of("late");
    let invitation = json!({ "email": email, "name": "Late", "role": "viewer" });
    let id = admin.post("/v1/users", &invitation).await.expect(201).id();
    let path = format!("/v1/users/{id}/invite");
    for _ in 0..9 {
        admin.request("POST", &path).send().await.must(200);
    }
    // Whoever asks for the next one, from wherever and in whatever way.
    owner.request("POST", &path).send().await.must(429);
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let contact = json!({ "contacts": { "security": { "name": "Late", "email": email } } });
    owner.patch("/v1/tenant", &etag, &contact).await.must(429);
    owner.post(&format!("/v1/users/{id}/offboard"), &json!({ "reason": "Left" })).await.must(200);
    let again = json!({ "email": email.to_uppercase(), "name": "Late", "role": "viewer" });
    owner.post("/v1/users", &again).await.must(429);
    // The tenth arrives, and somebody else is invited as ever.
    tenant.invitation_to("late", 9).await;
    assert_eq!(stack.mails_to(&email).await.len(), 10);
    tenant.newcomer("somebody-else", Role::Viewer).await;
    tenant.finish().await;
}

#[tokio::test]
async fn only_mails_that_leave_are_counted_and_all_of_them() {
    let stack = Stack::load();
    let tenant = stack.tenant("counted", &[Role::Admin]).await;
    let (owner, admin) = (tenant.owner(), tenant.user(Role::Admin));
    // What is refused uses up nobody's count.
    let chief = json!({
        "email": tenant.address_of("chief"), "name": "Chief", "role": "super_admin",
    });
    for _ in 0..10 {
        admin.post("/v1/users", &chief).await.must(403);
    }
    owner.post("/v1/users", &chief).await.must(201);

    // Who is told each time that others receive in their place, too.
    let mut told = 0;
    for turn in 0..12 {
        let security = match turn % 2 {
            0 => json!({ "name": "Aide", "email": tenant.address_of(&format!("aide-{turn}")) }),
            _ => Value::Null,
        };
        let etag = owner.get("/v1/tenant").await.expect(200).etag();
        let patch = json!({ "contacts": { "security": security } });
        let answer = owner.patch("/v1/tenant", &etag, &patch).await;
        if answer.status == 429 {
            break;
        }
        answer.must(200);
        told += 1;
    }
    assert_eq!(told, 10, "ten to the primary contact");
    let locks = owner.get("/v1/audit?action=session.lock").await.expect(200).json();
    assert_eq!(locks["items"][0]["actor"]["id"], owner.claims()["sub"], "{locks}");
    assert_eq!(locks["items"].as_array().unwrap().len(), 1, "{locks}");
    tenant.finish().await;
}

#[tokio::test]
async fn the_first_super_admin_is_invited_again_by_the_operator() {
    let stack = Stack::load();
    let tenant = stack.unattended_tenant("unattended").await;
    let email = tenant.email_of(Role::SuperAdmin);
    let (slug, unchanged) = (tenant.slug(), json!({ "tenant": tenant.slug(), "created": false }));
    // While the invitation is open nobody is mailed twice.
    assert_eq!(tenant.provision_again().await, unchanged);
    let first = tenant.mailed_token(&email, "/invitations/").await;
    let past = keystone::clock::now().to_string();
    tenant.set_in_document("users", "email", &email, "invitation.expires_at", &past).await;
    tenant.accept(&first).await.must(401);
    let renewed = json!({ "tenant": slug, "created": false, "invited_again": true });
    assert_eq!(tenant.provision_again().await, renewed);
    assert_eq!(tenant.provision_again().await, unchanged);
    let second = tenant.mailed_token_after(&email, "/invitations/", 1).await;
    tenant.accept(&second).await.must(204);
    let owner = tenant.sign_in(Role::SuperAdmin).await;
    assert_eq!(tenant.provision_again().await, unchanged);
    let query = "/v1/audit?action=tenant.invite_again";
    let told = owner.get(query).await.expect(200).json()["items"].clone();
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told[0]["resource"]["id"], owner.claims()["sub"], "{told}");
    tenant.with_owner(owner).finish().await;
}

#[tokio::test]
async fn nobody_reaches_above_themselves() {
    let stack = Stack::load();
    let tenant = stack.tenant("ranks", &Role::ALL).await;
    let (owner, admin) = (tenant.owner(), tenant.user(Role::Admin));
    let viewer = tenant.user(Role::Viewer);

    // Nobody changes their own role, up or down, or offboards themselves;
    // their name they may change.
    for role in [Role::Admin, Role::Viewer] {
        set_role(owner, owner, role).await.must(403);
    }
    for role in [Role::SuperAdmin, Role::OpsUser] {
        set_role(admin, admin, role).await.must(403);
    }
    for manager in [owner, admin] {
        offboard(manager, manager, "Enough").await.must(403);
        let etag = manager.get(&path_of(manager)).await.expect(200).etag();
        let named = manager.patch(&path_of(manager), &etag, &json!({ "name": "Maeve" })).await;
        assert_eq!(named.expect(200).json()["name"], "Maeve");
    }

    // An admin has no power over super_admins and cannot make one.
    set_role(admin, owner, Role::Viewer).await.must(403);
    offboard(admin, owner, "Coup").await.must(403);
    let etag = admin.get(&path_of(owner)).await.expect(200).etag();
    admin.patch(&path_of(owner), &etag, &json!({ "name": "Nobody" })).await.must(403);
    set_role(admin, viewer, Role::SuperAdmin).await.must(403);
    set_role(admin, viewer, Role::Admin).await.must(200);
    set_role(admin, viewer, Role::Viewer).await.must(200);
    let peer = json!({ "email": "p@keystone.example", "name": "P", "role": "super_admin" });
    admin.post("/v1/users", &peer).await.must(403);

    // Nor can an admin readmit a super_admin who was offboarded.
    let invited = owner.post("/v1/users", &peer).await.expect(201).id();
    let path = format!("/v1/users/{invited}/offboard");
    owner.post(&path, &json!({ "reason": "Left" })).await.must(200);
    let lower = json!({ "email": "p@keystone.example", "name": "P", "role": "viewer" });
    admin.post("/v1/users", &lower).await.must(403);
    owner.post("/v1/users", &lower).await.must(201);

    // Changes need the version that was read.
    let blind = owner.request("PATCH", &path_of(viewer)).json(&json!({ "name": "V" })).send();
    blind.await.must(428);
    owner.patch(&path_of(viewer), "\"1\"", &json!({ "name": "V" })).await.must(412);
    let etag = owner.get(&path_of(viewer)).await.expect(200).etag();
    for body in
        [json!({ "role": "root" }), json!({ "email": "x@y.example" }), json!({ "name": "" })]
    {
        owner.patch(&path_of(viewer), &etag, &body).await.must(422);
    }
    owner.post(&format!("{}/offboard", path_of(viewer)), &json!({ "reason": "" })).await.must(422);
    tenant.finish().await;
}

/// How many active `super_admins` there are, as a fresh reading shows.
async fn super_admins(by: &Client) -> usize {
    let path = "/v1/users?role=super_admin&status=active";
    ids(&by.get(path).await.expect(200).json()).len()
}

#[tokio::test]
async fn of_two_super_admins_who_demote_each_other_one_is_left() {
    let stack = Stack::load();
    let tenant = stack.tenant("duel", &[]).await;
    let (owner, rival) = (tenant.owner(), tenant.newcomer("rival", Role::SuperAdmin).await);
    let rival = &rival;
    for round in 0..ROUNDS {
        let (etag, rivals) =
            (owner.get(&path_of(owner)).await.etag(), owner.get(&path_of(rival)).await.etag());
        let change = json!({ "role": "admin" });
        let (paths, body) = ([path_of(rival), path_of(owner)], &change);
        let (first, second) = futures::join!(
            owner.patch(&paths[0], &rivals, body),
            rival.patch(&paths[1], &etag, body),
        );
        let (winner, loser) = match (first.status, second.status) {
            (200, 403) => (owner, rival),
            (403, 200) => (rival, owner),
            other => panic!("{other:?} in round {round}: {first}, {second}"),
        };
        assert_eq!(super_admins(winner).await, 1, "round {round}");
        loser.get("/v1/users").await.must(200);
        set_role(winner, loser, Role::SuperAdmin).await.must(200);
    }

    // The same when one of them offboards the other.
    let third = tenant.newcomer("third", Role::SuperAdmin).await;
    let (path, etag) = (path_of(&third), owner.get(&path_of(&third)).await.expect(200).etag());
    let change = json!({ "role": "viewer" });
    let (demotion, offboarding) =
        futures::join!(rival.patch(&path, &etag, &change), offboard(&third, rival, "Duel"));
    let mut statuses = [demotion.status, offboarding.status];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200, "{demotion}, {offboarding}");
    assert!([401, 403].contains(&statuses[1]), "{demotion}, {offboarding}");
    assert_eq!(super_admins(owner).await, 2);
    tenant.finish().await;
}

#[tokio::test]
async fn users_are_listed_by_role_and_status_and_in_pages() {
    let stack = Stack::load();
    let (tenant, other) = futures::join!(
        stack.tenant("listed", &[Role::Admin, Role::Viewer]),
        stack.tenant("elsewhere", &[])
    );
    let (owner, admin) = (tenant.owner(), tenant.user(Role::Admin));
    let invited = json!({ "email": "i@keystone.example", "name": "I", "role": "viewer" });
    let invited = owner.post("/v1/users", &invited).await.expect(201).id();
    let viewer = id_of(tenant.user(Role::Viewer));

    let mut seen = Vec::new();
    let mut path = "/v1/users?limit=1".to_owned();
    loop {
        let page = admin.get(&path).await.expect(200).json();
        assert_eq!(ids(&page).len(), 1);
        seen.extend(ids(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/users?limit=1&cursor={cursor}");
    }
    assert_eq!(seen[0], invited, "newest first");
    let all: HashSet<String> = [id_of(owner), id_of(admin), viewer.clone(), invited.clone()].into();
    assert_eq!((seen.len(), seen.into_iter().collect::<HashSet<_>>()), (4, all));

    for (query, wanted) in [
        ("role=viewer", vec![&invited, &viewer]),
        ("role=viewer&status=active", vec![&viewer]),
        ("status=invited", vec![&invited]),
        ("role=demo", vec![]),
        ("status=deactivated", vec![]),
    ] {
        let page = owner.get(&format!("/v1/users?{query}")).await.expect(200).json();
        assert_eq!(ids(&page).iter().collect::<Vec<_>>(), wanted, "{query}");
    }
    for query in ["role=root", "status=gone", "limit=0", "cursor=%21", "email=x"] {
        owner.get(&format!("/v1/users?{query}")).await.must(422);
    }
    let shown = admin.get(&format!("/v1/users/{viewer}")).await.expect(200);
    let fields: HashSet<String> = shown.json().as_object().unwrap().keys().cloned().collect();
    let wanted = [
        "id",
        "email",
        "name",
        "role",
        "status",
        "second_factor",
        "version",
        "created_at",
        "updated_at",
    ];
    assert_eq!(fields, wanted.map(str::to_owned).into(), "no secret among them");

    // Another tenant's users are nobody here.
    let theirs = path_of(other.owner());
    owner.get(&theirs).await.must(404);
    owner.patch(&theirs, "\"2\"", &json!({ "role": "viewer" })).await.must(404);
    owner.post(&format!("{theirs}/offboard"), &json!({ "reason": "Spite" })).await.must(404);
    other.finish().await;
    tenant.finish().await;
}

#[tokio::test]
async fn roles_are_shown_with_the_matrix_and_their_holders() {
    let stack = Stack::load();
    let tenant = stack.tenant("roles", &[Role::Admin, Role::Viewer]).await;
    let leaver = tenant.newcomer("leaver", Role::Viewer).await;
    offboard(tenant.owner(), &leaver, "Left").await.must(200);
    let shown = tenant.user(Role::Admin).get("/v1/roles").await.expect(200).json();
    let roles = shown["roles"].as_array().unwrap();
    assert_eq!(roles.len(), Role::ALL.len());
    for (role, view) in Role::ALL.iter().zip(roles) {
        assert_eq!(view["role"], role.name());
        let grants: Vec<Value> = Permission::ALL
            .iter()
            .map(|permission| json!({ "permission": permission, "grant": permission.grant(*role) }))
            .collect();
        assert_eq!(view["grants"], Value::Array(grants));
        let held = [Role::SuperAdmin, Role::Admin, Role::Viewer].contains(role);
        let users = if held {
            let user = tenant.user(*role);
            let name = if *role == Role::SuperAdmin { "Orla Byrne" } else { "Test Person" };
            json!([{ "id": id_of(user), "name": name, "status": "active" }])
        } else {
            json!([])
        };
        assert_eq!((&view["users"], &view["user_count"]), (&users, &json!(usize::from(held))));
    }
    tenant.finish().await;
}
