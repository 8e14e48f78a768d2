//! Who may reach what: other tenants' data, and the permission matrix over
//! every route and role.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;

use futures::{StreamExt, stream};
use keystone::auth::{Grant, Role};
use keystone_tests::breach::notify;
use keystone_tests::operator::grant;
use keystone_tests::routes::{self, Listed};
use keystone_tests::{Answer, Client, Stack, Tenant, samples};
use serde_json::json;

/// Requests in flight at once.
const PARALLEL: usize = 6;

/// What a tenant owns.
struct Property {
    ids: Vec<String>,
    product: String,
    gtin: String,
    batch: String,
    supplier: String,
}

async fn furnish(stack: &Stack, tenant: &Tenant<'_>) -> Property {
    let owner = tenant.owner();
    let supplier =
        owner.post("/v1/suppliers", &samples::supplier(&samples::iban())).await.expect(201).id();
    let customer = samples::customer("1 Quay Street", "+353861234567");
    let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
    let sample = samples::product();
    let gtin = sample["gtin"].as_str().unwrap().to_owned();
    let product = owner.post("/v1/products", &sample).await.expect(201).id();
    let batch = owner.post("/v1/batches", &samples::batch(&product)).await.expect(201).id();
    let recall = json!({ "kind": "recall", "hazard": "other", "reason": "Ours", "lots": [batch] });
    let recall = owner.post("/v1/recalls", &recall).await.expect(201).id();
    let site = owner.post("/v1/sites", &samples::site()).await.expect(201).id();
    let event = owner.post("/v1/events", &samples::event()).await.expect(201);
    let event = event.header("location").unwrap().replace("/v1/events/", "");
    let capture = owner.post("/v1/capture", &samples::capture()).await.expect(202).json();
    let capture = capture["captureID"].as_str().unwrap().to_owned();
    let user = json!({ "email": "late@keystone.example", "name": "Late", "role": "viewer" });
    let user = owner.post("/v1/users", &user).await.expect(201).id();
    let request = json!({
        "kind": "access", "received_on": "2026-01-31", "channel": "email",
        "subject": { "kind": "customer", "id": customer },
    });
    let request = owner.post("/v1/data-subject-requests", &request).await.expect(201).id();
    let questionnaire = json!({ "kind": "lite" });
    let questionnaire = owner.post("/v1/questionnaires", &questionnaire).await.expect(201).id();
    let session = owner.claims()["sid"].as_str().unwrap().to_owned();
    let (incident, notice) = breach(stack, tenant).await;
    let change = told_of_a_change(stack, tenant).await;
    let access = grant(stack, tenant.slug(), 30).await.id;
    Property {
        ids: vec![
            supplier.clone(),
            customer,
            product.clone(),
            batch.clone(),
            recall,
            site,
            event,
            capture,
            user,
            request,
            questionnaire,
            session,
            incident,
            notice,
            change,
            access,
        ],
        product,
        gtin,
        batch,
        supplier,
    }
}

/// Tells the tenant of a breach; gives its incident and its notice.
async fn breach(stack: &Stack, tenant: &Tenant<'_>) -> (String, String) {
    let detail = samples::breach(&[tenant.slug()]);
    notify(stack, "BreachConfirmed", &detail).await;
    let notices = tenant.owner().get("/v1/notices").await.expect(200).json();
    let notice = &notices["items"][0];
    let text = |name: &str| notice[name].as_str().unwrap().to_owned();
    (text("incident_id"), text("id"))
}

/// That the tenant was told of a change of sub-processors; gives the change. An
/// announcement would go to every tenant of the stack.
async fn told_of_a_change(stack: &Stack, tenant: &Tenant<'_>) -> String {
    let change = keystone::random::id(keystone::clock::now()).unwrap().to_string();
    let at = mongodb::bson::DateTime::now();
    let told = mongodb::bson::doc! {
        "_id": &change, "tenant_id": tenant.slug(), "version": 1_i64,
        "created_at": at, "updated_at": at, "objection": mongodb::bson::Bson::Null,
    };
    let database = stack.database().await.database(&format!("t_{}", tenant.slug()));
    database.collection("sub_processor_notices").insert_one(told).await.unwrap();
    change
}

