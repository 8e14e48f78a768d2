//! Functions that no HTTP client calls.

pub mod drain_outbox;
pub mod maintain_keys;
pub mod provision_tenant;
pub mod rotate_session_secret;
