//! Functions that no HTTP client calls.

pub mod close_tenant;
pub mod destroy_tenants;
pub mod drain_outbox;
pub mod maintain_keys;
pub mod prepare_tenants;
pub mod provision_tenant;
pub mod record_bounce;
pub mod rotate_session_secret;
