//! The posture: what is claimed of each control, and what was found when it
//! was last looked at.
//!
//! A posture is published as one document in its RFC 8785 form. The audit entry
//! of its publication carries the document's SHA-256, so that every posture is
//! a leaf of the provider's audit tree: whoever has the document and a signed
//! checkpoint can prove what was claimed on a day. docs/adr/0031 has the
//! reasons.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use keystone::Problem;
use keystone::audit::entry::at_text;
use keystone::audit::merkle::Hash;
use keystone::tenant::{Entity, Filter, Page, StoreError, Tenant, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalogue::{self, Control, Declared, controls};
use crate::checks::{Check, FRESH, Finding, Look, Verdict};

/// What a posture document names as its format.
const FORMAT: &str = "keystone-posture/1";

/// The action under which a posture is published.
pub const PUBLISH: &str = "posture.publish";

/// Where a control stands. `live` is said of a claim only that every check of it
/// saw to hold within the last 26 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Claimed, and seen to hold lately.
    Live,
    /// Claimed, and a check saw that it does not hold.
    Degraded,
    /// Claimed, and not seen lately whether it holds.
    Unverified,
    /// Being built.
    InProgress,
    /// To be built.
    Planned,
    /// There is no such certificate.
    NotCertified,
}

impl Status {
    /// The status in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Live => "Live",
            Self::Degraded => "Degraded",
            Self::Unverified => "Unverified",
            Self::InProgress => "In progress",
            Self::Planned => "Planned",
            Self::NotCertified => "Not certified",
        }
    }

    fn of(declared: Declared, results: &[CheckResult], now: Timestamp) -> Self {
        match declared {
            Declared::InProgress => Self::InProgress,
            Declared::Planned => Self::Planned,
            Declared::NotCertified => Self::NotCertified,
            Declared::Live if results.iter().any(|one| one.result == Verdict::Fail) => {
                Self::Degraded
            }
            Declared::Live => {
                let seen = |one: &CheckResult| one.result == Verdict::Pass && one.is_fresh(now);
                let all = !results.is_empty() && results.iter().all(seen);
                if all { Self::Live } else { Self::Unverified }
            }
        }
    }
}

/// What a check of a control found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckResult {
    /// The check.
    pub check: Check,
    /// How it ended.
    pub result: Verdict,
    /// What was seen, or why nothing was.
    pub evidence: String,
    /// The same as data.
    pub facts: Value,
    /// When it was looked at; of what another job found, when that did.
    #[schemars(extend("format" = "date-time"))]
    pub checked_at: String,
}

impl CheckResult {
    fn new(check: Check, found: Finding, now: Timestamp) -> Self {
        let Finding { verdict, evidence, facts, seen_at } = found;
        let checked_at = at_text(seen_at.unwrap_or(now));
        Self { check, result: verdict, evidence, facts, checked_at }
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        let at: Option<Timestamp> = self.checked_at.parse().ok();
        at.is_some_and(|at| at + FRESH >= now)
    }
}

/// A control as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PostureControl")]
pub struct ControlState {
    /// Its id.
    pub id: String,
    /// The section of the public page.
    pub section: String,
    /// The claim, in the page's words.
    pub claim: String,
    /// What the page claims.
    pub declared: Declared,
    /// Where it stands.
    pub status: Status,
    /// Who answers for it.
    pub owner: String,
    /// What shows that it is so.
    pub shown_by: String,
    /// When it is to be live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub target_on: Option<Date>,
    /// Whether that date is past.
    pub late: bool,
    /// What a reader should know beside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What its checks found.
    pub results: Vec<CheckResult>,
}

impl ControlState {
    fn new(control: &Control, results: Vec<CheckResult>, now: Timestamp) -> Self {
        Self {
            id: control.id.clone(),
            section: control.section.clone(),
            claim: control.claim.clone(),
            declared: control.status,
            status: Status::of(control.status, &results, now),
            owner: control.owner.clone(),
            shown_by: control.shown_by.clone(),
            target_on: control.target_on,
            late: control.is_late(day_of(now)),
            note: control.note.clone(),
            results,
        }
    }

    /// The same as it is to be read at `now`: results age, and dates pass.
    fn at(mut self, now: Timestamp) -> Self {
        self.status = Status::of(self.declared, &self.results, now);
        let ahead = matches!(self.declared, Declared::InProgress | Declared::Planned);
        self.late = ahead && self.target_on.is_some_and(|target| target < day_of(now));
        self
    }
}

