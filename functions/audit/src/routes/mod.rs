//! One file per route.

use keystone::http::Route;

pub mod create_audit_export;
pub mod get_audit_entry;
pub mod list_audit_entries;

/// Every route of this crate.
pub const ROUTES: [&Route; 3] =
    [&create_audit_export::ROUTE, &get_audit_entry::ROUTE, &list_audit_entries::ROUTE];
