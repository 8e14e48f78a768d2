//! What no machine can see, and a person vouched for.

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use keystone::audit::entry::at_text;
use keystone::tenant::{Entity, Filter, Page, schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Blind, Finding, Look};
use crate::catalogue::Control;

/// Days for which an attestation counts after what it attests was done.
const VALID_DAYS: i32 = 366;

/// What somebody vouched for. A later one for the same control takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The control's id.
    pub control: String,
    /// What was done or seen, in words that stand on the public page.
    pub statement: String,
    /// Where the record of it is kept; not published.
    pub record: String,
    /// The day on which it was done.
    pub done_on: Date,
}

impl Entity for Attestation {
    const COLLECTION: &'static schema::Collection = &schema::ATTESTATIONS;
    const RESOURCE: &'static str = "attestation";
    const PERSONAL: &'static [&'static str] = &[];
}

pub(super) async fn fresh(look: &Look<'_>, control: &Control) -> Result<Finding, Blind> {
    let of_control = Filter::all().eq("control", control.id.clone());
    let newest = Page { after: None, limit: 1 };
    let found = look.provider.list::<Attestation>(of_control, newest).await?;
    let Some(last) = found.into_iter().next() else {
        return Ok(Finding::unknown("Nobody has attested this yet."));
    };
    let Attestation { statement, done_on, .. } = last.entity;
    let until = done_on.saturating_add(VALID_DAYS.days());
    let facts = json!({
        "done_on": done_on.to_string(),
        "attested_at": at_text(last.created_at),
        "valid_until": until.to_string(),
    });
    Ok(if look.job.now.to_zoned_datetime(TimeZone::UTC).date() <= until {
        Finding::of(true, format!("Attested for {done_on}: {statement}"), facts)
    } else {
        Finding::of(false, format!("Last attested for {done_on}, more than a year ago."), facts)
    })
}
