//! Whether customers were told of each sub-processor in use 30 days before it
//! came into use.
//!
//! What counts is what lies with each tenant now: a letter that left in time and
//! is not known to have come back. Who let the change take effect is not asked,
//! so one that came into use past the gate of ADR 29 shows, and so does a letter
//! that came back when the gate had let the change through.

use jiff::Timestamp;
use keystone::calendar;
use keystone::mail::{self, Progress, State as MailState};
use keystone::promises::SUB_PROCESSOR_NOTICE_DAYS;
use keystone::tenant::{Entity, Filter, Id, Page, StoreError, Stored, Tenant, Visit, schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Blind, Finding, Look};

/// Changes that one look takes in, as many as the public list shows.
const MOST: i64 = 100;

/// A change of sub-processors, for when it took effect.
#[derive(Debug, Serialize, Deserialize)]
struct Change {
    activated_at: Option<Timestamp>,
}

impl Entity for Change {
    const COLLECTION: &'static schema::Collection = &schema::SUB_PROCESSOR_CHANGES;
    const RESOURCE: &'static str = "sub_processor_change";
    const PERSONAL: &'static [&'static str] = &[];
}

/// What a tenant was told of a change, for its letter.
#[derive(Debug, Serialize, Deserialize)]
struct Notice {
    mail: Id,
}

impl Entity for Notice {
    const COLLECTION: &'static schema::Collection = &schema::SUB_PROCESSOR_NOTICES;
    const RESOURCE: &'static str = "sub_processor_notice";
    const PERSONAL: &'static [&'static str] = &[];
}

/// Whether a letter left 30 days before a change took effect, in days of Ireland,
/// and did not come back. One that left on no known day left too late.
fn in_time(letter: Option<Progress>, activated_at: Option<Timestamp>) -> bool {
    let sent = letter.filter(|letter| letter.state == MailState::Sent);
    let (Some(sent), Some(activated_at)) = (sent, activated_at) else { return false };
    let day = calendar::day_of(sent.since);
    calendar::days_after(day, SUB_PROCESSOR_NOTICE_DAYS) <= calendar::day_of(activated_at)
}

/// Whether `tenant` was told of `change` in time, or had not to be.
async fn told(tenant: &Tenant, change: &Stored<Change>) -> Result<bool, StoreError> {
    let Some(notice) = tenant.get::<Notice>(change.id).await? else {
        // Who came later found it on the list.
        return Ok(tenant.settings().await?.created_at > change.created_at);
    };
    let letter = mail::progress(tenant, notice.entity.mail).await?;
    Ok(in_time(letter, change.entity.activated_at))
}

pub(super) async fn sub_processors(look: &Look<'_>) -> Result<Finding, Blind> {
    let in_use = Filter::all().eq("state", "active");
    let page = Page { after: None, limit: MOST };
    let changes = look.provider.list::<Change>(in_use, page).await?;
    if i64::try_from(changes.len()).is_ok_and(|count| count >= MOST) {
        return Err(Blind::Reason("There is more than one look takes in.".into()));
    }
    if changes.is_empty() {
        let evidence = "No sub-processor is in use that was not there from the beginning.";
        return Ok(Finding::of(true, evidence, json!({ "in_use": 0, "not_told": false })));
    }
    let registry = look.job.registry().await?;
    let (mut not_told, mut blind) = (false, None);
    for enrolled in registry.walk(Visit::KeptCustomers).await? {
        let seen: Result<(), Blind> = async {
            let tenant = registry.for_job(enrolled, look.job.now).await?;
            for change in &changes {
                if !told(&tenant, change).await? {
                    let (id, change) = (tenant.id(), change.id);
                    tracing::error!(tenant = %id, %change, "was not told 30 days before");
                    not_told = true;
                }
            }
            Ok(())
        }
        .await;
        // What is found of others is found, whoever cannot be looked at.
        blind = seen.err().or(blind);
    }
    if let Some(blind) = blind.filter(|_| !not_told) {
        return Err(blind);
    }
    let evidence = if not_told {
        "A sub-processor is in use of which a tenant has no letter that left 30 days before and \
         did not come back."
    } else {
        "Of each sub-processor that came into use, every tenant that there was has a letter that \
         left 30 days before."
    };
    let facts = json!({ "in_use": changes.len(), "not_told": not_told });
    Ok(Finding::of(!not_told, evidence, facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_counts_that_left_thirty_days_before_and_stayed() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let letter = |state| Some(Progress { state, since: at("2026-03-01T18:00:00Z") });
        let sent = letter(MailState::Sent);
        // Days count, and not hours; in Ireland it is summer since 29 March.
        for (activated_at, wanted) in [
            ("2026-03-01T19:00:00Z", false),
            ("2026-03-30T22:59:59Z", false),
            ("2026-03-30T23:00:00Z", true),
            ("2026-06-01T00:00:00Z", true),
        ] {
            assert_eq!(in_time(sent, Some(at(activated_at))), wanted, "{activated_at}");
        }
        let late = Some(at("2026-06-01T00:00:00Z"));
        for lost in [MailState::Pending, MailState::Failed, MailState::Bounced] {
            assert!(!in_time(letter(lost), late), "{lost:?}");
        }
        assert!(!in_time(None, late), "the outbox has no such letter");
        assert!(!in_time(sent, None), "it came into use on no known day");
    }
}
