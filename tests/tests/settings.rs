//! What a tenant decides for itself (claims C1, C8 and C21).

use keystone::auth::Role;
use keystone_tests::Stack;
use serde_json::{Value, json};

#[tokio::test]
async fn settings_are_read_changed_and_recorded() {
    let stack = Stack::load();
    let tenant = stack.tenant("settings", &[Role::Admin]).await;
    let owner = tenant.owner();
    let first = owner.get("/v1/tenant").await.expect(200);
    let shown = first.json();
    assert_eq!(shown["id"], tenant.slug());
    assert_eq!(shown["contacts"]["primary"]["email"], tenant.email_of(Role::SuperAdmin));
    assert_eq!(shown["audit_review_days"], 30);
    assert_eq!(shown["second_factor_roles"], json!(["super_admin"]));
    assert!(shown.get("cross_border_consent").is_none());

    let security = json!({ "name": "Sean Fahy", "email": "security@keystone.example" });
    let consent = json!({ "signatory": "Orla Byrne", "document": "Contract 7, annex 2" });
    let change = json!({
        "contacts": { "security": security },
        "audit_review_days": 14,
        "second_factor_roles": ["super_admin", "admin"],
        "cross_border_consent": consent,
    });
    let second = owner.patch("/v1/tenant", &first.etag(), &change).await.expect(200);
    let changed = second.json();
    assert_eq!(changed["contacts"]["primary"], shown["contacts"]["primary"]);
    assert_eq!(changed["contacts"]["security"], security);
    assert_eq!(changed["second_factor_roles"], json!(["admin", "super_admin"]));
    assert_eq!(changed["cross_border_consent"]["signatory"], "Orla Byrne");
    assert_eq!(changed["cross_border_consent"]["recorded_by"], owner.claims()["sub"]);
    assert_ne!(changed["contacts_confirmed_at"], shown["contacts_confirmed_at"]);
    owner.patch("/v1/tenant", &first.etag(), &change).await.must(412);

    // Consent is withdrawn, a contact removed, the rest confirmed.
    let change = json!({ "contacts": { "security": null }, "cross_border_consent": null });
    let third = owner.patch("/v1/tenant", &second.etag(), &change).await.expect(200).json();
    assert!(third.get("cross_border_consent").is_none());
    assert!(third["contacts"].get("security").is_none());
    assert_eq!(third["audit_review_days"], 14);
    let query = "/v1/audit?action=settings.update";
    let recorded = owner.get(query).await.expect(200).json()["items"].clone();
    let withdrawn = recorded[0]["delta"].as_array().unwrap();
    assert!(
        withdrawn.iter().any(|change| change["path"] == "/cross_border_consent"
            || change["path"] == "/cross_border_consent/document"),
        "{recorded}"
    );
    tenant.finish().await;
}

#[tokio::test]
async fn wrong_settings_are_named() {
    let stack = Stack::load();
    let tenant = stack.tenant("settings-wrong", &[]).await;
    let owner = tenant.owner();
    let wrong = json!({
        "contacts": { "primary": null, "billing": { "name": "", "email": "nobody" } },
        "audit_review_days": 0,
        "second_factor_roles": ["root"],
        "cross_border_consent": {},
        "legal_name": "Another Ltd",
    });
    let refused = owner.patch("/v1/tenant", "\"1\"", &wrong).await.expect(422).json();
    let mut fields: Vec<&str> = refused["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "/audit_review_days",
            "/contacts/billing/email",
            "/contacts/billing/name",
            "/contacts/primary",
            "/cross_border_consent/document",
            "/cross_border_consent/signatory",
            "/legal_name",
            "/second_factor_roles/0",
        ]
    );
    owner.patch("/v1/tenant", "\"99\"", &json!({ "audit_review_days": 7 })).await.must(412);
    tenant.finish().await;
}

#[tokio::test]
async fn a_leaver_is_no_contact_any_more() {
    let stack = Stack::load();
    let tenant = stack.tenant("successor", &[Role::Admin, Role::Viewer]).await;
    let owner = tenant.owner();
    let etag = owner.get("/v1/tenant").await.expect(200).etag();
    let admin = json!({ "name": "Admin", "email": tenant.email_of(Role::Admin).to_uppercase() });
    let change = json!({ "contacts": { "security": admin, "billing": admin } });
    let confirmed = owner.patch("/v1/tenant", &etag, &change).await.expect(200).json();
    let id = |role| tenant.user(role).claims()["sub"].as_str().unwrap().to_owned();
    let path = format!("/v1/users/{}/offboard", id(Role::Admin));
    let leave = |successor: Option<String>| {
        let mut body = json!({ "reason": "Retired" });
        if let Some(successor) = successor {
            body["successor"] = json!(successor);
        }
        let path = path.clone();
        async move { owner.post(&path, &body).await }
    };
    for refused in [
        leave(None).await,
        leave(Some(id(Role::Admin))).await,
        leave(Some("01890000-0000-7000-8000-000000000000".into())).await,
    ] {
        assert_eq!(refused.expect(422).json()["errors"][0]["field"], "/successor");
    }
    // Nothing was half-done.
    tenant.user(Role::Admin).get("/v1/products").await.must(200);
    let left = leave(Some(id(Role::Viewer))).await.expect(200).json();
    assert_eq!(left["contacts_passed_on"], 2);
    let shown = owner.get("/v1/tenant").await.expect(200).json();
    let contacts = &shown["contacts"];
    assert_eq!(contacts["security"]["email"], tenant.email_of(Role::Viewer));
    assert_eq!(contacts["billing"]["email"], tenant.email_of(Role::Viewer));
    assert_eq!(contacts["primary"]["email"], tenant.email_of(Role::SuperAdmin));
    // Nobody said meanwhile that they are right, and the leaver was told.
    assert_eq!(shown["contacts_confirmed_at"], confirmed["contacts_confirmed_at"]);
    let told = format!("goes to {}", tenant.email_of(Role::Viewer));
    let former = tenant.email_of(Role::Admin).to_uppercase();
    assert!(stack.mails_after_drain(&former, &told).await);
    tenant.finish().await;
}

