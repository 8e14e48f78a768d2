//! What operators of the provider see of a tenant: for a reason, until an end,
//! masked, and each request in the tenant's own trail.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use keystone::auth::Role;
use keystone::clock;
use keystone::tenant::TenantId;
use keystone_tests::operator::{Access, OPERATOR, REASON, grant, refused};
use keystone_tests::routes::{self, Listed};
use keystone_tests::{Answer, Client, Stack, Tenant, samples};
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

const PATH: &str = "/v1/operator-accesses";

/// Requests in flight at once.
const PARALLEL: usize = 6;

/// All that operators may do; what a route does not stand here for, it refuses.
const SERVED: [&str; 22] = [
    "get-batch",
    "get-batch-evidence",
    "get-capture",
    "get-customer",
    "get-event",
    "get-event-history",
    "get-product",
    "get-recall",
    "get-site",
    "get-supplier",
    "list-batches",
    "list-customers",
    "list-events",
    "list-notices",
    "list-products",
    "list-recall-recipients",
    "list-recalls",
    "list-sites",
    "list-sub-processor-changes",
    "list-sub-processor-uses",
    "list-suppliers",
    "trace-batch",
];

#[test]
fn operators_are_served_by_these_routes_and_by_no_other() {
    let served = routes::all().into_iter().filter(|listed| listed.serves_operators);
    let served: BTreeSet<&str> = served.map(|listed| listed.spec.name).collect();
    assert_eq!(served, BTreeSet::from(SERVED));
    for listed in routes::all().iter().filter(|listed| listed.serves_operators) {
        assert_eq!(listed.spec.method.as_str(), "GET", "{}", listed.spec.name);
    }
}

/// The routes that ask who is there.
fn guarded() -> Vec<Listed> {
    routes::all().into_iter().filter(|listed| listed.permission.is_some()).collect()
}

/// The answer of every guarded route.
async fn attempts(client: &Client) -> Vec<(Listed, Answer)> {
    stream::iter(guarded())
        .map(|listed| async move { (listed, routes::attempt(client, &listed).await) })
        .buffer_unordered(PARALLEL)
        .collect()
        .await
}

/// What was recorded of the requests made with an access, by request.
async fn uses(tenant: &Tenant<'_>, access: &Access) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for entry in tenant.audit_trail().await {
        if entry["action"] != "operator_access.use" || entry["resource"]["id"] != *access.id {
            continue;
        }
        assert_eq!(entry["resource"]["type"], "operator_access");
        let actor = json!({ "kind": "operator", "id": OPERATOR, "session": access.id });
        assert_eq!(entry["actor"], actor);
        assert_eq!(entry["source_ip"], access.client.address().to_string());
        let request = entry["request_id"].as_str().unwrap().to_owned();
        assert!(found.insert(request, entry).is_none(), "one entry a request");
    }
    found
}

/// A fact of an entry.
fn fact<'e>(entry: &'e Value, path: &str) -> &'e Value {
    let changes = entry["delta"].as_array().unwrap();
    &changes.iter().find(|change| change["path"] == path).unwrap()["value"]
}

/// The access as the tenant sees it.
async fn seen(tenant: &Tenant<'_>, access: &Access) -> Value {
    let list = tenant.owner().get(PATH).await.expect(200).json();
    let mut found = list["items"].as_array().unwrap().iter();
    found.find(|one| one["id"] == *access.id).unwrap().clone()
}

/// Every guarded route refuses the operator, and nothing more is recorded.
async fn is_dead(tenant: &Tenant<'_>, access: &Access) {
    let before = uses(tenant, access).await.len();
    for (listed, answer) in attempts(&access.client).await {
        answer.must(401);
        let kind = answer.json()["type"].clone();
        assert_eq!(kind, "urn:keystone:problem:unauthenticated", "{}", listed.spec.name);
    }
    assert_eq!(uses(tenant, access).await.len(), before);
}

