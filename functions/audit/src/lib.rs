//! The audit trail: query, single entries, signed exports.

pub mod export;
pub mod filter;
pub mod pades;
pub mod report;
pub mod routes;
pub mod view;
