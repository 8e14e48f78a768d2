//! Recalls and exercises: what is affected, who is told, how it ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use keystone::audit::merkle::Hash;
use keystone::auth::Role;
use keystone_tests::dairy::Dairy;
use keystone_tests::verdicts::{Folder, pdfsig, pdftotext, pyhanko};
use keystone_tests::{Answer, Client, Stack, Tenant, samples};
use serde_json::{Value, json};

const PHONE: &str = "+353861234567";

fn recall(lots: &[&str]) -> Value {
    json!({
        "kind": "exercise", "hazard": "biological",
        "reason": "Listeria monocytogenes in the bulk tank", "lots": lots,
    })
}

async fn started(client: &Client, lots: &[&str]) -> Answer {
    client.post("/v1/recalls", &recall(lots)).await.expect(201)
}

fn fields(answer: &Answer) -> Vec<String> {
    answer.must(422);
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

fn notice(recipient: &str, goods: &Value) -> Value {
    json!({
        "recipient": recipient, "kind": "responded", "channel": "phone", "goods": goods,
    })
}

fn goods(lot: &str, fate: &str, value: &str, unit: &str) -> Value {
    json!([{ "lot": lot, "fate": fate, "quantity": { "value": value, "unit": unit } }])
}

/// All recipients as `client` sees them, by id, page by page.
async fn recipients(tenant: &Tenant<'_>, client: &Client, id: &str) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut path = format!("/v1/recalls/{id}/recipients?limit=9");
    loop {
        let answer = client.get(&path).await.expect(200);
        let page = answer.json();
        for item in page["items"].as_array().unwrap() {
            all.insert(item["recipient"].as_str().unwrap().to_owned(), item.clone());
        }
        if page["items"].to_string().contains("\"masked\":false") {
            tenant.vouch_for(&answer.request_id());
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/recalls/{id}/recipients?limit=9&cursor={cursor}"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn a_contaminated_farm_lot_is_recalled_from_all_who_got_it() {
    let stack = Stack::load();
    let tenant = stack.tenant("recall", &[Role::OpsUser, Role::Viewer]).await;
    let dairy = Dairy::new(tenant.owner(), PHONE).await;
    let (ops, viewer) = (tenant.user(Role::OpsUser), tenant.user(Role::Viewer));
    viewer.post("/v1/recalls", &recall(&[&dairy.milk[0]])).await.must(403);

    // Started: everything is found at once.
    let start = ops.request("POST", "/v1/recalls").header("idempotency-key", "drill-1");
    let answer = start.json(&recall(&[&dairy.milk[0]])).send().await.expect(201);
    let (id, path) = (answer.id(), format!("/v1/recalls/{}", answer.id()));
    assert_eq!(answer.header("location"), Some(path.as_str()));
    let again = ops.request("POST", "/v1/recalls").header("idempotency-key", "drill-1");
    let again = again.json(&recall(&[&dairy.milk[0]])).replayed().send().await.expect(201);
    assert_eq!(again.id(), id);
    let shown = answer.json();
    let summary = &shown["summary"];
    assert_eq!(
        (&summary["lots"], &summary["recipients"], &summary["truncated"]),
        (&json!(4), &json!(14), &json!(false)),
        "{summary}"
    );
    let balance = |incoming, consumed, dispatched, wasted, stock, unit| {
        json!({
            "unit": unit, "incoming": incoming, "consumed": consumed, "dispatched": dispatched,
            "wasted": wasted, "stock": stock, "unaccounted": "0",
        })
    };
    let expected = [
        balance("450.75", "200.5", "246.995", "0.25", "3.005", "KGM"),
        balance("1200.25", "1200.25", "0", "0", "0", "LTR"),
    ];
    assert_eq!(summary["balance"], json!(expected));
    let timer = &shown["timer"];
    assert_eq!((&timer["target_seconds"], &timer["within_target"]), (&json!(14400), &json!(true)));
    assert!(timer["traced_after_ms"].as_i64().unwrap() < 10_000, "{timer}");

    // Exactly these lots, and where what is left of them is.
    let whole = viewer.get(&path).await.expect(200).json();
    let found = whole["finding"]["lots"].as_array().unwrap();
    let lots: BTreeSet<&str> = found.iter().map(|lot| lot["batch_id"].as_str().unwrap()).collect();
    let named = [&dairy.milk[0], &dairy.cheese[0], &dairy.packs[0], &dairy.packs[1]];
    assert_eq!(lots, named.into_iter().map(String::as_str).collect());
    let mixed = found.iter().find(|lot| lot["batch_id"] == dairy.packs[1].as_str()).unwrap();
    assert_eq!(mixed["stock"], json!([{ "value": "3", "unit": "KGM" }]));
    assert_eq!(mixed["places"], json!([dairy.gln]));
    assert_eq!(
        (&mixed["product"], &mixed["depth"]),
        (&json!("Farmhouse cheese, 250 g"), &json!(2))
    );
    assert_eq!(whole["finding"]["links"].as_array().unwrap().len(), 3);
    assert!(!whole.to_string().contains("Corner Shop"), "the snapshot names nobody");

    // Exactly these customers and amounts; contact data for those who may.
    let masked = recipients(&tenant, viewer, &id).await;
    let clear = recipients(&tenant, ops, &id).await;
    assert_eq!(masked.keys().collect::<Vec<_>>(), clear.keys().collect::<Vec<_>>());
    assert_eq!(clear.len(), 14);
    for (index, customer) in dairy.customers.iter().enumerate() {
        let (pack, kilograms) = if index < 7 { (0, "14.285") } else { (1, "21") };
        let lots = &clear[customer]["lots"];
        assert_eq!(lots[0]["lot"], dairy.pack_keys[pack]);
        assert_eq!(lots[0]["dispatched"], json!([{ "value": kilograms, "unit": "KGM" }]));
        assert_eq!(clear[customer]["customer"]["phone"], PHONE);
        let hidden = &masked[customer]["customer"];
        assert_eq!((&hidden["masked"], &hidden["name"]), (&json!(true), &json!("Corner Shop")));
        assert!(!hidden.to_string().contains("Quay") && !hidden.to_string().contains("123456"));
    }
    let disclosed = tenant.audit_trail().await;
    let disclosed = disclosed.iter().filter(|entry| entry["action"] == "recall.disclose");
    assert_eq!(disclosed.count(), 2, "one for each page that was shown in clear");

    tell_and_close(&tenant, &dairy, &id).await;
    tenant.finish().await;
}

/// Customers are told, answer, and the recall is closed.
async fn tell_and_close(tenant: &Tenant<'_>, dairy: &Dairy, id: &str) {
    let (ops, viewer) = (tenant.user(Role::OpsUser), tenant.user(Role::Viewer));
    let path = format!("/v1/recalls/{id}");
    let notices = format!("{path}/notices");
    let (first, second) = (&dairy.customers[0], &dairy.customers[1]);
    let told = json!({
        "recipient": first, "kind": "notified", "channel": "phone",
        "contact": "Siobhan Xylander", "note": "Takes it off the shelf at once",
    });
    viewer.post(&notices, &told).await.must(403);
    let before = ops.get(&path).await.expect(200).etag();
    ops.post(&notices, &told).await.must(201);
    let answered = notice(first, &goods(&dairy.pack_keys[0], "returned", "14000", "GRM"));
    let recorded = ops.post(&notices, &answered).await.expect(201);
    let account = &recorded.json()["effectiveness"]["goods"][0];
    assert_eq!((&account["returned"], &account["outstanding"]), (&json!("14"), &json!("232.995")));

    // Not more than they got, in its unit, of its lots, and by whoever got some.
    let wrong = |goods: &Value| notice(first, goods);
    for (body, field) in [
        (wrong(&goods(&dairy.pack_keys[0], "used", "285.001", "GRM")), "/goods/0/quantity/value"),
        (wrong(&goods(&dairy.pack_keys[0], "used", "0", "GRM")), "/goods/0/quantity/value"),
        (wrong(&goods(&dairy.pack_keys[0], "used", "1", "LTR")), "/goods/0/quantity/unit"),
        (wrong(&goods(&dairy.pack_keys[1], "used", "1", "KGM")), "/goods/0/lot"),
        (notice(&dairy.packs[0], &json!([])), "/recipient"),
    ] {
        assert_eq!(fields(&ops.post(&notices, &body).await), [field], "{body}");
    }
    let mut early = told.clone();
    early["at"] = "2020-01-01T00:00:00Z".into();
    early["goods"] = goods(&dairy.pack_keys[0], "used", "1", "GRM");
    assert_eq!(fields(&ops.post(&notices, &early).await), ["/at", "/goods"]);
    let destroyed = notice(second, &goods(&dairy.pack_keys[0], "destroyed", "14.285", "KGM"));
    ops.post(&notices, &destroyed).await.must(201);

    // Whoever may not read contact data does not read names in notices.
    let shown = recipients(tenant, viewer, id).await;
    assert_eq!(shown[first]["notices"][0]["contact"], json!(null));
    let shown = recipients(tenant, ops, id).await;
    assert_eq!(shown[first]["notices"][0]["contact"], "Siobhan Xylander");
    let left = json!([{ "value": "0.285", "unit": "KGM" }]);
    assert_eq!(shown[first]["outstanding"][0]["amounts"], left);

    // Closed once, by somebody who has seen every notice.
    let close = async |etag: &str| {
        let body = json!({ "conclusion": "Two of fourteen answered; procedure to be improved" });
        let request = ops.request("POST", &format!("{path}/close")).header("if-match", etag);
        request.json(&body).send().await
    };
    close(&before).await.must(412);
    let etag = ops.get(&path).await.expect(200).etag();
    let (one, other) = futures::join!(close(&etag), close(&etag));
    assert_eq!(BTreeSet::from([one.status, other.status]), BTreeSet::from([200, 409]));
    let closed = ops.get(&path).await.expect(200);
    close(&closed.etag()).await.must(409);
    ops.post(&notices, &told).await.must(409);
    let shown = closed.json();
    assert_eq!(
        (&shown["state"], &shown["timer"]["within_target"]),
        (&json!("closed"), &json!(true))
    );
    let effect = &shown["effectiveness"];
    assert_eq!(
        (&effect["recipients"], &effect["notified"], &effect["responded"]),
        (&json!(14), &json!(2), &json!(2))
    );
    let account = &effect["goods"][0];
    assert_eq!(
        (&account["dispatched"], &account["outstanding"]),
        (&json!("246.995"), &json!("218.71"))
    );
    assert_eq!(account["accounted_percent"], "11.45");
    let listed = |query: &str| format!("/v1/recalls?{query}");
    let count = async |query: &str| {
        viewer.get(&listed(query)).await.expect(200).json()["items"].as_array().unwrap().len()
    };
    assert_eq!((count("state=closed").await, count("state=open").await), (1, 0));
    assert_eq!((count("kind=exercise").await, count("kind=recall").await), (1, 0));
}

#[tokio::test]
async fn notices_that_come_at_once_are_all_kept() {
    let stack = Stack::load();
    let tenant = stack.tenant("recall-parallel", &[]).await;
    let owner = tenant.owner();
    let dairy = Dairy::new(owner, PHONE).await;
    let id = started(owner, &[&dairy.packs[1]]).await.id();
    let path = format!("/v1/recalls/{id}/notices");
    // Twice the same amount: of 21 kg, 15 can be returned once only.
    let same = notice(&dairy.customers[7], &goods(&dairy.pack_keys[1], "returned", "15", "KGM"));
    let others = (8..12).map(|index| {
        notice(&dairy.customers[index], &goods(&dairy.pack_keys[1], "used", "1", "KGM"))
    });
    let bodies: Vec<Value> = [same.clone(), same].into_iter().chain(others).collect();
    let answers =
        futures::future::join_all(bodies.iter().map(|body| owner.post(&path, body))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 201, 201, 422]);
    let shown = owner.get(&format!("/v1/recalls/{id}")).await.expect(200).json();
    assert_eq!((&shown["notices"], &shown["version"]), (&json!(5), &json!(6)));
    assert_eq!(shown["effectiveness"]["responded"], 5);
    tenant.finish().await;
}

#[tokio::test]
async fn where_goods_came_from_is_found_when_asked() {
    let stack = Stack::load();
    let tenant = stack.tenant("recall-origin", &[]).await;
    let owner = tenant.owner();
    let dairy = Dairy::new(owner, PHONE).await;
    let mut wanted = recall(&[&dairy.packs[1], &dairy.packs[0]]);
    wanted["upstream"] = true.into();
    wanted["kind"] = "recall".into();
    let shown = owner.post("/v1/recalls", &wanted).await.expect(201).json();
    assert_eq!((&shown["summary"]["lots"], &shown["summary"]["origins"]), (&json!(2), &json!(5)));
    let path = format!("/v1/recalls/{}", shown["id"].as_str().unwrap());
    let whole = owner.get(&path).await.expect(200).json();
    let origins = whole["finding"]["lots"].as_array().unwrap().iter();
    let origins = origins.filter(|lot| lot["side"] == "origin");
    let farms = origins.filter(|lot| lot["suppliers"].as_array().unwrap().len() == 1);
    assert_eq!(farms.count(), 3);
    assert_eq!(whole["finding"]["links"].as_array().unwrap().len(), 6);
    tenant.finish().await;
}

#[tokio::test]
async fn a_recall_of_nothing_or_of_strange_lots_is_refused() {
    let stack = Stack::load();
    let tenant = stack.tenant("recall-bad", &[]).await;
    let owner = tenant.owner();
    let product = owner.post("/v1/products", &samples::product()).await.expect(201).id();
    let batch = owner.post("/v1/batches", &samples::batch(&product)).await.expect(201).id();
    let nothing = "01890000-0000-7000-8000-000000000000";
    let post = async |body: &Value| fields(&owner.post("/v1/recalls", body).await);
    assert_eq!(post(&recall(&[])).await, ["/lots"]);
    assert_eq!(post(&recall(&[&batch, nothing, &batch])).await, ["/lots/1", "/lots/2"]);
    let mut huge = recall(&[&batch]);
    huge["reason"] = "x".repeat(2001).into();
    huge["hazard"] = "sabotage".into();
    let named: BTreeSet<String> = post(&huge).await.into_iter().collect();
    assert_eq!(named, BTreeSet::from(["/hazard".to_owned(), "/reason".to_owned()]));
    // A lot that never moved is affected by itself, and nobody got it.
    let shown = started(owner, &[&batch]).await;
    let path = format!("/v1/recalls/{}", shown.id());
    let summary = &shown.json()["summary"];
    assert_eq!((&summary["lots"], &summary["recipients"]), (&json!(1), &json!(0)));
    let whole = owner.get(&path).await.expect(200).json();
    assert_eq!(whole["effectiveness"]["goods"], json!([]));
    let request = owner.request("POST", &format!("{path}/close"));
    request.json(&json!({ "conclusion": "None" })).send().await.must(428);
    tenant.finish().await;
}

#[tokio::test]
async fn what_is_erased_of_a_customer_is_gone_from_recalls_too() {
    let stack = Stack::load();
    let tenant = stack.tenant("recall-erase", &[Role::OpsUser]).await;
    let owner = tenant.owner();
    let phone = format!("+35389{}", &samples::gtin()[..9]);
    let dairy = Dairy::new(owner, &phone).await;
    let id = started(owner, &[&dairy.packs[0]]).await.id();
    let customer = &dairy.customers[0];
    let contact = format!("Ottoline {}", samples::gtin());
    let told = json!({
        "recipient": customer, "kind": "notified", "channel": "visit",
        "contact": contact, "note": format!("{contact} was told"),
    });
    let notices = format!("/v1/recalls/{id}/notices");
    let sent = owner.request("POST", &notices).header("idempotency-key", "told");
    sent.json(&told).send().await.must(201);
    // What is kept of it goes with the customer.
    assert_eq!(tenant.kept_answers_of().await, [format!("customer:{customer}")]);
    let shown = recipients(&tenant, owner, &id).await;
    assert_eq!(shown[customer]["notices"][0]["contact"], contact.as_str());
    let dump = stack.dump().await;
    assert!(dump.holds(b"Listeria") && !dump.holds(contact.as_bytes()), "sealed from the start");
    assert!(!dump.holds(phone.as_bytes()));

    pack(&stack, &tenant, &id, true).await;
    let erase = json!({ "ground": "unlawful" });
    owner.post(&format!("/v1/customers/{customer}/erase"), &erase).await.must(200);
    let shown = recipients(&tenant, owner, &id).await;
    let (erased, other) = (&shown[customer], &shown[&dairy.customers[1]]);
    assert_eq!(erased["notices"][0]["contact"], json!(null));
    assert_eq!(erased["notices"][0]["note"], json!(null));
    assert_eq!(
        (&erased["customer"]["phone"], &other["customer"]["phone"]),
        (&json!(null), &json!(phone))
    );
    assert_eq!(erased["lots"][0]["dispatched"][0]["value"], "14.285");

    // The pack from before is handed out no longer, and a new one is.
    let old = owner.get(&format!("/v1/recalls/{id}/pack")).await.expect(200).json();
    assert!(old["url"].is_null() && old["note"].as_str().unwrap().contains("Make a new one"));
    pack(&stack, &tenant, &id, true).await;
    tenant.finish().await;
}

/// Makes a pack and fetches it as an auditor gets it: what the API said, and
/// the file.
async fn pack(stack: &Stack, tenant: &Tenant<'_>, id: &str, contacts: bool) -> (Value, Vec<u8>) {
    let (ops, path) = (tenant.user(Role::OpsUser), format!("/v1/recalls/{id}/pack"));
    let made = ops.post(&path, &json!({ "contacts": contacts })).await.expect(201);
    assert!(made.json()["url"].is_null(), "the link comes with reading it");
    let answer = ops.get(&path).await.expect(200);
    tenant.vouch_for(&answer.request_id());
    let view = answer.json();
    let url = view["url"].as_str().unwrap();
    assert!(url.contains("X-Amz-Expires=300&"), "{url}");
    let (status, bytes) = stack.aws().fetch(url).await;
    assert_eq!((status, &view["size"]), (200, &json!(bytes.len())));
    assert_eq!(view["sha256"], Hash::of(&[&bytes]).to_string());
    (view, bytes)
}

#[tokio::test]
async fn the_evidence_pack_is_signed_and_says_what_was_found() {
    let stack = Stack::load();
    let tenant = stack.tenant("recall-pack", &[Role::OpsUser, Role::Viewer]).await;
    let (ops, viewer) = (tenant.user(Role::OpsUser), tenant.user(Role::Viewer));
    let dairy = Dairy::new(tenant.owner(), PHONE).await;
    tenant.owner().request("POST", "/v1/audit/checkpoints").send().await.must(201);
    let id = started(ops, &[&dairy.milk[0]]).await.id();
    let path = format!("/v1/recalls/{id}");
    viewer.get(&format!("{path}/pack")).await.must(404);
    viewer.post(&format!("{path}/pack"), &json!({})).await.must(403);
    let mut told =
        notice(&dairy.customers[0], &goods(&dairy.pack_keys[0], "returned", "14", "KGM"));
    told["contact"] = "Siobhan Xylander".into();
    ops.post(&format!("{path}/notices"), &told).await.must(201);

    // Without contact data, for everybody.
    let (view, bytes) = pack(&stack, &tenant, &id, false).await;
    let folder = Folder::new(&format!("{}-pack", tenant.slug()));
    let file = folder.file("pack.pdf", &bytes);
    let verdict = pdfsig(&file);
    assert!(verdict.contains("Signature is Valid"), "{verdict}");
    assert!(verdict.contains("Total document signed"), "{verdict}");
    assert!(pyhanko(&stack, &file).contains("INTACT:TRUSTED"));
    let text = pdftotext(&file);
    for part in [
        "Recall exercise: evidence pack",
        "Listeria monocytogenes in the bulk tank",
        "0 h 00 min",
        "4 h 00 min 00 s (BRCGS 3.9): not closed yet",
        "incoming 450.75 = consumed 200.5 + dispatched 246.995 + waste 0.25 + stock 3.005",
        "dispatched 246.995 = returned 14 + destroyed 0 + used 0 + outstanding 232.995",
        "5.67 % accounted for",
        "1 of 14 recorded as told, 1 as answering",
        "This pack shows what was recorded",
        "BRCGS 3.9",
        "BRCGS 3.11",
        "BRCGS 5.4",
        "(EC) 178/2002 Art. 18",
        "certifies nothing",
        "Last checkpoint",
        "Which lot went into which",
        "7 customers: 99.995 KGM",
        "14 KGM returned of",
        "Page 1 of",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    for lot in ["MILK-0", "CHEESE-1", "PACK-1", "PACK-2"] {
        assert!(text.matches(lot).count() >= 3, "{lot}: picture and tables");
    }
    assert!(text.matches("Corner Shop").count() >= 14 && !text.contains("CHEESE-2"));
    for hidden in [PHONE, "Quay Street", "Xylander"] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    let out = folder.file("recall.json", b"");
    let taken = Command::new("pdfdetach")
        .args(["-savefile", "recall.json", "-o"])
        .args([&out, &file])
        .output()
        .unwrap();
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let attached: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let whole = ops.get(&path).await.expect(200).json();
    assert_eq!(attached["recall"]["finding"], whole["finding"]);
    assert_eq!(attached["recall"]["effectiveness"], whole["effectiveness"]);
    assert!(attached["audit"]["checkpoint"].as_str().unwrap().contains(tenant.slug()));
    assert_eq!(view["recall_version"], whole["version"]);
    let answer = viewer.get(&format!("{path}/pack")).await.expect(200);
    tenant.vouch_for(&answer.request_id());

    // With contact data, for roles that may read it.
    let close = ops.request("POST", &format!("{path}/close"));
    let close = close.header("if-match", &ops.get(&path).await.expect(200).etag());
    close.json(&json!({ "conclusion": "Procedure holds" })).send().await.must(200);
    let (_, bytes) = pack(&stack, &tenant, &id, true).await;
    let text = pdftotext(&folder.file("clear.pdf", &bytes));
    for shown in [PHONE, "Quay Street", "Xylander", "Procedure holds", "(BRCGS 3.9): met"] {
        assert!(text.contains(shown), "{shown} is missing in {text}");
    }
    // It hides nothing: each role gets the newest that is for it, or the one
    // that it asks for.
    for (client, query, sha256) in [
        (viewer, "", Some(&view["sha256"])),
        (viewer, "?contacts=false", Some(&view["sha256"])),
        (ops, "?contacts=false", Some(&view["sha256"])),
        (ops, "?contacts=true", None),
    ] {
        let answer = client.get(&format!("{path}/pack{query}")).await.expect(200);
        tenant.vouch_for(&answer.request_id());
        let shown = answer.json();
        assert_eq!(shown["contacts"], sha256.is_none(), "{query}: {shown}");
        assert!(sha256.is_none_or(|sha256| *sha256 == shown["sha256"]), "{query}: {shown}");
    }
    viewer.get(&format!("{path}/pack?contacts=true")).await.must(403);
    assert_eq!(fields(&ops.get(&format!("{path}/pack?contacts=perhaps")).await), ["contacts"]);
    let kinds: Vec<String> = tenant
        .audit_trail()
        .await
        .iter()
        .filter_map(|entry| entry["action"].as_str()?.strip_prefix("recall_pack.").map(Into::into))
        .collect();
    let mut expected = vec!["fetch"; 5];
    expected.extend(["create", "fetch", "fetch", "create"]);
    assert_eq!(kinds, expected);
    tenant.finish().await;
}
