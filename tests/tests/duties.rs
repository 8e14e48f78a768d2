//! What a tenant owes to its own security, shown and called to mind (claim C21).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::{SignedDuration, Timestamp};
use keystone::auth::Role;
use keystone::tenant::Id;
use keystone_tests::{Client, Stack, Tenant};
use mongodb::bson::{Bson, DateTime};
use serde_json::{Value, json};

fn days_ago(days: i64) -> Timestamp {
    keystone::clock::now() - SignedDuration::from_hours(24 * days)
}

fn stored(at: Timestamp) -> Bson {
    DateTime::from_millis(at.as_millisecond()).into()
}

async fn duties(client: &Client) -> Value {
    client.get("/v1/duties").await.expect(200).json()
}

/// Runs the job for the tenant; how often it was reminded.
async fn watch(stack: &Stack, tenant: &Tenant<'_>) -> u64 {
    let name = stack.function("watch-duties");
    let done = stack.aws().invoke(&name, &json!({ "tenant": tenant.slug() })).await;
    assert_eq!(done["left"], 0, "{done}");
    done["reminded"].as_u64().unwrap()
}

#[tokio::test]
async fn what_is_owed_is_shown_and_called_to_mind_once_a_week() {
    let stack = Stack::load();
    let tenant = stack.tenant("duties", &[Role::Admin, Role::Viewer]).await;
    let owner = tenant.owner();
    tenant.user(Role::Viewer).get("/v1/duties").await.must(403);
    let none: [&str; 0] = [];
    let found = duties(tenant.user(Role::Admin)).await;
    assert_eq!(found["owed"], json!(none), "{found}");
    assert_eq!(watch(&stack, &tenant).await, 0);

    // Each of them comes due: reviews of 30 days, contacts of 180, a second
    // super_admin without a second factor, an account that nobody ever used.
    let settings = Id::from_u128(1).to_string();
    let set = async |path: &str, to: Bson| {
        tenant.set_in_document("settings", "_id", &settings, path, to).await;
    };
    set("created_at", stored(days_ago(31))).await;
    set("contacts_confirmed_at", days_ago(181).to_string().into()).await;
    let deputy = tenant.newcomer("deputy", Role::SuperAdmin).await;
    let deputy = deputy.claims()["sub"].as_str().unwrap().to_owned();
    owner.delete(&format!("/v1/users/{deputy}/totp")).await.must(204);
    let unused = json!({ "email": "u@keystone.example", "name": "U", "role": "viewer" });
    let unused = owner.post("/v1/users", &unused).await.expect(201).id();
    tenant.set_in_document("users", "_id", &unused, "status", "active").await;
    for user in [&unused, tenant.user(Role::Viewer).claims()["sub"].as_str().unwrap()] {
        tenant.set_in_document("users", "_id", user, "created_at", stored(days_ago(91))).await;
    }
    let found = duties(owner).await;
    assert_eq!(
        found["owed"],
        json!([
            "review_audit",
            "confirm_contacts",
            "set_up_second_factors",
            "offboard_dormant_users"
        ])
    );
    assert_eq!(found["super_admins_without_second_factor"], json!([deputy]));
    // The viewer's account is as old, and in use.
    assert_eq!(found["dormant_users"], json!([{ "id": unused }]), "{found}");

    // Two runs at once send one letter, and the next week's another.
    let (first, second) = futures::join!(watch(&stack, &tenant), watch(&stack, &tenant));
    assert_eq!(first + second, 1);
    assert_eq!(watch(&stack, &tenant).await, 0);
    let contact = owner.get("/v1/tenant").await.expect(200).json();
    let contact = contact["contacts"]["primary"]["email"].as_str().unwrap().to_owned();
    assert!(stack.mails_after_drain(&contact, "1 person who may do everything").await);
    let letters = async || {
        let mails = stack.mails_to(&contact).await;
        mails.iter().filter(|mail| mail.contains("only you can see to it")).count()
    };
    assert_eq!(letters().await, 1);
    let a_week_ago = days_ago(7).to_string();
    tenant.set_in_document("duty_reminders", "_id", &settings, "sent_at", a_week_ago).await;
    assert_eq!(watch(&stack, &tenant).await, 1);

    // What is done is owed no longer, and what comes due anew is told at once.
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    owner.patch("/v1/tenant", &etag, &json!({ "contacts": {} })).await.must(200);
    for user in [&deputy, &unused] {
        let left = json!({ "reason": "Not in use" });
        owner.post(&format!("/v1/users/{user}/offboard"), &left).await.must(200);
    }
    let period = json!({ "from": days_ago(32).to_string(), "to": days_ago(0).to_string() });
    let review =
        json!({ "from": period["from"], "to": period["to"], "statement": "Looked through" });
    owner.post("/v1/audit/reviews", &review).await.must(201);
    assert_eq!(duties(owner).await["owed"], json!(none));
    assert_eq!(watch(&stack, &tenant).await, 0);
    tenant.finish().await;
}
