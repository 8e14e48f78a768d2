//! Functions that no HTTP client calls.

pub mod audit_self_check;
pub mod publish_checkpoints;
pub mod run_audit_export;
pub mod sweep_audit_exports;
pub mod watch_duties;
