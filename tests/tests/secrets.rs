//! No secret stands in anything that the stack writes but where it must.

use keystone::auth::Role;
use keystone::clock;
use keystone_tests::Stack;
use keystone_tests::authenticator::decode;
use serde_json::json;

const OTHER: &str = "Nine herons above the sluice gate";

#[tokio::test]
async fn no_secret_is_written_down() {
    let stack = Stack::load();
    let begun = clock::now();
    let tenant = stack.tenant("secrets", &[Role::Viewer]).await;
    let (viewer, email) = (tenant.user(Role::Viewer), tenant.email_of(Role::Viewer));
    let first = tenant.credentials(Role::Viewer)["password"].as_str().unwrap().to_owned();
    let mut secrets = vec![first, OTHER.to_owned(), viewer.token().to_owned()];

    // Everything that can be secret about an account comes into being.
    let begun_seed = tenant.begin_app(viewer).await.expect(200).json();
    let unused_seed = begun_seed["secret"].as_str().unwrap().to_owned();
    let (signed_in, recovery_codes) = tenant.set_up_app(viewer, &email).await;
    secrets.push(signed_in.token().to_owned());
    secrets.extend(recovery_codes.iter().cloned());
    secrets.extend(recovery_codes.iter().map(|code| code.replace('-', "")));
    let asked = tenant.stranger().post("/v1/auth/login", &tenant.credentials_of(&email)).await;
    let challenge = asked.expect(200).json()["mfa"]["challenge"].as_str().unwrap().to_owned();
    let shown = json!({ "challenge": challenge, "code": recovery_codes[3] });
    let again = tenant.stranger().post("/v1/auth/mfa", &shown).await.expect(200).json();
    secrets.extend([challenge, again["token"].as_str().unwrap().to_owned()]);
    let account = json!({ "tenant": tenant.slug(), "email": email });
    tenant.stranger().post("/v1/auth/password-reset", &account).await.must(204);
    let reset = tenant.mailed_token(&email, "/password-reset/").await;
    let chosen = json!({ "tenant": tenant.slug(), "token": reset, "password": OTHER });
    tenant.stranger().post("/v1/auth/password-reset/confirm", &chosen).await.must(204);
    secrets.extend([reset, tenant.mailed_token(&email, "/invitations/").await]);
    // Also what is refused.
    let wrong =
        json!({ "tenant": tenant.slug(), "email": email, "password": "Sunken lanterns 77" });
    let refused = tenant.stranger().post("/v1/auth/login", &wrong).await.expect(401);
    secrets.push("Sunken lanterns 77".to_owned());

    let owner = tenant.owner();
    let path = format!("/v1/users/{}", viewer.claims()["sub"].as_str().unwrap());
    let mut answers = String::from_utf8(refused.body).unwrap();
    for path in [path.as_str(), "/v1/users", "/v1/roles", "/v1/tenant", "/v1/auth/sessions"] {
        answers.push_str(&owner.get(path).await.expect(200).json().to_string());
    }
    for entry in tenant.audit_trail().await {
        answers.push_str(&entry.to_string());
    }
    let logs = stack.logs(begun).await;
    assert!(logs.contains("finish-login") && logs.contains(tenant.slug()), "the logs were found");
    let mut tables = stack.aws().items(stack.value("SESSION_TABLE")).await;
    tables.push_str(&stack.aws().items(stack.value("THROTTLE_TABLE")).await);
    let dump = stack.dump().await;
    assert!(dump.holds(email.as_bytes()), "the right database was read");

    for secret in secrets.iter().chain([&unused_seed]) {
        assert!(!logs.contains(secret.as_str()), "in the logs: {secret}");
        assert!(!answers.contains(secret.as_str()), "in an answer: {secret}");
        assert!(!tables.contains(secret.as_str()), "in a table: {secret}");
        assert!(!dump.holds(secret.as_bytes()), "in the database: {secret}");
    }
    assert!(!dump.holds(&decode(&unused_seed)), "a seed is in the database");
    // Hashes stand with their user (and in the log that the database replicates
    // by) and nowhere else; no token of anybody's
    // stands in the logs.
    for hash in ["$2b$", "$2a$"] {
        assert!(!logs.contains(hash) && !answers.contains(hash) && !tables.contains(hash));
        assert!(!dump.holds_but_in(&["users", "oplog.rs"], hash.as_bytes()));
    }
    assert!(!logs.contains("eyJhbGciOi") && !dump.holds(b"eyJhbGciOi"));
    tenant.finish().await;
}
