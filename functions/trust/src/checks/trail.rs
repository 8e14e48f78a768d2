//! What other jobs left in the provider's trail: the self-check of all audit
//! trails, the isolation probe.

use keystone::audit::entry::{Outcome, at_text};
use keystone::tenant::AuditFilter;
use serde_json::json;

use super::{Blind, FRESH, Finding, Look};
use crate::isolation::PROBE;

/// What `audit-self-check` leaves in the provider's trail.
const ACTION: &str = "audit_trails.check";

pub(super) async fn self_check(look: &Look<'_>) -> Result<Finding, Blind> {
    last_run(
        look,
        ACTION,
        ["audit trails were", "The check of the audit trails"],
        "every entry of every audit trail was what its tree, its signed checkpoints and the \
         archive say",
    )
    .await
}

/// Which routes it was that showed something, or proved nothing, is in the trail
/// and in the log, and not for whoever looks for a way in.
pub(super) async fn isolation_probe(look: &Look<'_>) -> Result<Finding, Blind> {
    last_run(
        look,
        PROBE,
        ["isolation of tenants was", "The probe of the isolation of tenants"],
        "every read route that an admin may use was tried between two tenants, and showed each \
         its own and nothing of the other's",
    )
    .await
}

/// What the last run of a job found that leaves an entry of `action`: `what` was
/// checked, `run` is its name, `clean` is what holds if it found nothing.
async fn last_run(
    look: &Look<'_>,
    action: &str,
    [what, run]: [&str; 2],
    clean: &str,
) -> Result<Finding, Blind> {
    let filter = AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
    let Some(last) = look.provider.newest_audit_entry(&filter).await? else {
        return Ok(Finding::unknown(format!("The {what} not checked yet.")));
    };
    let (at, is_clean) = (last.entry.at, last.entry.outcome == Outcome::Success);
    let when = at_text(at);
    let facts = json!({ "checked_at": when, "clean": is_clean });
    Ok(if at + FRESH < look.job.now {
        Finding::of(false, format!("The {what} last checked at {when}."), facts)
    } else if is_clean {
        Finding::of(true, format!("At {when} {clean}."), facts)
    } else {
        Finding::of(false, format!("{run} at {when} did not end without fault."), facts)
    })
}