fn day_of(now: Timestamp) -> Date {
    now.to_zoned_datetime(TimeZone::UTC).date()
}

/// A posture as it is published.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    format: String,
    published_at: String,
    /// SHA-256 of the catalogue that it was made from, hex.
    catalogue: String,
    /// The controls, in the order of the public page.
    pub controls: Vec<ControlState>,
}

impl Document {
    /// Looks at everything that the catalogue names.
    pub async fn compile(look: &Look<'_>, now: Timestamp) -> Self {
        let mut shared: BTreeMap<Check, CheckResult> = BTreeMap::new();
        let mut states = Vec::new();
        for control in controls() {
            let mut results = Vec::new();
            for check in &control.checks {
                let known = shared.get(check).cloned();
                let result = match known {
                    Some(known) => known,
                    None => CheckResult::new(*check, look.run(*check, control).await, now),
                };
                if !check.depends_on_control() {
                    shared.insert(*check, result.clone());
                }
                results.push(result);
            }
            states.push(ControlState::new(control, results, now));
        }
        Self {
            format: FORMAT.into(),
            published_at: at_text(now),
            catalogue: catalogue::digest(),
            controls: states,
        }
    }

    /// The controls with this status.
    pub fn count(&self, status: Status) -> u64 {
        self.controls.iter().filter(|control| control.status == status).count() as u64
    }
}

/// A published posture as it is stored: for good, in the append-only database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posture {
    /// SHA-256 of `document`, hex.
    pub sha256: String,
    /// The document in its RFC 8785 form.
    pub document: String,
}

impl Entity for Posture {
    const COLLECTION: &'static schema::Collection = &schema::POSTURES;
    const RESOURCE: &'static str = "posture";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Posture {
    /// The posture that publishes `document`.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when it has no canonical form.
    pub fn new(document: &Document) -> Result<Self, StoreError> {
        let document = serde_json_canonicalizer::to_string(document).map_err(StoreError::defect)?;
        let sha256 = Hash::of(&[document.as_bytes()]).to_string();
        Ok(Self { sha256, document })
    }

    /// What was published.
    ///
    /// # Errors
    /// [`StoreError::Defect`] when it cannot be read.
    pub fn read(&self) -> Result<Document, StoreError> {
        serde_json::from_str(&self.document).map_err(StoreError::defect)
    }
}

/// The posture now.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Posture")]
pub struct PostureView {
    /// When it was last published; absent before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub published_at: Option<String>,
    /// SHA-256 of the published document, hex; `/v1/trust/posture/log` proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The controls. Results age: what was live when it was published is
    /// `unverified` 26 hours later.
    pub controls: Vec<ControlState>,
}

impl PostureView {
    /// The last posture, as it is to be read at `now`.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn read(provider: &Tenant, now: Timestamp) -> Result<Self, StoreError> {
        let newest = Page { after: None, limit: 1 };
        let found = provider.list::<Posture>(Filter::all(), newest).await?;
        let found = found.into_iter().next().map(|stored| stored.entity);
        // One of another release may name checks that this one does not have.
        let read = found.and_then(|posture| match posture.read() {
            Ok(document) => Some((posture.sha256, document)),
            Err(error) => {
                tracing::error!(%error, "the last posture is none of this release");
                None
            }
        });
        let Some((sha256, document)) = read else {
            let controls =
                controls().iter().map(|control| ControlState::new(control, Vec::new(), now));
            return Ok(Self { published_at: None, sha256: None, controls: controls.collect() });
        };
        Ok(Self {
            published_at: Some(document.published_at),
            sha256: Some(sha256),
            controls: document.controls.into_iter().map(|control| control.at(now)).collect(),
        })
    }

    /// The control with this id.
    pub fn control(&self, id: &str) -> Option<&ControlState> {
        self.controls.iter().find(|control| control.id == id)
    }

    /// The controls by section, in the order of the public page.
    pub fn sections(&self) -> Vec<(&str, Vec<&ControlState>)> {
        let mut sections: Vec<(&str, Vec<&ControlState>)> = Vec::new();
        for control in &self.controls {
            match sections.last_mut() {
                Some((name, of_section)) if *name == control.section => of_section.push(control),
                _ => sections.push((&control.section, vec![control])),
            }
        }
        sections
    }
}

