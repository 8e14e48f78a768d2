//! Breaches of personal data: events in, each affected tenant told once, both
//! clocks watched; notices in the console; and what an audit trail says of the
//! scope of a breach. docs/adr/0028 has the reasons.

pub mod announcement;
pub mod breach;
pub mod clocks;
pub mod delivery;
pub mod event;
pub mod incident;
pub mod jobs;
pub mod notice;
pub mod report;
pub mod routes;
pub mod scope;
pub mod watch;
