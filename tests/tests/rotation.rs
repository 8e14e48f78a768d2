//! Rotation of the session secret (claim C9): the deployed function's own
//! binary, on a secret of the test's, and once as deployed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::{SignedDuration, Timestamp};
use keystone::auth::rotation::{ROTATE_AFTER, SETTLES_AFTER};
use keystone::auth::session::LIFETIME;
use keystone::auth::token::{Claims, Parties, SigningKeys};
use keystone::clock;
use keystone::tenant::Id;
use keystone_tests::runtime_api::Function;
use keystone_tests::{Stack, stack};
use serde_json::{Map, Value, json};

const PARTIES: Parties<'static> = Parties { issuer: "keystone", audience: "test" };

fn token(secret: &str, now: Timestamp) -> String {
    let claims = Claims {
        iss: PARTIES.issuer.into(),
        aud: PARTIES.audience.into(),
        sub: Id::from_u128(1),
        tid: "acme-dairy".into(),
        role: "viewer".into(),
        sid: Id::from_u128(2),
        amr: vec!["pwd".into()],
        iat: now.as_second(),
        exp: (now + LIFETIME).as_second(),
    };
    SigningKeys::from_secret_json(secret).unwrap().sign(&claims).unwrap()
}

fn lives(token: &str, secret: &str, now: Timestamp) -> bool {
    SigningKeys::from_secret_json(secret).unwrap().verify(token, PARTIES, now).is_ok()
}

/// The secret as if its notes were `by` older.
fn aged(secret: &str, by: SignedDuration) -> String {
    let mut members: Map<String, Value> = serde_json::from_str(secret).unwrap();
    for note in ["current_since", "next_since"] {
        if let Some(since) = members.get_mut(note) {
            let second: i64 = since.as_str().unwrap().parse().unwrap();
            *since = json!((second - by.as_secs()).to_string());
        }
    }
    Value::Object(members).to_string()
}

#[tokio::test]
async fn a_rotation_overlaps() {
    let stack = Stack::load();
    let aws = stack.aws();
    let name = format!("rotation-test-{:08x}", u32::from_be_bytes(stack::random()));
    let old_key = "0123456789abcdef0123456789abcdef";
    aws.make_secret(&name, &format!(r#"{{"current":"k1","k1":"{old_key}"}}"#)).await;
    let mut environment = stack.environment("rotate-session-secret").await;
    environment.insert("SESSION_SECRET".into(), name.clone());
    let binary = keystone_tests::runtime_api::build_directory().join("rotate-session-secret");

    let now = clock::now();
    let old = token(&aws.secret(&name).await, now);
    let mut steps = Vec::new();
    let second = SignedDuration::from_secs(1);
    for age in [
        SignedDuration::ZERO,
        SignedDuration::ZERO,
        SETTLES_AFTER - second * 30,
        second * 30,
        LIFETIME,
        SETTLES_AFTER,
        ROTATE_AFTER,
    ] {
        aws.put_secret(&name, &aged(&aws.secret(&name).await, age)).await;
        // A new process, which has read nothing yet; so a killed one changes
        // nothing about this.
        let mut function = Function::start(&binary, &environment).await;
        steps.push(function.invoke(&json!({})).await["step"].as_str().unwrap().to_owned());
        let secret = aws.secret(&name).await;
        let retired = steps.contains(&"retired".to_owned());
        assert_eq!(lives(&old, &secret, now), !retired, "{steps:?}");
        assert_eq!(secret.contains(old_key), !retired);
    }
    assert_eq!(steps, ["announced", "none", "none", "promoted", "none", "retired", "announced"]);
    aws.delete_secret(&name).await;
}

#[tokio::test]
async fn no_session_is_lost_when_the_deployed_function_runs() {
    let stack = Stack::load();
    let tenant = stack.tenant("rotated", &[]).await;
    let function = stack.function("rotate-session-secret");
    // Whichever step is due: the stack may be old enough for any.
    let ran = stack.aws().invoke(&function, &json!({})).await;
    assert!(ran["step"].is_string(), "{ran}");
    tenant.owner().get("/v1/products").await.must(200);
    tenant.sign_in(keystone::auth::Role::SuperAdmin).await.get("/v1/products").await.must(200);
    tenant.finish().await;
}
