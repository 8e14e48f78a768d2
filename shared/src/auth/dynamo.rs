//! What the throttle and the session store share: numbers in `DynamoDB` items.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::tenant::StoreError;

/// An item as `DynamoDB` returns it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// A whole number as an attribute.
pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The whole number in the attribute `name`.
pub(super) fn read_number(item: &Item, name: &'static str) -> Result<i64, StoreError> {
    item.get(name)
        .and_then(|value| value.as_n().ok())
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed(name))
}

/// An item whose attribute `name` is not what this code writes.
pub(super) fn malformed(name: &'static str) -> StoreError {
    StoreError::defect(format_args!("malformed item attribute {name}"))
}
