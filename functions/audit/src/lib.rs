//! The audit trail: query, single entries, proofs, signed checkpoints, signed
//! exports, and the check of what is stored.

pub mod archive;
pub mod checkpoints;
pub mod export;
pub mod filter;
pub mod jobs;
pub mod pades;
pub mod report;
pub mod routes;
pub mod self_check;
pub mod view;
