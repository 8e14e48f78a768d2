//! One file per route.

use keystone::http::Route;

pub mod list_keys;

/// Every route of this crate.
pub const ROUTES: [&Route; 1] = [&list_keys::ROUTE];
