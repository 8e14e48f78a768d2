//! The daily self-check of all audit trails, as it left its result.

use jiff::SignedDuration;
use keystone::audit::entry::{Outcome, at_text};
use keystone::tenant::AuditFilter;
use serde_json::json;

use super::{Blind, FRESH, Finding, Look};

/// What `audit-self-check` leaves in the provider's trail.
const ACTION: &str = "audit_trails.check";

/// How long a missed deadline counts against the claim that there is none.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24 * 90);

/// Whether a watcher recorded `miss` lately.
pub(super) async fn deadlines(look: &Look<'_>, miss: &str) -> Result<Finding, Blind> {
    let filter = AuditFilter {
        action: Some(miss.into()),
        from: Some(look.job.now - REMEMBERED),
        ..AuditFilter::default()
    };
    let found = look.provider.newest_audit_entry(&filter).await?;
    let days = REMEMBERED.as_hours() / 24;
    Ok(match found {
        None => Finding::of(true, format!("No deadline was missed in {days} days."), json!({})),
        Some(last) => {
            let when = at_text(last.entry.at);
            let evidence = format!("A deadline was missed in {days} days, lastly at {when}.");
            Finding::of(false, evidence, json!({ "last_missed_at": when }))
        }
    })
}

pub(super) async fn self_check(look: &Look<'_>) -> Result<Finding, Blind> {
    let filter = AuditFilter { action: Some(ACTION.into()), ..AuditFilter::default() };
    let Some(last) = look.provider.newest_audit_entry(&filter).await? else {
        return Ok(Finding::unknown("The audit trails were not checked yet."));
    };
    let (at, clean) = (last.entry.at, last.entry.outcome == Outcome::Success);
    let when = at_text(at);
    let facts = json!({ "checked_at": when, "clean": clean });
    Ok(if at + FRESH < look.job.now {
        Finding::of(false, format!("The audit trails were last checked at {when}."), facts)
    } else if clean {
        let evidence = format!(
            "At {when} every entry of every audit trail was what its tree, its signed checkpoints \
             and the archive say."
        );
        Finding::of(true, evidence, facts)
    } else {
        let evidence =
            format!("The check of the audit trails at {when} did not end without fault.");
        Finding::of(false, evidence, facts)
    })
}
