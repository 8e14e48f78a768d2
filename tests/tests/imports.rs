//! Tables of batches and dispatches: all of a table or nothing of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use keystone::auth::Role;
use keystone_tests::goods::{AT, customer, fields, key, lot, made, product, supplier};
use keystone_tests::{Answer, Client, Stack, samples};
use serde_json::{Value, json};

async fn import(client: &Client, path: &str, table: impl Into<Vec<u8>>) -> Answer {
    let request = client.request("POST", path).header("content-type", "text/csv; charset=utf-8");
    let request = request.body(table);
    if path.contains("dry_run=true") {
        request.replayed().send().await
    } else {
        request.send().await
    }
}

/// The errors of a dry run as `/<row>/<column>`.
fn judged(answer: &Answer) -> Vec<String> {
    answer.must(200);
    let shown = answer.json();
    assert_eq!(shown["id"], Value::Null, "{shown}");
    let errors = shown["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| {
            assert!(!error["message"].as_str().unwrap().is_empty());
            format!("/{}/{}", error["row"], error["column"].as_str().unwrap())
        })
        .collect()
}

async fn count(client: &Client, path: &str) -> usize {
    client.get(path).await.expect(200).json()["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_table_of_batches_is_taken_whole_or_not_at_all() {
    const PATH: &str = "/v1/imports/batches";
    const DRY: &str = "/v1/imports/batches?dry_run=true";
    let stack = Stack::load();
    let tenant = stack.tenant("tables", &[Role::Viewer]).await;
    let owner = tenant.owner();
    let (milk, gtin) = product(owner, "Milk").await;
    let supplier = supplier(owner).await;
    owner.post("/v1/batches", &lot(&milk, "OLD", "1", "LTR")).await.must(201);
    let listed = format!("/v1/batches?product_id={milk}");

    let wrong = format!(
        "\u{feff}GTIN;lot_number;quantity;unit;best_before;supplier_id\r\n\
         {gtin};A-1;1250,5;LTR;2027-01-31;{supplier}\r\n\
         {gtin};OLD;1;LTR;;\r\n\
         {gtin};A-1;2;LTR;;\r\n\
         4012345666663;A-2;2;LTR;;\r\n\
         {gtin};\"A\n3\";1.250;GAL;31.1.2027;{milk}\r\n\
         ;;;;;\r\n\
         {gtin};A-4;-1;LTR;;;x\r\n\
         {gtin};A-5;0;LTR;;\r\n"
    );
    let expected = [
        "/3/lot_number",
        "/4/lot_number",
        "/5/gtin",
        "/6/best_before",
        "/6/lot_number",
        "/6/lot_number",
        "/6/quantity",
        "/6/unit",
        "/8/",
        "/9/quantity",
    ];
    let dry = import(owner, DRY, wrong.clone()).await;
    assert_eq!(judged(&dry), expected, "{dry}");
    assert_eq!(dry.json()["rows"], 7);
    assert_eq!(fields(&import(owner, PATH, wrong).await), expected);
    assert_eq!(count(owner, &listed).await, 1, "nothing of it is recorded");
    import(tenant.user(Role::Viewer), PATH, "gtin").await.must(403);

    let table = format!(
        "lot_number,gtin,quantity,unit,origin,supplier_id\n\
         A-1,{gtin},1250.5,LTR,IE,{supplier}\n\
         \"A-2\",{gtin:0>14},\"0.100000\",KGM,,\n"
    );
    assert_eq!(judged(&import(owner, DRY, table.clone()).await), Vec::<String>::new());
    assert_eq!(count(owner, &listed).await, 1, "a dry run records nothing");
    let keyed = async |body: &str, new: bool| {
        let request = owner
            .request("POST", PATH)
            .header("content-type", "text/csv")
            .header("idempotency-key", "table-1")
            .body(body);
        if new { request.send().await } else { request.replayed().send().await }
    };
    let done = keyed(&table, true).await.expect(200);
    assert_eq!((&done.json()["rows"], &done.json()["errors"]), (&json!(2), &json!([])));
    assert_eq!(keyed(&table, false).await.expect(200).json(), done.json());
    keyed(&format!("{table} "), false).await.must(409);
    let batches = owner.get(&listed).await.expect(200).json();
    let items = batches["items"].as_array().unwrap();
    assert_eq!(items.len(), 3);
    // They have their stock, and where they came from.
    for (number, stock, unit, receipts) in [("A-1", "1250.5", "LTR", 1), ("A-2", "0.1", "KGM", 0)] {
        let batch = items.iter().find(|item| item["lot_number"] == number).unwrap();
        let path = format!("/v1/batches/{}/article-18", batch["id"].as_str().unwrap());
        let shown = owner.get(&path).await.expect(200).json();
        assert_eq!(shown["balance"]["stock"], json!([{ "value": stock, "unit": unit }]), "{shown}");
        assert_eq!(shown["receipts"].as_array().unwrap().len(), receipts);
    }
    // One entry says all of it.
    let trail = owner.get("/v1/audit?action=import.batches").await.expect(200).json();
    assert_eq!(trail["items"].as_array().unwrap().len(), 1);
    assert_eq!(trail["items"][0]["resource"]["id"], done.json()["id"]);

    // As many as there may be, and one more.
    let many = |from: usize, count: usize| {
        let rows: Vec<String> =
            (from..from + count).map(|n| format!("{gtin},N-{n},1,KGM")).collect();
        format!("gtin,lot_number,quantity,unit\n{}\n", rows.join("\n"))
    };
    assert_eq!(fields(&import(owner, PATH, many(0, 1001)).await), ["/1002/"]);
    assert_eq!(import(owner, PATH, many(0, 1000)).await.expect(200).json()["rows"], 1000);
    let again = import(owner, DRY, many(0, 1000)).await;
    assert_eq!(judged(&again).len(), 1000, "every bad row is listed");
    tenant.finish().await;
}

#[tokio::test]
async fn what_is_no_table_is_refused() {
    let stack = Stack::load();
    let tenant = stack.tenant("no-tables", &[]).await;
    let owner = tenant.owner();
    for path in ["/v1/imports/batches", "/v1/imports/dispatches"] {
        for (body, status) in [
            (&b""[..], 400),
            (b"gtin,lot_number\n\xff\xfe,1\n", 400),
            (b"{}", 422),
            (b"\n\n", 422),
            (b"gtin,lot_number,quantity,unit\n", 422),
            (b"\"gtin,lot_number", 422),
            (b"gtin,gtin,colour\n1,2,3\n", 422),
        ] {
            let answer = import(owner, path, body).await;
            assert_eq!(answer.status, status, "{body:?}: {answer}");
        }
        // A header of columns only names what is missing and how much is too much.
        let crowded = import(owner, path, ",x".repeat(200_000)).await;
        let named = fields(&crowded);
        assert!(named.len() < 60 && named.contains(&"/1/gtin".to_owned()), "{named:?}");
        assert!(named.contains(&"/1/".to_owned()), "{named:?}");
        import(owner, path, vec![b'a'; 1024 * 1024 + 1]).await.must(413);
        let json = owner.request("POST", path).json(&json!({})).send().await;
        assert!(json.expect(415).json()["detail"].as_str().unwrap().contains("text/csv"));
        let answer = import(owner, &format!("{path}?dry_run=perhaps"), "a").await;
        assert_eq!(fields(&answer), ["dry_run"]);
    }
    tenant.finish().await;
}

#[tokio::test]
async fn a_table_of_dispatches_takes_no_more_than_there_is() {
    const PATH: &str = "/v1/imports/dispatches";
    let stack = Stack::load();
    let tenant = stack.tenant("shipments", &[]).await;
    let owner = tenant.owner();
    let (cheese, gtin) = product(owner, "Cheese").await;
    let site = owner.post("/v1/sites", &samples::site()).await.expect(201).json();
    let gln = site["gln"].as_str().unwrap();
    let (first, second) = (customer(owner).await, customer(owner).await);
    let receipt = json!({
        "supplier_id": supplier(owner).await, "at": AT,
        "lots": [lot(&cheese, "C-1", "10", "KGM"), lot(&cheese, "C-2", "5", "KGM")],
    });
    let batches = made(owner, "/v1/receipts", receipt).await;
    let held = json!({ "state": "on_hold" });
    owner.patch(&format!("/v1/batches/{}", batches[1]), "\"1\"", &held).await.must(200);

    let header = "customer_id,at,site_gln,gtin,lot_number,quantity,unit";
    let wrong = format!(
        "{header}\n\
         {first},{AT},{gln},{gtin},C-1,6,KGM\n\
         {second},{AT},,{gtin},C-1,4001,GRM\n\
         {cheese},{AT},4012345000009,{gtin},C-1,0,KGM\n\
         {first},{AT},,{gtin},C-2,1,KGM\n\
         {first},{AT},,{gtin},C-3,1,KGM\n\
         {first},yesterday,,{gtin},C-1,1,LTR\n\
         {first},{AT},,{gtin},C-1,1,LTR\n\
         {first},1999-12-31T23:59:59Z,,{gtin},C-1,1,GRM\n\
         {first},2999-01-01T00:00:00Z,,{gtin},C-1,1,GRM\n"
    );
    let expected = [
        "/3/quantity",
        "/4/customer_id",
        "/4/quantity",
        "/4/site_gln",
        "/5/lot_number",
        "/6/lot_number",
        "/7/at",
        "/8/unit",
        "/9/at",
        "/10/at",
    ];
    let dry = import(owner, &format!("{PATH}?dry_run=true"), wrong.clone()).await;
    assert_eq!(judged(&dry), expected, "{dry}");
    assert_eq!(fields(&import(owner, PATH, wrong).await), expected);

    let right = format!(
        "{header}\n\
         {first},{AT},{gln},{gtin},C-1,6,KGM\n\
         {second},{AT},,{gtin},C-1,4000,GRM\n"
    );
    assert_eq!(import(owner, PATH, right.clone()).await.expect(200).json()["rows"], 2);
    assert_eq!(fields(&import(owner, PATH, right).await), ["/2/quantity", "/3/quantity"]);
    let shown = owner.get(&format!("/v1/batches/{}/article-18", batches[0])).await.expect(200);
    tenant.vouch_for(&shown.request_id());
    let shown = shown.json();
    assert_eq!(shown["lot"], key(&gtin, "C-1"));
    assert_eq!(shown["balance"]["stock"], json!([{ "value": "0", "unit": "KGM" }]), "{shown}");
    let customers: Vec<&str> = shown["customers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert!(customers.contains(&&*first) && customers.contains(&&*second), "{shown}");
    tenant.finish().await;
}
