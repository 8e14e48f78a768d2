//! Lots as the API takes them, and what it says of them.

use serde_json::{Value, json};

use crate::{Answer, Client, samples};

/// When things happen, where it does not matter.
pub const AT: &str = "2026-03-01T06:30:00Z";

/// A new product of this name: its id and GTIN.
pub async fn product(owner: &Client, name: &str) -> (String, String) {
    let mut product = samples::product();
    product["name"] = name.into();
    let gtin = product["gtin"].as_str().expect("a GTIN").to_owned();
    (owner.post("/v1/products", &product).await.expect(201).id(), gtin)
}

/// A new supplier.
pub async fn supplier(owner: &Client) -> String {
    owner.post("/v1/suppliers", &samples::supplier(&samples::iban())).await.expect(201).id()
}

/// A new customer.
pub async fn customer(owner: &Client) -> String {
    let customer = samples::customer("1 Quay Street", "+353861234567");
    owner.post("/v1/customers", &customer).await.expect(201).id()
}

/// A lot that arrives or comes to be.
pub fn lot(product: &str, number: &str, value: &str, unit: &str) -> Value {
    json!({
        "product_id": product, "lot_number": number, "quantity": { "value": value, "unit": unit },
    })
}

/// An amount of a lot.
pub fn portion(batch: &str, value: &str, unit: &str) -> Value {
    json!({ "batch_id": batch, "quantity": { "value": value, "unit": unit } })
}

/// Posts an entry; the lots that it made.
pub async fn made(client: &Client, path: &str, body: Value) -> Vec<String> {
    let answer = client.post(path, &body).await.expect(201);
    let batches = answer.json()["batches"].as_array().expect("the batches").clone();
    batches.iter().map(|id| id.as_str().expect("an id").to_owned()).collect()
}

/// An EPCIS document of these events.
pub fn document(events: &[Value]) -> Value {
    json!({
        "@context": "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",
        "type": "EPCISDocument", "schemaVersion": "2.0", "creationDate": AT,
        "epcisBody": { "eventList": events },
    })
}

/// Captures these events, all of which must be new and right.
pub async fn captured(owner: &Client, events: &[Value]) {
    let job = owner.post("/v1/capture", &document(events)).await.expect(202).json();
    assert_eq!((&job["success"], &job["captured"]), (&json!(true), &json!(events.len())), "{job}");
}

/// The GS1 element string of a lot.
pub fn key(gtin: &str, lot: &str) -> String {
    format!("01/{gtin:0>14}/10/{lot}")
}

/// The fields that a 422 names.
pub fn fields(answer: &Answer) -> Vec<String> {
    answer.must(422);
    let errors = answer.json()["errors"].as_array().expect("the errors").clone();
    errors.iter().map(|error| error["field"].as_str().expect("a field").to_owned()).collect()
}
