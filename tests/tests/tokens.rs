//! Tokens that are not what they say.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keystone::auth::Role;
use keystone_tests::{Client, Stack, samples};
use serde_json::Value;

/// The key that signs sessions, which nobody outside has.
struct SigningKey {
    id: String,
    key: Vec<u8>,
}

impl SigningKey {
    async fn of(stack: &Stack) -> Self {
        let arn = stack.environment("get-product").await.remove("SESSION_SECRET").unwrap();
        let secret: Value = serde_json::from_str(&stack.aws().secret(&arn).await).unwrap();
        let id = secret["current"].as_str().unwrap().to_owned();
        let key = secret[&id].as_str().unwrap().as_bytes().to_vec();
        Self { id, key }
    }

    fn header(&self) -> String {
        format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{}"}}"#, self.id)
    }

    fn sign(&self, claims: &Value) -> String {
        token(&self.header(), claims, &self.key)
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token in JWS compact form, signed with HMAC-SHA-256.
fn token(header: &str, claims: &Value, key: &[u8]) -> String {
    let input = format!("{}.{}", encode(header), encode(claims.to_string()));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), input.as_bytes());
    format!("{input}.{}", encode(signature))
}

fn with(claims: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims.clone();
    claims[name] = value.into();
    claims
}

async fn status(client: &Client, token: &str) -> u16 {
    client.with_token(token).get("/v1/products").await.status
}

#[tokio::test]
async fn only_a_token_of_ours_for_a_living_session_is_accepted() {
    let stack = Stack::load();
    let (tenant, other) =
        futures::join!(stack.tenant("tokens", &[Role::Viewer]), stack.tenant("others", &[]));
    let key = SigningKey::of(&stack).await;
    let client = tenant.user(Role::Viewer);
    let (genuine, claims) = (client.token(), client.claims());
    // What the test signs with the right key is accepted: the refusals below
    // are not for the test's own mistakes.
    assert_eq!(status(client, genuine).await, 200);
    assert_eq!(status(client, &key.sign(&claims)).await, 200);

    let [header, payload, signature]: [&str; 3] =
        genuine.split('.').collect::<Vec<_>>().try_into().unwrap();
    let promoted = encode(with(&claims, "role", "super_admin").to_string());
    let moved = encode(with(&claims, "tid", other.slug()).to_string());
    let none = encode(r#"{"alg":"none","typ":"JWT"}"#);
    let rs256 = format!(r#"{{"alg":"RS256","typ":"JWT","kid":"{}"}}"#, key.id);
    let now = keystone::clock::now().as_second();
    let nobody = "01890000-0000-7000-8000-000000000000";
    let refused = [
        ("no token", String::new()),
        ("no JWT", "secret".into()),
        ("unsigned", format!("{header}.{payload}.")),
        ("without signature", format!("{header}.{payload}")),
        ("role changed", format!("{header}.{promoted}.{signature}")),
        ("tenant changed", format!("{header}.{moved}.{signature}")),
        ("signature cut", format!("{header}.{payload}.{}", &signature[1..])),
        ("alg none", format!("{none}.{payload}.")),
        ("alg none, signed", format!("{none}.{payload}.{signature}")),
        ("RS256", format!("{}.{payload}.{signature}", encode(&rs256))),
        ("RS256 in the header, HMAC by our key", token(&rs256, &claims, &key.key)),
        ("another key", token(&key.header(), &claims, &[7; 64])),
        ("empty key", token(&key.header(), &claims, b"")),
        ("unknown key id", token(r#"{"alg":"HS256","typ":"JWT","kid":"k0"}"#, &claims, &key.key)),
        (
            "key by address",
            token(
                &format!(
                    r#"{{"alg":"HS256","typ":"JWT","kid":"{}","jku":"https://attacker.example"}}"#,
                    key.id
                ),
                &claims,
                &key.key,
            ),
        ),
        ("expired", key.sign(&with(&claims, "exp", now - 1))),
        ("from the future", key.sign(&with(&claims, "iat", now + 3600))),
        ("of another issuer", key.sign(&with(&claims, "iss", "https://attacker.example"))),
        ("for another audience", key.sign(&with(&claims, "aud", "another-api"))),
        ("unknown session", key.sign(&with(&claims, "sid", nobody))),
        ("another user", key.sign(&with(&claims, "sub", nobody))),
        ("another tenant", key.sign(&with(&claims, "tid", other.slug()))),
        ("more claims than ours", key.sign(&with(&claims, "admin", true))),
        ("too long", key.sign(&with(&claims, "aud", "x".repeat(8000)))),
    ];
    for (what, token) in refused {
        let answer = client.with_token(&token).get("/v1/products").await;
        assert_eq!(answer.status, 401, "{what}: {answer}");
        assert_eq!(answer.json()["type"], "urn:keystone:problem:unauthenticated", "{what}");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{what}");
    }
    // The stored user says what the role is, not the token.
    let promoted = client.with_token(&key.sign(&with(&claims, "role", "super_admin")));
    let written = promoted.post("/v1/products", &samples::product()).await;
    assert!([401, 403].contains(&written.status), "{written}");

    let stranger = tenant.stranger();
    for value in ["", "Basic YTpi", genuine, "Bearer", "Bearer  ", "Digest x"] {
        stranger
            .request("GET", "/v1/products")
            .header("authorization", value)
            .send()
            .await
            .must(401);
    }
    stranger.get("/v1/products").await.must(401);
    tenant.finish().await;
    other.finish().await;
}