#[tokio::test]
async fn an_operator_reads_what_a_reader_reads_and_the_tenant_sees_each_request() {
    let stack = Stack::load();
    let begun = clock::now();
    let (tenant, theirs) = futures::join!(
        stack.tenant("looked-at", &[Role::Viewer, Role::Admin]),
        stack.tenant("not-looked-at", &[])
    );
    let (owner, viewer) = (tenant.owner(), tenant.user(Role::Viewer));
    let (iban, phone, street) = (samples::iban(), "+353861230040", "40 Weir Lane");
    let supplier = owner.post("/v1/suppliers", &samples::supplier(&iban)).await.expect(201).id();
    let customer = samples::customer(street, phone);
    let customer_id = owner.post("/v1/customers", &customer).await.expect(201).id();
    let product = owner.post("/v1/products", &samples::product()).await.expect(201).id();
    let batch = owner.post("/v1/batches", &samples::batch(&product)).await.expect(201).id();
    let other = theirs.owner().post("/v1/customers", &customer).await.expect(201).id();

    let access = grant(&stack, tenant.slug(), 30).await;
    let operator = &access.client;
    let length = access.until.duration_since(begun);
    assert!((29 * 60..=32 * 60).contains(&length.as_secs()), "{length:?}");
    let contact = tenant.email_of(Role::SuperAdmin);
    assert!(stack.mails_after_drain(&contact, &access.id).await, "the contact is told");
    let mails = stack.mails_to(&contact).await;
    let mail = mails.iter().find(|mail| mail.contains(&access.id)).unwrap();
    assert!(mail.contains(OPERATOR) && mail.contains(REASON), "{mail}");

    // Exactly what a reader sees: masked.
    let mut expected = BTreeMap::new();
    let paths = [
        (format!("/v1/customers/{customer_id}"), "get-customer"),
        (format!("/v1/suppliers/{supplier}"), "get-supplier"),
        (format!("/v1/batches/{batch}"), "get-batch"),
        (format!("/v1/batches/{batch}/article-18"), "get-batch-evidence"),
        ("/v1/customers".to_owned(), "list-customers"),
        ("/v1/suppliers".to_owned(), "list-suppliers"),
        ("/v1/products".to_owned(), "list-products"),
        ("/v1/notices".to_owned(), "list-notices"),
    ];
    for (path, route) in &paths {
        let (shown, as_reader) = (operator.get(path).await, viewer.get(path).await);
        shown.must(200);
        assert_eq!(shown.json(), as_reader.expect(200).json(), "{path}");
        let text = String::from_utf8_lossy(&shown.body).into_owned();
        for sealed in [iban.as_str(), phone, street] {
            assert!(!text.contains(sealed), "{path} shows {sealed}");
        }
        expected.insert(shown.request_id(), (*route, "success"));
    }
    // Who may not read a number may not guess it, and another tenant is far.
    let search = operator.get(&format!("/v1/customers?phone={}", phone.replace('+', "%2B"))).await;
    search.must(403);
    expected.insert(search.request_id(), ("list-customers", "success"));
    let stranger = operator.get(&format!("/v1/customers/{other}")).await;
    stranger.must(404);
    // What is no id is not kept: it could be anybody's name.
    let nobody = operator.get("/v1/customers/Jane%20Doe").await;
    nobody.must(404);
    for request in [stranger.request_id(), nobody.request_id()] {
        expected.insert(request, ("get-customer", "success"));
    }
    let refusal = operator.post("/v1/products", &samples::product()).await;
    refusal.must(403);
    expected.insert(refusal.request_id(), ("create-product", "denied"));

    let recorded = uses(&tenant, &access).await;
    let shown: BTreeMap<String, (&str, &str)> = recorded
        .iter()
        .map(|(request, entry)| {
            let route = fact(entry, "/route").as_str().unwrap();
            (request.clone(), (route, entry["outcome"].as_str().unwrap()))
        })
        .collect();
    assert_eq!(shown, expected);
    assert_eq!(fact(&recorded[&stranger.request_id()], "/path"), &json!({ "id": other }));
    let kept = fact(&recorded[&nobody.request_id()], "/path");
    assert_eq!(kept, &json!({ "id": "invalid" }));
    // The number that was looked for stands nowhere.
    assert!(!json!(recorded).to_string().contains(&phone[1..]));
    // Nor is anything of it in the other tenant's trail.
    assert!(uses(&theirs, &access).await.is_empty());

    let trail = tenant.audit_trail().await;
    let granted = trail.iter().find(|entry| entry["action"] == "operator_access.grant").unwrap();
    assert_eq!(granted["actor"], json!({ "kind": "operator", "id": OPERATOR }));
    assert_eq!(granted["resource"]["id"], *access.id);
    assert_eq!(
        (fact(granted, "/reason"), fact(granted, "/operator")),
        (&json!(REASON), &json!(OPERATOR))
    );
    for who in [owner, tenant.user(Role::Admin)] {
        let list = who.get(PATH).await.expect(200).json();
        let one = &list["items"][0];
        assert_eq!((&one["id"], &one["state"]), (&json!(access.id), &json!("open")));
        assert_eq!((&one["operator"], &one["reason"]), (&json!(OPERATOR), &json!(REASON)));
        assert!(one["ended"].is_null() && one["until"] == access.until.to_string(), "{one}");
    }
    viewer.get(PATH).await.must(403);

    // Its token is where the operator got it, and nowhere else.
    let dump = stack.dump().await;
    assert!(dump.holds(access.id.as_bytes()), "the right database was read");
    let tables = stack.aws().items(stack.value("SESSION_TABLE")).await;
    let logs = stack.logs(begun).await;
    assert!(logs.contains(tenant.slug()), "the logs were found");
    let signature = operator.token().rsplit('.').next().unwrap();
    for token in [operator.token(), signature] {
        assert!(!logs.contains(token) && !tables.contains(token) && !dump.holds(token.as_bytes()));
    }
    // Nor does the access stand where sessions are: it is none.
    assert!(!tables.contains(&access.id));
    theirs.finish().await;
    tenant.finish().await;
}

