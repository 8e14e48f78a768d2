//! A dairy whose goods went a long way: milk of three farms, two batches of
//! cheese, two packs, fourteen customers.

use serde_json::{Value, json};

use crate::{Client, samples};

/// When all of it happened.
pub const AT: &str = "2026-03-01T06:30:00Z";

/// The dairy's lots and partners, by id.
pub struct Dairy {
    /// GLN of the creamery, where everything was made.
    pub gln: String,
    /// Milk of three farms.
    pub milk: Vec<String>,
    /// Cheese: of farms 0 and 1, and of farm 2.
    pub cheese: Vec<String>,
    /// Packs: of the first cheese, and of both.
    pub packs: Vec<String>,
    /// GS1 element strings of the packs.
    pub pack_keys: Vec<String>,
    /// Who got seven parts of each pack.
    pub customers: Vec<String>,
}

async fn product(owner: &Client, name: &str) -> (String, String) {
    let mut product = samples::product();
    product["name"] = name.into();
    let gtin = product["gtin"].as_str().expect("text").to_owned();
    (owner.post("/v1/products", &product).await.expect(201).id(), gtin)
}

fn lot(product: &str, number: &str, value: &str, unit: &str) -> Value {
    json!({
        "product_id": product, "lot_number": number, "quantity": { "value": value, "unit": unit },
    })
}

/// An amount of a lot.
pub fn portion(batch: &str, value: &str, unit: &str) -> Value {
    json!({ "batch_id": batch, "quantity": { "value": value, "unit": unit } })
}

async fn made(owner: &Client, path: &str, body: Value) -> String {
    let answer = owner.post(path, &body).await.expect(201).json();
    answer["batches"][0].as_str().expect("an id").to_owned()
}

impl Dairy {
    /// Enters everything as `owner`; `phone` is what each customer has.
    pub async fn new(owner: &Client, phone: &str) -> Self {
        let mut site = samples::site();
        site["name"] = "Creamery".into();
        let gln = site["gln"].as_str().expect("text").to_owned();
        let site = owner.post("/v1/sites", &site).await.expect(201).id();
        let (milk, _) = product(owner, "Raw milk").await;
        let (cheese, _) = product(owner, "Farmhouse cheese").await;
        let (packed, packed_gtin) = product(owner, "Farmhouse cheese, 250 g").await;
        let mut farms = Vec::new();
        for (index, litres) in ["1200.250", "800.125", "999.625"].iter().enumerate() {
            let supplier = samples::supplier(&samples::iban());
            let supplier = owner.post("/v1/suppliers", &supplier).await.expect(201).id();
            let receipt = json!({
                "supplier_id": supplier, "at": AT, "site_id": site,
                "lots": [lot(&milk, &format!("MILK-{index}"), litres, "LTR")],
            });
            farms.push(made(owner, "/v1/receipts", receipt).await);
        }
        let make = async |inputs: Value, output: Value| {
            let body = json!({ "at": AT, "site_id": site, "inputs": inputs, "outputs": [output] });
            made(owner, "/v1/transformations", body).await
        };
        let first = make(
            json!([portion(&farms[0], "1200.25", "LTR"), portion(&farms[1], "800", "LTR")]),
            lot(&cheese, "CHEESE-1", "200.5", "KGM"),
        )
        .await;
        let second = make(
            json!([portion(&farms[2], "999.625", "LTR")]),
            lot(&cheese, "CHEESE-2", "100", "KGM"),
        )
        .await;
        let pure =
            make(json!([portion(&first, "100.5", "KGM")]), lot(&packed, "PACK-1", "100250", "GRM"))
                .await;
        let mixed = make(
            json!([portion(&first, "0.1", "TNE"), portion(&second, "50", "KGM")]),
            lot(&packed, "PACK-2", "150", "KGM"),
        )
        .await;
        let waste = json!({ "at": AT, "lots": [portion(&pure, "250", "GRM")] });
        owner.post("/v1/waste", &waste).await.must(201);
        let mut customers = Vec::new();
        for index in 0..14 {
            let customer = samples::customer(&format!("{index} Quay Street"), phone);
            let customer = owner.post("/v1/customers", &customer).await.expect(201).id();
            let (batch, grams) = if index < 7 { (&pure, "14285") } else { (&mixed, "21000") };
            let dispatch = json!({
                "customer_id": customer, "at": AT, "site_id": site,
                "lots": [portion(batch, grams, "GRM")],
            });
            owner.post("/v1/dispatches", &dispatch).await.must(201);
            customers.push(customer);
        }
        let key = |lot: &str| format!("01/{packed_gtin:0>14}/10/{lot}");
        Self {
            gln,
            milk: farms,
            cheese: vec![first, second],
            packs: vec![pure, mixed],
            pack_keys: vec![key("PACK-1"), key("PACK-2")],
            customers,
        }
    }
}
