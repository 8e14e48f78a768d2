//! The audit trail: query, single entries, proofs, signed checkpoints, exports,
//! attested reviews and what else a customer owes to its own security, and the
//! check of what is stored.

pub mod archive;
pub mod checkpoints;
pub mod duties;
pub mod exports;
pub mod filter;
pub mod jobs;
pub mod report;
pub mod review;
pub mod routes;
pub mod self_check;
pub mod stored;
pub mod view;