#[tokio::test]
async fn every_route_refuses_an_operator_that_does_not_read_for_a_reader() {
    let stack = Stack::load();
    let tenant = stack.tenant("walked-by-operator", &[]).await;
    let access = grant(&stack, tenant.slug(), 60).await;
    let answers = attempts(&access.client).await;
    assert!(answers.len() > SERVED.len());
    for (listed, answer) in &answers {
        if SERVED.contains(&listed.spec.name) {
            assert!(![401, 403].contains(&answer.status), "{answer}");
        } else {
            answer.must(403);
            assert_eq!(answer.json()["type"], "urn:keystone:problem:forbidden");
        }
    }
    let recorded = uses(&tenant, &access).await;
    assert_eq!(recorded.len(), answers.len());
    for (listed, answer) in &answers {
        let entry = &recorded[&answer.request_id()];
        let outcome = if listed.serves_operators { "success" } else { "denied" };
        assert_eq!(
            (fact(entry, "/route"), &entry["outcome"]),
            (&json!(listed.spec.name), &json!(outcome))
        );
    }
    // What is wrong in form is recorded like the rest.
    let wrong = access.client.get("/v1/products?colour=red").await.expect(422);
    assert!(uses(&tenant, &access).await.contains_key(&wrong.request_id()));
    tenant.finish().await;
}

#[tokio::test]
async fn the_tenant_ends_an_access_and_the_next_request_is_refused() {
    let stack = Stack::load();
    let (tenant, theirs) = futures::join!(
        stack.tenant("ends-access", &[Role::Admin, Role::OpsUser]),
        stack.tenant("ends-none", &[])
    );
    let owner = tenant.owner();
    let (access, other) =
        (grant(&stack, tenant.slug(), 60).await, grant(&stack, tenant.slug(), 480).await);
    let path = format!("{PATH}/{}/end", access.id);
    access.client.get("/v1/products").await.must(200);

    // Only the tenant's own super_admin ends it, and nobody else sees it.
    tenant.user(Role::Admin).request("POST", &path).send().await.must(403);
    tenant.user(Role::OpsUser).get(PATH).await.must(403);
    access.client.request("POST", &path).send().await.must(403);
    theirs.owner().request("POST", &path).send().await.must(404);
    owner.request("POST", &format!("{PATH}/none/end")).send().await.must(404);
    assert_eq!(theirs.owner().get(PATH).await.expect(200).json()["items"], json!([]));
    access.client.get("/v1/products").await.must(200);

    let ended = owner.request("POST", &path).send().await.expect(200).json();
    assert_eq!((&ended["state"], &ended["ended"]["by"]), (&json!("ended"), &owner.claims()["sub"]));
    is_dead(&tenant, &access).await;
    // Again, it changes nothing.
    let again = owner.request("POST", &path).replayed().send().await.expect(200).json();
    assert_eq!(again, ended);
    assert_eq!(seen(&tenant, &access).await, ended);
    let page = owner.get(&format!("{PATH}?limit=1")).await.expect(200).json();
    assert_eq!(page["items"][0]["id"], *other.id);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = owner.get(&format!("{PATH}?limit=1&cursor={cursor}")).await.expect(200).json();
    assert_eq!((&rest["items"], &rest["next_cursor"]), (&json!([ended]), &Value::Null));

    // Who ends all sessions ends every access.
    other.client.get("/v1/products").await.must(200);
    let why = json!({ "reason": "Everybody out" });
    owner.post("/v1/tenant/end-sessions", &why).await.must(204);
    other.client.get("/v1/products").await.must(401);
    let client = tenant.sign_in(Role::SuperAdmin).await;
    let tenant = tenant.with_owner(client);
    is_dead(&tenant, &other).await;
    assert_eq!(seen(&tenant, &other).await["state"], "ended");
    theirs.finish().await;
    tenant.finish().await;
}

