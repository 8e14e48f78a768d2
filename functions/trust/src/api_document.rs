//! What the API's own document says that there is. It is made from the routes,
//! so that whoever walks it walks all of them.

use serde_json::Value;

/// A guarded operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its `operationId`.
    pub name: String,
    /// Its method, such as `GET`.
    pub method: String,
    /// Its path with `{parameters}`.
    pub path: String,
}

/// The operations of an API document that need a session.
pub fn guarded(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            // What needs none says so; everything else does.
            if operation.get("security").is_none() {
                let name = operation["operationId"].as_str().unwrap_or_default().to_owned();
                found.push(Operation { name, method: method.to_uppercase(), path: path.clone() });
            }
        }
    }
    found
}
