//! Times that the public page promises and that more than one context counts:
//! the one that keeps them, and the one that checks whether they are kept.

use jiff::SignedDuration;

/// Within this time of its confirmation a tenant should be notified of a breach.
pub const BREACH_TARGET: SignedDuration = SignedDuration::from_hours(24);
/// Within this time of its confirmation a tenant must be notified of a breach.
pub const BREACH_DEADLINE: SignedDuration = SignedDuration::from_hours(72);
/// So long before a deadline of a vulnerability report ends, its watcher begins
/// to remind of it.
pub const REPORT_REMINDER: SignedDuration = SignedDuration::from_hours(24);
/// Days that customers have, from the notice of a sub-processor to its use.
pub const SUB_PROCESSOR_NOTICE_DAYS: i32 = 30;