/// Sets the state of the tenant `slug` in the registry.
async fn set_state(stack: &Stack, slug: &str, state: &str) {
    let registry = stack.database().await.database("keystone_control");
    let to = doc! { "$set": { "state": state } };
    let tenants = registry.collection::<Document>("tenants");
    let done = tenants.update_one(doc! { "_id": slug }, to).await.unwrap();
    assert_eq!(done.modified_count, 1);
}

#[tokio::test]
async fn an_access_ends_on_time_and_where_nobody_may_sign_in() {
    let stack = Stack::load();
    let tenant = stack.tenant("access-over", &[]).await;
    let (access, spare) =
        (grant(&stack, tenant.slug(), 480).await, grant(&stack, tenant.slug(), 60).await);
    access.client.get("/v1/products").await.must(200);
    let exp = |access: &Access| access.client.claims()["exp"].as_i64().unwrap();
    assert_eq!(exp(&access), access.until.as_second());

    // Nobody of a suspended tenant could see it or end it.
    set_state(&stack, tenant.slug(), "suspended").await;
    access.client.get("/v1/products").await.must(401);
    let event = json!({
        "operator": OPERATOR, "tenant": tenant.slug(), "reason": REASON, "minutes": 5,
    });
    assert!(refused(&stack, &event).await.contains("/tenant"));
    set_state(&stack, tenant.slug(), "active").await;
    access.client.get("/v1/products").await.must(200);

    // What the record says ends it, though the token would go on.
    let over = (clock::now() - SignedDuration::from_secs(1)).to_string();
    tenant.set_in_document("operator_accesses", "_id", &access.id, "until", over).await;
    is_dead(&tenant, &access).await;
    assert_eq!(seen(&tenant, &access).await["state"], "over");
    // And one that is over cannot be ended any more.
    let path = format!("{PATH}/{}/end", access.id);
    let late = tenant.owner().request("POST", &path).replayed().send().await.expect(200).json();
    assert_eq!((&late["state"], &late["ended"]), (&json!("over"), &Value::Null));

    // Nobody makes a token last longer, or makes a session's of it.
    spare.client.get("/v1/products").await.must(200);
    let parts: Vec<&str> = spare.client.token().split('.').collect();
    let mut longer = spare.client.claims();
    longer["exp"] = json!(exp(&spare) + 3600);
    let longer = URL_SAFE_NO_PAD.encode(longer.to_string());
    let session = tenant.owner().token().split('.').next().unwrap();
    for forged in [[parts[0], &longer, parts[2]], [session, parts[1], parts[2]]] {
        spare.client.with_token(&forged.join(".")).get("/v1/products").await.must(401);
    }
    tenant.finish().await;
}

#[tokio::test]
async fn a_grant_needs_who_why_and_an_end() {
    let stack = Stack::load();
    let tenant = stack.tenant("grants-refused", &[]).await;
    let all_wrong = json!({
        "operator": "", "tenant": "No Slug", "reason": "Ticket 7", "minutes": 481, "role": "admin",
    });
    let said = refused(&stack, &all_wrong).await;
    for field in ["/operator", "/tenant", "/reason", "/minutes", "/role"] {
        assert!(said.contains(&format!("\"{field}\"")), "{field}: {said}");
    }
    let right = json!({
        "operator": OPERATOR, "tenant": tenant.slug(), "reason": REASON, "minutes": 480,
    });
    for (field, value) in [
        ("operator", Value::Null),
        ("operator", json!("x".repeat(101))),
        ("reason", Value::Null),
        ("reason", json!("  ")),
        ("reason", json!("x".repeat(501))),
        ("minutes", Value::Null),
        ("minutes", json!(0)),
        ("minutes", json!(481)),
        ("minutes", json!(-5)),
        ("minutes", json!("60")),
        ("tenant", json!("no-such-tenant")),
        ("tenant", json!(TenantId::provider())),
    ] {
        let mut event = right.clone();
        if value.is_null() {
            event.as_object_mut().unwrap().remove(field);
        } else {
            event[field] = value.clone();
        }
        let said = refused(&stack, &event).await;
        assert!(said.contains(&format!("/{field}")), "{field} = {value}: {said}");
    }
    let list = tenant.owner().get(PATH).await.expect(200).json();
    assert_eq!(list["items"], json!([]), "nothing was granted");
    tenant.finish().await;
}
