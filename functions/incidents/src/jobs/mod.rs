//! One file per job.

pub mod notify_breach;
pub mod publish_notice;
pub mod scope_breach;
pub mod watch_breaches;