/// A request to `listed` at `id` whose only fault can be the id.
async fn request(client: &Client, listed: &Listed, id: &str) -> Answer {
    let path = routes::fill(listed.spec.path, id);
    let request = client.request(listed.spec.method.as_str(), &path);
    let body = match (listed.spec.method.as_str(), listed.spec.name) {
        (_, "update-batch") => json!({ "origin": "FR" }),
        (_, "declare-event-error") => json!({ "reason": "did_not_occur" }),
        (_, "set-event-status") => json!({ "to": "submitted", "reason": "Spite" }),
        (_, "record-recall-notice") => {
            json!({ "recipient": id, "kind": "notified", "channel": "phone" })
        }
        (_, "make-recall-pack" | "make-subject-bundle") => json!({}),
        (_, "update-data-subject-request") => json!({ "state": "in_progress" }),
        (_, "close-recall") => json!({ "conclusion": "Spite" }),
        (_, "offboard-user" | "object-to-sub-processor") => json!({ "reason": "Spite" }),
        (_, "erase-customer" | "erase-supplier" | "erase-user") => json!({ "ground": "unlawful" }),
        ("PATCH", _) => json!({ "name": "Stolen" }),
        _ => return request.send().await,
    };
    request.header("if-match", "\"1\"").json(&body).send().await
}

#[tokio::test]
async fn nothing_of_another_tenant_can_be_reached() {
    let stack = Stack::load();
    let (ours, theirs) =
        futures::join!(stack.tenant("ours", &Role::ALL), stack.tenant("theirs", &[]));
    let property = furnish(&stack, &theirs).await;
    let with_id: Vec<Listed> =
        routes::all().into_iter().filter(|listed| listed.spec.path.contains("{id}")).collect();
    assert!(!with_id.is_empty());

    let mut attempts = Vec::new();
    for role in Role::ALL {
        for listed in &with_id {
            attempts.extend(property.ids.iter().map(|id| (role, *listed, id)));
        }
    }
    let client = |role| ours.user(role);
    stream::iter(attempts)
        .for_each_concurrent(PARALLEL, |(role, listed, id)| async move {
            let denied = listed.permission.is_some_and(|p| p.grant(role) == Grant::Denied);
            request(client(role), &listed, id).await.must(if denied { 403 } else { 404 });
        })
        .await;

    lists_show_our_own_only(&ours, &theirs, &property).await;
    references_lead_nowhere(&ours, &property).await;
    audit_entries_are_our_own(&ours).await;
    theirs.finish().await;
    ours.finish().await;
}

async fn lists_show_our_own_only(ours: &Tenant<'_>, theirs: &Tenant<'_>, property: &Property) {
    let their_owner = theirs.owner().claims()["sub"].as_str().unwrap().to_owned();
    let filters = [
        "/v1/suppliers".to_owned(),
        "/v1/customers".to_owned(),
        "/v1/products".to_owned(),
        "/v1/sites".to_owned(),
        "/v1/recalls".to_owned(),
        "/v1/data-subject-requests".to_owned(),
        "/v1/incidents".to_owned(),
        "/v1/notices".to_owned(),
        "/v1/sub-processor-changes".to_owned(),
        "/v1/operator-accesses".to_owned(),
        format!("/v1/batches?product_id={}", property.product),
        format!("/v1/audit?resource_id={}", property.product),
        format!("/v1/audit?actor={their_owner}"),
    ];
    for path in filters {
        let found = ours.owner().get(&path).await.expect(200).json();
        assert_eq!(found["items"], json!([]), "{path}");
    }
    let events = ours.owner().get("/v1/events").await.expect(200).json();
    assert_eq!(events["epcisBody"]["queryResults"]["resultsBody"]["eventList"], json!([]));
}

