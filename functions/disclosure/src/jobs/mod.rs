//! Functions that no HTTP client calls.

pub mod announce_sub_processor;
pub mod settle_objection;
pub mod triage_vulnerability;
pub mod watch_disclosures;
pub mod withdraw_sub_processor;