#[derive(askama::Template)]
#[template(path = "posture.html")]
struct Html<'a> {
    posture: &'a PostureView,
}

/// The posture as a page that needs nothing else.
///
/// # Errors
/// [`Problem::Internal`] when it cannot be written.
pub fn html(posture: &PostureView) -> Result<String, Problem> {
    askama::Template::render(&Html { posture }).map_err(|error| {
        tracing::error!(cause = %error, "the posture page cannot be written");
        Problem::Internal
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

    fn result(verdict: Verdict, at: Timestamp) -> CheckResult {
        let found = Finding { verdict, evidence: "Seen.".into(), facts: json!({}), seen_at: None };
        CheckResult::new(Check::KeyRotation, found, at)
    }

    /// A view in which the checks of every control ended like this at `NOW`.
    pub(crate) fn view(verdict: Verdict) -> PostureView {
        let states = controls().iter().map(|control| {
            let results = control.checks.iter().map(|_| result(verdict, NOW)).collect();
            ControlState::new(control, results, NOW)
        });
        PostureView { published_at: None, sha256: None, controls: states.collect() }
    }

    #[test]
    fn live_needs_a_fresh_pass_of_every_check() {
        let (pass, fail, unknown) =
            (result(Verdict::Pass, NOW), result(Verdict::Fail, NOW), result(Verdict::Unknown, NOW));
        let old = result(Verdict::Pass, NOW - FRESH - SignedDuration::from_secs(1));
        let edge = result(Verdict::Pass, NOW - FRESH);
        let status = |results: &[&CheckResult]| {
            let results: Vec<CheckResult> = results.iter().map(|one| (*one).clone()).collect();
            Status::of(Declared::Live, &results, NOW)
        };
        assert_eq!(status(&[&pass, &edge]), Status::Live);
        assert_eq!(status(&[]), Status::Unverified);
        assert_eq!(status(&[&pass, &old]), Status::Unverified);
        assert_eq!(status(&[&pass, &unknown]), Status::Unverified);
        assert_eq!(status(&[&pass, &fail, &unknown]), Status::Degraded);
        for declared in [Declared::InProgress, Declared::Planned, Declared::NotCertified] {
            assert_ne!(Status::of(declared, std::slice::from_ref(&pass), NOW), Status::Live);
        }
    }

    #[test]
    fn what_was_live_ages() {
        let live = view(Verdict::Pass);
        let control = live.control("C3.1").unwrap().clone();
        assert_eq!(control.status, Status::Live);
        let later = control.at(NOW + FRESH + SignedDuration::from_secs(1));
        assert_eq!(later.status, Status::Unverified);
    }

    #[test]
    fn what_another_job_saw_ages_from_then() {
        let seen_at = NOW - SignedDuration::from_hours(5);
        let found = Finding {
            verdict: Verdict::Pass,
            evidence: "Seen.".into(),
            facts: json!({}),
            seen_at: Some(seen_at),
        };
        let result = CheckResult::new(Check::AuditTrail, found, NOW);
        assert_eq!(result.checked_at, at_text(seen_at));
        assert!(result.is_fresh(seen_at + FRESH));
        assert!(!result.is_fresh(seen_at + FRESH + SignedDuration::from_secs(1)));
    }

    #[test]
    fn a_document_is_read_as_it_was_published() {
        let document = Document {
            format: FORMAT.into(),
            published_at: at_text(NOW),
            catalogue: catalogue::digest(),
            controls: view(Verdict::Pass).controls,
        };
        let posture = Posture::new(&document).unwrap();
        let again = Posture::new(&posture.read().unwrap()).unwrap();
        assert_eq!(posture.sha256, again.sha256);
        assert_eq!(document.count(Status::NotCertified), 3);
    }

    #[test]
    fn the_page_escapes_and_shows_what_is_late() {
        let mut posture = view(Verdict::Fail);
        posture.controls[0].note = Some("<script>".into());
        let page = html(&posture).unwrap();
        assert!(page.contains("&#60;script&#62;") && !page.contains("<script"));
        assert!(page.contains("Degraded") && page.contains("Not certified"));
        // C8 was to be live by the end of September 2026.
        assert!(page.contains("late"));
    }
}
