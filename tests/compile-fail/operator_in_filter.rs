//! A value that could become a query operator.

use keystone::tenant::Filter;

pub fn injected(from_client: serde_json::Value) -> Filter {
    Filter::all().eq("gtin", from_client) //~ E0277
}
