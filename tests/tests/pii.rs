//! Two hundred values of personal data, used in every way there is, and then
//! looked for in everything that the stack wrote.

use keystone::audit::merkle::Hash;
use keystone::auth::Role;
use keystone::clock;
use keystone_tests::{Stack, samples};
use serde_json::json;

/// Customers with an address and a phone each, and suppliers with an account and
/// the address of their contact.
const CUSTOMERS: usize = 90;
const SUPPLIERS: usize = 20;

/// A hash over parts with their lengths in front, as some are made here.
fn of_parts(parts: &[&str]) -> Hash {
    let framed: Vec<u8> = parts
        .iter()
        .flat_map(|part| [&(part.len() as u64).to_be_bytes(), part.as_bytes()].concat())
        .collect();
    Hash::of(&[&framed])
}

#[tokio::test]
async fn no_sealed_value_is_written_down() {
    let stack = Stack::load();
    let begun = clock::now();
    let tenant = stack.tenant("pii", &[Role::Admin, Role::Viewer]).await;
    let (admin, viewer) = (tenant.user(Role::Admin), tenant.user(Role::Viewer));
    let (mut values, mut sent) = (Vec::new(), Vec::new());
    for n in 0..CUSTOMERS {
        let line = format!("{} Xylograph Crescent {}", n + 1, samples::gtin());
        let phone = format!("+35389{}", &samples::gtin()[..9]);
        let new = samples::customer(&line, &phone);
        let mut create = admin.request("POST", "/v1/customers").json(&new);
        // Some with an answer that is kept.
        if n % 3 == 0 {
            create = create.header("idempotency-key", &format!("pii-{n}"));
            sent.push(new.to_string());
        }
        let created = create.send().await.expect(201);
        let path = format!("/v1/customers/{}", created.id());
        if n % 10 == 0 {
            let shown = admin.get(&path).await.expect(200);
            assert_eq!(shown.json()["phone"], phone);
            assert!(!viewer.get(&path).await.expect(200).json().to_string().contains(&line));
            let found = phone.replace('+', "00");
            admin.get(&format!("/v1/customers?phone={found}")).await.must(200);
            let changed = format!("+35388{}", &samples::gtin()[..9]);
            admin.patch(&path, &shown.etag(), &json!({ "phone": changed })).await.must(200);
            values.push(changed);
        }
        values.extend([line, phone]);
    }
    for n in 0..SUPPLIERS {
        let iban = samples::iban();
        let email = format!("xylo{}@graph.example", samples::gtin());
        let mut new = samples::supplier(&iban);
        new["email"] = email.clone().into();
        let created = admin.post("/v1/suppliers", &new).await.expect(201);
        let path = format!("/v1/suppliers/{}", created.id());
        let shown = admin.get(&path).await.expect(200);
        assert_eq!(shown.json()["email"], email);
        assert!(!viewer.get(&path).await.expect(200).json().to_string().contains(&email[5..]));
        admin.get(&format!("/v1/suppliers?iban={iban}")).await.must(200);
        if n % 5 == 0 {
            let changed = format!("xylo{}@graph.example", samples::gtin());
            admin.patch(&path, &shown.etag(), &json!({ "email": changed })).await.must(200);
            values.push(changed);
        }
        values.extend([iban, email]);
    }
    // Refused ones leave no more behind than accepted ones.
    let refused = "+353 89 not a number 4711";
    admin.post("/v1/customers", &samples::customer("1 Refused Row 4711", refused)).await.must(422);
    values.extend([refused.to_owned(), "1 Refused Row 4711".to_owned()]);
    let rotate = json!({ "tenant": tenant.slug(), "rotate": true });
    stack.aws().invoke(stack.value("MAINTAIN_KEYS_FUNCTION"), &rotate).await;
    assert!(values.len() >= 200, "{}", values.len());

    let logs = stack.logs(begun).await;
    assert!(logs.contains("create-customer") && logs.contains(tenant.slug()), "logs were found");
    let mut tables = stack.aws().items(stack.value("SESSION_TABLE")).await;
    tables.push_str(&stack.aws().items(stack.value("THROTTLE_TABLE")).await);
    tables.push_str(&stack.aws().items(stack.value("SUBJECT_KEY_TABLE")).await);
    let dump = stack.dump().await;
    assert!(dump.holds(b"Corner Shop"), "the right database was read");
    let mut trail = String::new();
    for entry in tenant.audit_trail().await {
        trail.push_str(&entry.to_string());
    }
    for value in &values {
        // The parts that would still tell: an account or a number without its prefix.
        for part in [value.as_str(), &value[5..]] {
            assert!(!logs.contains(part), "in the logs: {part}");
            assert!(!tables.contains(part), "in a table: {part}");
            assert!(!trail.contains(part), "in the audit trail: {part}");
            assert!(!dump.holds(part.as_bytes()), "in the database: {part}");
        }
    }
    // Whoever knows most of a value tries the rest against a hash of it, so there
    // is none without a key: neither of a value nor of a whole request.
    let bare = values.iter().chain(&sent).map(|text| Hash::of(&[text.as_bytes()]));
    let hashes: Vec<Hash> = bare.chain(sent.iter().map(|body| of_parts(&["", "", body]))).collect();
    for hash in &hashes {
        assert!(!dump.holds(hash.to_string().as_bytes()), "a hash is in the database");
        assert!(!dump.holds(&hash.0), "a hash is in the database");
    }
    println!("{} values in no log, table, audit entry or document", values.len());
    tenant.finish().await;
}
