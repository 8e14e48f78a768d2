//! The address in the audit trail is the one that API Gateway saw, whatever a
//! client writes into headers.

use keystone::auth::Role;
use keystone_tests::event::Event;
use keystone_tests::runtime_api::Function;
use keystone_tests::{Stack, samples};
use serde_json::json;

#[tokio::test]
async fn headers_do_not_move_the_source_address() {
    let stack = Stack::load();
    let tenant = stack.tenant("address", &[Role::OpsUser]).await;
    let mut function = Function::deployed(&stack, "create-product").await;
    let event = Event::new("POST", "/v1/products", &[], "192.0.2.7".parse().unwrap())
        .token(tenant.user(Role::OpsUser).token())
        .header("X-Forwarded-For", "198.51.100.9")
        .header("Forwarded", "for=198.51.100.9")
        .header("X-Real-IP", "198.51.100.9")
        .json(&samples::product());
    let created = function.request(&event).await;
    assert_eq!(created.status, 201, "{}", created.body);

    let id = created.body["id"].as_str().unwrap();
    let found = tenant.owner().get(&format!("/v1/audit?resource_id={id}")).await.expect(200).json();
    assert_eq!(found["items"][0]["source_ip"], "192.0.2.7");
    assert_eq!(found["items"][0]["user_agent"], "keystone-tests");
    let by_address = tenant.owner().get("/v1/audit?ip=198.51.100.9").await.expect(200).json();
    assert_eq!(by_address["items"].as_array().unwrap().len(), 0);
    // The harness sent this request past the gateway, so it vouches for it.
    tenant.vouch_for(&event.request_id());
    tenant.finish().await;
}

#[tokio::test]
async fn no_header_gives_a_guesser_another_address() {
    let stack = Stack::load();
    let mut login = Function::deployed(&stack, "login").await;
    let address = keystone_tests::stack::address();
    let mut statuses = Vec::new();
    for n in 0..12 {
        // Another account and other headers each time.
        let nobody = format!("nobody-{n}@keystone.example");
        let guess = json!({ "tenant": "no-such-tenant", "email": nobody, "password": "guess" });
        let forwarded = format!("198.51.100.{n}");
        let event = Event::new("POST", "/v1/auth/login", &[], address)
            .header("X-Forwarded-For", &forwarded)
            .header("Forwarded", &format!("for={forwarded}"))
            .header("True-Client-IP", &forwarded)
            .json(&guess);
        statuses.push(login.request(&event).await.status);
    }
    assert_eq!(statuses, [[401; 10].as_slice(), &[429; 2]].concat());
}
