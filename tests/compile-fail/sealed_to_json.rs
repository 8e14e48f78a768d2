//! Sealed values in an answer.

use keystone::crypto::{Plain, Sealed};

pub fn sealed(value: &Sealed<String>) -> String {
    serde_json::to_string(value).unwrap_or_default() //~ E0277
}

pub fn plain(value: &Plain<String>) -> String {
    serde_json::to_string(value).unwrap_or_default() //~ E0277
}
