//! One file per route.

use keystone::http::{PublicRoute, Route};

pub mod attest_audit_review;
pub mod create_audit_checkpoint;
pub mod create_audit_export;
pub mod get_audit_checkpoint;
pub mod get_audit_consistency;
pub mod get_audit_entry;
pub mod get_audit_export;
pub mod get_audit_proof;
pub mod get_duties;
pub mod list_audit_checkpoints;
pub mod list_audit_entries;
pub mod list_audit_exports;
pub mod list_audit_keys;
pub mod list_audit_reviews;

/// Every guarded route of this crate.
pub const ROUTES: [&Route; 13] = [
    &attest_audit_review::ROUTE,
    &create_audit_checkpoint::ROUTE,
    &create_audit_export::ROUTE,
    &get_audit_checkpoint::ROUTE,
    &get_audit_consistency::ROUTE,
    &get_audit_entry::ROUTE,
    &get_audit_export::ROUTE,
    &get_audit_proof::ROUTE,
    &get_duties::ROUTE,
    &list_audit_checkpoints::ROUTE,
    &list_audit_entries::ROUTE,
    &list_audit_exports::ROUTE,
    &list_audit_reviews::ROUTE,
];

/// Every public route of this crate.
pub const PUBLIC_ROUTES: [&PublicRoute; 1] = [&list_audit_keys::ROUTE];
