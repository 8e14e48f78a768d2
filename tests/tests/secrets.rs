//! No secret stands in anything that the stack writes but where it must.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use keystone::auth::Role;
use keystone::clock;
use keystone_tests::authenticator::decode;
use keystone_tests::exports::{ask, fetch};
use keystone_tests::subject_requests::{bundle, in_progress};
use keystone_tests::verdicts::{Folder, pdftotext};
use keystone_tests::{Answer, Client, Stack, Tenant};
use serde_json::{Value, json};

const OTHER: &str = "Nine herons above the sluice gate";

fn sha256(text: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// The text of every kind of file that is handed out: exports of the audit
/// trail, and what a user gets who asks what is held of them.
async fn handed_out(stack: &Stack, tenant: &Tenant<'_>, user: &Client) -> [String; 2] {
    let owner = tenant.owner();
    let mut exports = Vec::new();
    for format in ["jsonl", "csv", "pdf"] {
        let export = ask(owner, format, &json!({})).await;
        exports.extend(fetch(stack, owner, &export).await.into_iter().map(|file| file.bytes));
    }
    let user = user.claims()["sub"].as_str().unwrap().to_owned();
    let (path, _) = in_progress(owner, "access", "user", &user).await;
    let (_, own) = bundle(stack, owner, &path).await;
    assert_eq!((exports.len(), own.len()), (3, 4));
    let folder = Folder::new("secrets");
    [exports, own.into_values().collect()].map(|files| {
        let texts = files.into_iter().map(|bytes| {
            let text = if bytes.starts_with(b"%PDF") {
                pdftotext(&folder.file("handed-out.pdf", &bytes))
            } else {
                String::from_utf8(bytes).unwrap()
            };
            assert!(!text.is_empty(), "a file says nothing");
            text
        });
        texts.collect()
    })
}

/// The secrets of the deployment itself: every key that signs sessions, every
/// pepper, how the database is reached, and what the isolation probe signs in
/// with.
async fn of_the_deployment(stack: &Stack) -> Vec<String> {
    let mut environment = stack.environment("login").await;
    environment.extend(stack.environment("probe-isolation").await);
    let mut secrets = Vec::new();
    for name in ["SESSION_SECRET", "PEPPER_SECRET", "MONGODB_SECRET", "CANARY_SECRET"] {
        let text = stack.aws().secret(&environment[name]).await;
        match serde_json::from_str::<BTreeMap<String, String>>(&text) {
            Ok(keys) => secrets.extend(keys.into_iter().filter_map(|(id, key)| {
                // Which of them is in use, and since when, is no secret.
                (key.len() >= 32).then_some(key).inspect(|_| assert_ne!(id, "current"))
            })),
            Err(_) => secrets.push(text),
        }
    }
    assert!(secrets.len() >= 4, "each was found");
    secrets
}

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
    let active_seed = tenant.app_seed(&email).await;
    let asked = tenant.stranger().post("/v1/auth/login", &tenant.credentials_of(&email)).await;
    let challenge = asked.expect(200).json()["mfa"]["challenge"].as_str().unwrap().to_owned();
    let shown = json!({ "challenge": challenge, "code": recovery_codes[3] });
    let again = tenant.stranger().post("/v1/auth/mfa", &shown).await.expect(200).json();
    secrets.extend([challenge, again["token"].as_str().unwrap().to_owned()]);
    let moved = tenant.address_of("moved");
    let wanted = json!({ "email": moved, "password": secrets[0] });
    signed_in.post("/v1/auth/email", &wanted).await.must(204);
    let change = tenant.mailed_token(&moved, "/email-change/").await;
    let account = json!({ "tenant": tenant.slug(), "email": email });
    tenant.stranger().post("/v1/auth/password-reset", &account).await.must(204);
    let reset = tenant.mailed_token(&email, "/password-reset/").await;
    let chosen = json!({ "tenant": tenant.slug(), "token": reset, "password": OTHER });
    tenant.stranger().post("/v1/auth/password-reset/confirm", &chosen).await.must(204);
    let invitation = tenant.mailed_token(&email, "/invitations/").await;
    // What is stored of these stands where it is looked up, and nowhere else.
    let mut hashes: Vec<String> = [&reset, &invitation].map(|token| sha256(token)).into();
    hashes.extend(recovery_codes.iter().map(|code| sha256(&code.replace('-', ""))));
    hashes.push(sha256(&change));
    secrets.extend([reset.clone(), invitation.clone(), change, moved.clone()]);

    // Also what is refused, whatever refuses it.
    let guess = "Sunken lanterns 77";
    secrets.push(guess.to_owned());
    let owner = tenant.owner();
    let stranger = tenant.stranger();
    let with_token = |token: &str, password: &str| json!({ "tenant": tenant.slug(), "token": token, "password": password });
    let login = json!({ "tenant": tenant.slug(), "email": email, "password": guess });
    let answer = json!({ "challenge": shown["challenge"], "code": recovery_codes[4] });
    let change = json!({ "current_password": guess, "new_password": OTHER });
    let unknown = json!({ "password": guess, "secret": guess });
    let refusals: [(&Client, &str, Value, u16); 9] = [
        (&stranger, "/v1/auth/login", login, 401),
        (&stranger, "/v1/auth/mfa", answer, 401),
        (&stranger, "/v1/auth/password-reset/confirm", with_token(&reset, guess), 401),
        (&stranger, "/v1/auth/password-reset/confirm", with_token(&reset, ""), 422),
        (&stranger, "/v1/invitations/accept", with_token(&invitation, guess), 401),
        (owner, "/v1/auth/password", change, 422),
        (owner, "/v1/auth/reauthenticate", json!({ "password": guess, "code": "000000" }), 401),
        (owner, "/v1/mfa/totp", unknown, 422),
        (&signed_in, "/v1/auth/logout", json!({}), 401),
    ];
    let mut refused: Vec<Answer> = Vec::new();
    for (client, path, body, status) in &refusals {
        refused.push(client.post(path, body).await.expect(*status));
    }

    let path = format!("/v1/users/{}", viewer.claims()["sub"].as_str().unwrap());
    let mut answers = String::new();
    for answer in refused {
        answers.push_str(&String::from_utf8(answer.body).unwrap());
    }
    for path in [path.as_str(), "/v1/users", "/v1/roles", "/v1/tenant", "/v1/auth/sessions"] {
        answers.push_str(&owner.get(path).await.expect(200).json().to_string());
    }
    for entry in tenant.audit_trail().await {
        answers.push_str(&entry.to_string());
    }
    let [exports, own] = handed_out(&stack, &tenant, viewer).await;
    // Their own address is in what they get of themselves.
    answers.extend([exports, own.replace(&moved, "")]);
    let logs = stack.logs(begun).await;
    assert!(logs.contains("finish-login") && logs.contains(tenant.slug()), "the logs were found");
    let mut tables = stack.aws().items(stack.value("SESSION_TABLE")).await;
    tables.push_str(&stack.aws().items(stack.value("THROTTLE_TABLE")).await);
    let dump = stack.dump().await;
    assert!(dump.holds(email.as_bytes()), "the right database was read");

    secrets.extend(of_the_deployment(&stack).await);
    for secret in secrets.iter().chain([&unused_seed, &active_seed]) {
        assert!(!logs.contains(secret.as_str()), "in the logs: {secret}");
        assert!(!answers.contains(secret.as_str()), "in an answer: {secret}");
        assert!(!tables.contains(secret.as_str()), "in a table: {secret}");
        assert!(!dump.holds(secret.as_bytes()), "in the database: {secret}");
    }
    for seed in [&unused_seed, &active_seed] {
        assert!(!dump.holds(&decode(seed)), "a seed is in the database");
    }
    for hash in &hashes {
        let elsewhere = [&logs, &answers, &tables].into_iter().any(|text| text.contains(hash));
        let looked_up_in = ["users", "mailed_tokens", "oplog.rs"];
        assert!(!elsewhere && !dump.holds_but_in(&looked_up_in, hash.as_bytes()), "{hash}");
    }
    // The hashes were made as the stack makes them.
    assert!(dump.holds(hashes[0].as_bytes()) && dump.holds(hashes[11].as_bytes()));
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