async fn references_lead_nowhere(ours: &Tenant<'_>, property: &Property) {
    let mut batch = samples::batch(&property.product);
    batch["supplier_id"] = json!(property.supplier);
    let refused = ours.owner().post("/v1/batches", &batch).await.expect(422).json();
    let fields: HashSet<&str> = refused["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, HashSet::from(["/product_id", "/supplier_id"]));
    let request = json!({
        "kind": "access", "received_on": "2026-01-31", "channel": "email",
        "subject": { "kind": "supplier", "id": property.supplier },
    });
    let refused = ours.owner().post("/v1/data-subject-requests", &request).await;
    assert_eq!(refused.expect(422).json()["errors"][0]["field"], "/subject/id");
    let recall = json!({
        "kind": "recall", "hazard": "other", "reason": "Theirs", "lots": [property.batch],
    });
    let refused = ours.owner().post("/v1/recalls", &recall).await.expect(422).json();
    assert_eq!(refused["errors"][0]["field"], "/lots/0");
    let receipt = json!({
        "supplier_id": property.supplier, "at": "2026-03-01T06:30:00Z",
        "lots": [{
            "product_id": property.product, "lot_number": "L-1",
            "quantity": { "value": "1", "unit": "KGM" },
        }],
    });
    ours.owner().post("/v1/receipts", &receipt).await.must(422);
    for dry_run in ["", "?dry_run=true"] {
        let table = format!(
            "gtin,lot_number,quantity,unit,supplier_id\n{},L-1,1,KGM,{}\n",
            property.gtin, property.supplier
        );
        let path = format!("/v1/imports/batches{dry_run}");
        let import = ours.owner().request("POST", &path).header("content-type", "text/csv");
        let answer = import.body(table).replayed().send().await;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(said.contains("no such product") && said.contains("no such supplier"), "{answer}");
    }
}

/// The numbers of audit entries are the same in every tenant; what they lead
/// to is not. An `ops_user` sees what they did themselves.
async fn audit_entries_are_our_own(ours: &Tenant<'_>) {
    let ops_user = ours.user(Role::OpsUser);
    let own_id = &ops_user.claims()["sub"];
    ops_user.post("/v1/products", &samples::product()).await.must(201);
    for entry in ours.audit_trail().await {
        let path = format!("/v1/audit/{}", entry["seq"]);
        let shown = ours.owner().get(&path).await.expect(200).json();
        assert_eq!(shown["tenant_id"], ours.slug());
        let own = entry["actor"]["id"] == *own_id;
        ops_user.get(&path).await.must(if own { 200 } else { 404 });
    }
    let owner = ours.owner().claims()["sub"].as_str().unwrap().to_owned();
    ops_user.get(&format!("/v1/audit?actor={owner}")).await.must(403);
    let listed = ops_user.get("/v1/audit?limit=100").await.expect(200).json();
    let listed = listed["items"].as_array().unwrap();
    assert!(!listed.is_empty() && listed.iter().all(|entry| entry["actor"]["id"] == *own_id));
}

#[tokio::test]
async fn the_matrix_decides_for_every_route_and_role() {
    let stack = Stack::load();
    let tenant = stack.tenant("matrix", &Role::ALL).await;
    let attempts = Role::ALL.iter().flat_map(|role| {
        routes::all().into_iter().map(|listed| (*role, listed)).collect::<Vec<_>>()
    });
    stream::iter(attempts.collect::<Vec<_>>())
        .for_each_concurrent(PARALLEL, |(role, listed)| {
            let tenant = &tenant;
            async move {
                let Some(permission) = listed.permission else { return };
                // What ends the user's sessions needs a user of its own.
                let client = match listed.spec.name {
                    "logout" => tenant.sign_in(role).await,
                    name @ ("remove-totp" | "end-other-sessions") => {
                        tenant.newcomer(&format!("{name}-{}", role.name()), role).await
                    }
                    _ => tenant.user(role).clone(),
                };
                let answer = routes::attempt(&client, &listed).await;
                if permission.grant(role) == Grant::Denied {
                    answer.must(403);
                    assert_eq!(answer.json()["type"], "urn:keystone:problem:forbidden");
                } else {
                    assert!(![401, 403].contains(&answer.status), "{role:?}: {answer}");
                }
            }
        })
        .await;

    // What the matrix grants an admin only in part.
    let promotion =
        json!({ "email": "new@keystone.example", "name": "New", "role": "super_admin" });
    tenant.user(Role::Admin).post("/v1/users", &promotion).await.must(403);
    tenant.owner().post("/v1/users", &promotion).await.must(201);
    tenant.finish().await;
}

#[tokio::test]
async fn a_session_ends_when_its_user_signs_out() {
    let stack = Stack::load();
    let tenant = stack.tenant("sessions", &[]).await;
    let (one, other) =
        (tenant.sign_in(Role::SuperAdmin).await, tenant.sign_in(Role::SuperAdmin).await);
    one.request("POST", "/v1/auth/logout").send().await.must(204);
    one.get("/v1/products").await.must(401);
    one.request("POST", "/v1/auth/logout").send().await.must(401);
    other.get("/v1/products").await.must(200);
    tenant.finish().await;
}

#[tokio::test]
async fn public_routes_answer_anyone() {
    let stranger = Stack::load().client();
    let health = stranger.get("/v1/health").await.expect(200).json();
    assert_eq!((&health["status"], &health["region"]), (&json!("ok"), &json!("eu-west-1")));
    let document = stranger.get("/openapi.json").await.expect(200);
    assert_eq!(document.header("content-type"), Some("application/json"));
    assert!(document.body == keystone_tests::openapi::text().as_bytes(), "it is up to date");
}
