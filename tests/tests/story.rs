//! The main job, end to end: a supplier's bank account that nobody finds in
//! the database, lots whose every change is recorded, and a signed report.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use jiff::{SignedDuration, Timestamp};
use keystone::auth::Role;
use keystone_tests::verdicts::{Folder, pdfsig, pyhanko};
use keystone_tests::{Stack, Tenant, exports, samples, stack};
use serde_json::{Value, json};

#[tokio::test]
async fn the_main_job() {
    let stack = Stack::load();
    let tenant = stack.tenant("story", &[Role::Admin, Role::OpsUser, Role::Viewer]).await;
    sealed_data_is_shown_by_role_and_found_nowhere(&stack, &tenant).await;
    each_change_of_a_lot_is_recorded(&tenant).await;
    a_report_is_signed_and_shows_any_change(&stack, &tenant).await;
    tenant.finish().await;
}

async fn sealed_data_is_shown_by_role_and_found_nowhere(stack: &Stack, tenant: &Tenant<'_>) {
    let (admin, viewer) = (tenant.user(Role::Admin), tenant.user(Role::Viewer));
    let ops_user = tenant.user(Role::OpsUser);
    let iban = samples::iban();
    let phone = format!("+3538{:010}", u32::from_be_bytes(stack::random()));
    let line1 = format!("{:08x} Quillback Mews", u32::from_be_bytes(stack::random()));

    let supplier = admin.post("/v1/suppliers", &samples::supplier(&iban)).await.expect(201).id();
    let path = format!("/v1/suppliers/{supplier}");
    let clear = admin.get(&path).await.expect(200).json();
    assert_eq!(clear["banking"]["iban"], iban);
    assert_eq!(clear["banking"]["account_holder"], "Hollow Farm Ltd");
    // The address of a contact is not banking metadata: ops_user may see it.
    assert_eq!(clear["email"], "office@hollow-farm.example");
    for (shown, email, masked) in [
        (viewer.get(&path).await, "o*****@*******************", true),
        (ops_user.get(&path).await, "office@hollow-farm.example", false),
    ] {
        let shown = shown.expect(200).json();
        assert_eq!((&shown["email"], &shown["masked"]), (&json!(email), &json!(masked)));
        let banking = shown["banking"].clone();
        let stars = "*".repeat(iban.len() - 6);
        let shown = format!("MT{stars}{}", &iban[iban.len() - 4..]);
        assert_eq!(banking, json!({ "iban": shown, "masked": true }));
    }

    let customer =
        admin.post("/v1/customers", &samples::customer(&line1, &phone)).await.expect(201).id();
    let path = format!("/v1/customers/{customer}");
    for clear in [admin.get(&path).await, ops_user.get(&path).await] {
        let clear = clear.expect(200).json();
        assert_eq!(
            (&clear["phone"], &clear["delivery_address"]["line1"]),
            (&json!(phone), &json!(line1))
        );
    }
    let masked = viewer.get(&path).await.expect(200).json();
    assert_eq!(masked["delivery_address"], json!({ "country": "IE" }));
    assert_eq!(
        masked["phone"],
        format!("{}{}", "*".repeat(phone.len() - 2), &phone[phone.len() - 2..])
    );

    let changed = json!({ "banking": { "iban": iban, "account_holder": "Hollow Farm Ltd" } });
    admin.patch(&format!("/v1/suppliers/{supplier}"), "\"1\"", &changed).await.must(200);

    let database = stack.dump().await;
    // The dump does hold what is not secret, so it looks in the right place.
    assert!(database.holds(supplier.as_bytes()) && database.holds(b"Hollow Farm"));
    for (secret, part) in [(&iban, 8), (&line1, 8), (&phone, 10)] {
        for window in secret.as_bytes().windows(part) {
            assert!(
                !database.holds(window),
                "{} of {secret} is in the database in clear",
                String::from_utf8_lossy(window)
            );
        }
    }
}

async fn each_change_of_a_lot_is_recorded(tenant: &Tenant<'_>) {
    let admin = tenant.user(Role::Admin);
    let begun = keystone::clock::now();
    let product = admin.post("/v1/products", &samples::product()).await.expect(201).id();
    let created = admin.post("/v1/batches", &samples::batch(&product)).await.expect(201);
    let path = format!("/v1/batches/{}", created.id());
    let change = json!({ "state": "on_hold", "origin": null });
    let updated = admin.patch(&path, &created.etag(), &change).await.expect(200);
    assert_eq!(updated.json()["state"], "on_hold");

    let query = format!("/v1/audit?resource_type=batch&resource_id={}", created.id());
    let found = tenant.owner().get(&query).await.expect(200).json();
    let [update, create] = found["items"].as_array().unwrap().as_slice() else {
        panic!("not two entries: {found}");
    };
    for (entry, answer, action) in
        [(create, &created, "batch.create"), (update, &updated, "batch.update")]
    {
        let claims = admin.claims();
        assert_eq!(
            entry["actor"],
            json!({ "kind": "user", "id": claims["sub"], "role": "admin", "session": claims["sid"] })
        );
        assert_eq!(entry["tenant_id"], tenant.slug());
        assert_eq!(entry["action"], action);
        assert_eq!(entry["resource"], json!({ "type": "batch", "id": created.id() }));
        assert_eq!(entry["source_ip"], admin.address().to_string());
        assert_eq!(entry["request_id"], answer.request_id());
        assert_eq!(entry["outcome"], "success");
        let at: Timestamp = entry["at"].as_str().unwrap().parse().unwrap();
        let margin = SignedDuration::from_secs(1);
        assert!(begun - margin < at && at < keystone::clock::now() + margin, "{at}");
    }
    let state = change_at(update, "/state");
    assert_eq!(
        (&state["op"], &state["before"], &state["value"]),
        (&json!("replace"), &json!("available"), &json!("on_hold"))
    );
    assert_eq!(change_at(update, "/origin")["before"], "IE");
    assert_eq!(
        change_at(create, "/quantity")["value"],
        json!({ "value": "1250.500", "unit": "LTR" })
    );
}

/// The change at `path` of an entry's delta.
fn change_at<'e>(entry: &'e Value, path: &str) -> &'e Value {
    let delta = entry["delta"].as_array().unwrap();
    delta.iter().find(|change| change["path"] == path).unwrap_or_else(|| panic!("{entry}"))
}

async fn a_report_is_signed_and_shows_any_change(stack: &Stack, tenant: &Tenant<'_>) {
    let admin = tenant.user(Role::Admin);
    let export = exports::ask(admin, "pdf", &json!({})).await;
    let volumes = exports::fetch(stack, admin, &export).await;
    let [report] = volumes.as_slice() else { panic!("{} volumes", volumes.len()) };
    let folder = Folder::new(tenant.slug());
    let genuine = folder.file("genuine.pdf", &report.bytes);
    let verdict = pdfsig(&genuine);
    assert!(verdict.contains("Signature is Valid"), "{verdict}");
    assert!(verdict.contains("Total document signed"), "{verdict}");

    let verdict = pyhanko(stack, &genuine);
    assert!(verdict.contains("INTACT:TRUSTED"), "{verdict}");

    let mut changed = report.bytes.clone();
    let place = changed.len() / 4;
    changed[place] ^= 1;
    let changed = folder.file("changed.pdf", &changed);
    let verdict = pdfsig(&changed);
    assert!(!verdict.contains("Signature is Valid"), "{verdict}");
}
