//! Functions that no HTTP client calls.

pub mod audit_self_check;
pub mod publish_checkpoints;