#[tokio::test]
async fn who_was_a_contact_and_who_becomes_one_are_told() {
    let stack = Stack::load();
    let tenant = stack.tenant("contacts-told", &[]).await;
    let (owner, email) = (tenant.owner(), tenant.email_of(Role::SuperAdmin));
    let (sean, niamh) = (tenant.address_of("sean"), tenant.address_of("niamh"));
    let change = async |contacts: Value| {
        let etag = owner.get("/v1/tenant").await.expect(200).etag();
        owner.patch("/v1/tenant", &etag, &json!({ "contacts": contacts })).await.must(200);
    };
    let letters = async |address: &str| {
        let mails = stack.mails_to(address).await.into_iter();
        mails.filter(|mail| mail.contains("which a super_admin changed")).collect::<Vec<_>>()
    };
    // What went to the primary contact goes to somebody else.
    change(json!({ "security": { "name": "Sean Fahy", "email": sean } })).await;
    assert!(stack.mails_after_drain(&sean, "Security notices come to you").await);
    assert!(stack.mails_after_drain(&email, "Security notices go to another address").await);
    // Another name or another spelling is nobody else, and no change none.
    change(json!({ "security": { "name": "S. Fahy", "email": sean.to_uppercase() } })).await;
    change(json!({})).await;
    change(json!({ "primary": { "name": "Niamh Daly", "email": niamh } })).await;
    assert!(stack.mails_after_drain(&niamh, "Notices of breaches").await);
    assert!(stack.mails_after_drain(&email, "Notices of breaches").await);
    let told = [letters(&sean).await, letters(&email).await, letters(&niamh).await];
    assert_eq!(told.each_ref().map(Vec::len), [1, 2, 1], "{told:?}");
    assert!(letters(&sean.to_uppercase()).await.is_empty());
    // Nobody's address is told to another.
    assert!(!told[1].concat().contains(&sean) && !told[1].concat().contains(&niamh), "{told:?}");
    assert!(told[2][0].contains("Invoices come to you") && !told[2][0].contains("Security"));
    tenant.finish().await;
}

#[tokio::test]
async fn an_admin_does_not_reach_the_contacts_by_offboarding() {
    let stack = Stack::load();
    let tenant = stack.tenant("contacts-kept", &[Role::Admin, Role::Viewer]).await;
    let (owner, admin) = (tenant.owner(), tenant.user(Role::Admin));
    let before = owner.get("/v1/tenant").await.expect(200);
    let outside = json!({ "name": "Niamh Daly", "email": "niamh@contacts.example" });
    let viewer = json!({ "name": "Viewer", "email": tenant.email_of(Role::Viewer) });
    let change = json!({ "contacts": { "primary": outside, "security": viewer } });
    let kept = owner.patch("/v1/tenant", &before.etag(), &change).await.expect(200);
    let successor = admin.claims()["sub"].clone();
    let leave = json!({ "reason": "Coup", "successor": successor });

    // Somebody is invited under the address of a contact who has no account,
    // and offboarded again: the contact stays.
    let invited = json!({ "email": "niamh@contacts.example", "name": "N", "role": "viewer" });
    let id = admin.post("/v1/users", &invited).await.expect(201).id();
    let left = admin.post(&format!("/v1/users/{id}/offboard"), &leave).await.expect(200).json();
    assert_eq!(left["contacts_passed_on"], 0);
    // A contact with an account is not the admin's to replace.
    let contact = tenant.user(Role::Viewer);
    let path = format!("/v1/users/{}/offboard", contact.claims()["sub"].as_str().unwrap());
    admin.post(&path, &leave).await.must(409);
    admin.post(&path, &json!({ "reason": "Coup" })).await.must(409);
    contact.get("/v1/products").await.must(200);
    let (after, kept) = (owner.get("/v1/tenant").await.expect(200).json(), kept.json());
    for same in ["contacts", "contacts_confirmed_at"] {
        assert_eq!(after[same], kept[same]);
    }
    tenant.finish().await;
}
