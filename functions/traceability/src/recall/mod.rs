//! Recalls and the exercises that rehearse them: started by naming lots, traced
//! at once, timed, closed with what was accounted for. An exercise runs the
//! same path as a real recall. docs/adr/0021 has the reasons.

pub mod closing;
pub mod finding;
pub mod notice;
pub mod pack;
pub mod recipients;

use jiff::{SignedDuration, Timestamp};
use keystone::http::Call;
use keystone::tenant::{Entity, Id, Stored, Tenant, WriteTx, schema};
use keystone::{FieldError, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::batch::Batch;
use crate::epcis::epc::lot_key;
use crate::product::Product;
use crate::trace::Period;
use closing::{Closed, Effectiveness};
use finding::{Finding, FindingView, Summary};

/// BRCGS Food Safety, Issue 9, 3.9.2: full traceability within four hours.
pub const TARGET: SignedDuration = SignedDuration::from_hours(4);

/// Most lots that one recall names.
const NAMED: u32 = 40;

/// Whether goods are recalled, or people rehearse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A test of the procedure (BRCGS 3.9.2, 3.11.3).
    Exercise,
    /// Goods are withdrawn or recalled (Art. 19 of Regulation (EC) No
    /// 178/2002).
    Recall,
}

impl Kind {
    /// The kind in words, for reports.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Exercise => "Recall exercise",
            Self::Recall => "Recall",
        }
    }

    /// The kind's name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exercise => "exercise",
            Self::Recall => "recall",
        }
    }
}

/// What is wrong with the goods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hazard {
    /// Pathogens, toxins, spoilage.
    Biological,
    /// Residues, contaminants, cleaning agents.
    Chemical,
    /// Foreign bodies.
    Physical,
    /// An allergen that is not declared.
    Allergen,
    /// Another wrong or missing particular on the label.
    Labelling,
    /// Not what it is said to be.
    Authenticity,
    /// Something else; see the reason.
    Other,
}

impl Hazard {
    /// The hazard in words, for reports.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Biological => "biological",
            Self::Chemical => "chemical",
            Self::Physical => "physical",
            Self::Allergen => "allergen",
            Self::Labelling => "labelling",
            Self::Authenticity => "authenticity",
            Self::Other => "other",
        }
    }
}

/// Where a recall stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Customers are being told; the clock runs.
    Open,
    /// Concluded; nothing of it changes any more.
    Closed,
}

impl State {
    /// The state's name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// A recall as it is stored. What was found lies beside it under the same id,
/// where nothing can change it ([`Finding`]). It was started when it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    /// Real or an exercise.
    pub kind: Kind,
    /// What is wrong.
    pub hazard: Hazard,
    /// Why, in words.
    pub reason: String,
    /// The batches that were named.
    pub lots: Vec<Id>,
    /// The period to which it keeps, see [`NewRecall`].
    #[serde(default)]
    pub period: Option<Period>,
    /// Where it stands.
    pub state: State,
    /// The user who started it.
    pub started_by: Id,
    /// Milliseconds until all that is affected was found.
    pub traced_ms: i64,
    /// What was found, in numbers.
    pub summary: Summary,
    /// Notices recorded so far.
    pub notices: i64,
    /// How it ended.
    pub closed: Option<Closed>,
}

impl Entity for Recall {
    const COLLECTION: &'static schema::Collection = &schema::RECALLS;
    const RESOURCE: &'static str = "recall";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Recall {
    /// Refuses changes to a closed recall.
    ///
    /// # Errors
    /// 409 when it is closed.
    fn must_be_open(&self) -> Result<(), Problem> {
        match self.state {
            State::Open => Ok(()),
            State::Closed => {
                Err(Problem::Conflict("The recall is closed; nothing of it changes.".into()))
            }
        }
    }
}

/// The recall with this id, and what was found.
///
/// # Errors
/// 404 when there is none; 503 when the database does not answer.
pub async fn with_finding(tenant: &Tenant, id: Id) -> Result<(Stored<Recall>, Finding), Problem> {
    let recall = tenant.get::<Recall>(id).await?.ok_or(Problem::NotFound)?;
    let finding = tenant.get::<Finding>(id).await?.ok_or(Problem::Internal)?;
    Ok((recall, finding.entity))
}

/// The recall with this id, if it is open, as a transaction sees it.
///
/// # Errors
/// 404 when there is none; 409 when it is closed.
async fn open_in(tx: &mut WriteTx<'_>, id: Id) -> Result<Stored<Recall>, Problem> {
    let recall = tx.get::<Recall>(id).await?.ok_or(Problem::NotFound)?;
    recall.entity.must_be_open()?;
    Ok(recall)
}

/// A recall to be started.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecall {
    /// Real or an exercise; both do the same.
    kind: Kind,
    /// What is wrong.
    hazard: Hazard,
    /// Why, in words.
    #[schemars(length(min = 1, max = 2000))]
    reason: String,
    /// The batches that are unsafe, or are suspected to be.
    #[schemars(length(min = 1, max = NAMED))]
    lots: Vec<Id>,
    /// Only what was taken of them in this period, and all that became of it. For
    /// what is too much for one recall: recalls for all periods find everything.
    period: Option<Period>,
    /// Whether to look for what they were made of, too.
    #[serde(default)]
    upstream: bool,
}

impl NewRecall {
    /// Finds all that is affected.
    ///
    /// # Errors
    /// 422 naming every lot that is not there or stands twice, or when more is
    /// affected than one recall can hold; 503 when the database does not
    /// answer.
    pub async fn trace(&self, call: &Call) -> Result<(Recall, Finding), Problem> {
        let started = Instant::now();
        if self.period.is_some_and(|period| period.until <= period.from) {
            return Err(Problem::invalid("/period/until", "Must be after the period's start."));
        }
        let lots = self.keys(call.tenant()).await?;
        let (finding, summary) =
            finding::trace(call.tenant(), &lots, self.period, self.upstream).await?;
        let recall = Recall {
            kind: self.kind,
            hazard: self.hazard,
            reason: self.reason.clone(),
            lots: self.lots.clone(),
            period: self.period,
            state: State::Open,
            started_by: call.principal().user(),
            traced_ms: i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX),
            summary,
            notices: 0,
            closed: None,
        };
        Ok((recall, finding))
    }

    async fn keys(&self, tenant: &Tenant) -> Result<Vec<String>, Problem> {
        let (mut keys, mut errors) = (Vec::new(), Vec::new());
        for (index, id) in self.lots.iter().enumerate() {
            let mut wrong = |message: &str| {
                errors.push(FieldError::new(format!("/lots/{index}"), message));
            };
            if self.lots.iter().take(index).any(|earlier| earlier == id) {
                wrong("Stands in the list twice.");
                continue;
            }
            let Some(batch) = tenant.get::<Batch>(*id).await? else {
                wrong("There is no such batch.");
                continue;
            };
            let product = tenant.get::<Product>(batch.entity.product_id).await?;
            let gtin = product.ok_or(Problem::Internal)?.entity.gtin;
            keys.push(lot_key(&gtin, &batch.entity.lot_number));
        }
        if errors.is_empty() { Ok(keys) } else { Err(Problem::Invalid(errors)) }
    }
}

/// How long a recall takes, against the four hours of BRCGS 3.9.2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Timer {
    /// When it was started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// Milliseconds until all that is affected was found.
    pub traced_after_ms: i64,
    /// Seconds that it may take.
    pub target_seconds: i64,
    /// When they are over.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub deadline: Timestamp,
    /// When it was closed.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub closed_at: Option<Timestamp>,
    /// Seconds until it was closed, or until now.
    pub elapsed_seconds: i64,
    /// Whether that is within the target.
    pub within_target: bool,
}

impl Timer {
    /// The timer of a recall at `now`.
    pub fn new(stored: &Stored<Recall>, now: Timestamp) -> Self {
        let closed_at = stored.entity.closed.as_ref().map(|closed| closed.at);
        let elapsed = closed_at.unwrap_or(now).duration_since(stored.created_at);
        Self {
            started_at: stored.created_at,
            traced_after_ms: stored.entity.traced_ms,
            target_seconds: TARGET.as_secs(),
            deadline: stored.created_at + TARGET,
            closed_at,
            elapsed_seconds: elapsed.as_secs().max(0),
            within_target: elapsed <= TARGET,
        }
    }
}

/// A recall as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct RecallView {
    /// Id.
    pub id: Id,
    /// Real or an exercise.
    pub kind: Kind,
    /// What is wrong.
    pub hazard: Hazard,
    /// Why, in words.
    pub reason: String,
    /// The batches that were named.
    pub lots: Vec<Id>,
    /// Only what was taken of them in this period was followed.
    pub period: Option<Period>,
    /// Where it stands.
    pub state: State,
    /// The user who started it.
    pub started_by: Id,
    /// How long it takes.
    pub timer: Timer,
    /// What was found, in numbers.
    pub summary: Summary,
    /// Notices recorded so far.
    pub notices: i64,
    /// What was accounted for, so far or at the end; only in the answer about
    /// a single recall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effectiveness: Option<Effectiveness>,
    /// The user who closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<Id>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conclusion: Option<String>,
    /// What was found; only in the answer about a single recall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<FindingView>,
    /// Version, as in the `ETag`.
    pub version: i64,
}

impl RecallView {
    /// The view of `stored` at `now`, in short.
    pub fn new(stored: &Stored<Recall>, now: Timestamp) -> Self {
        let recall = stored.entity.clone();
        let timer = Timer::new(stored, now);
        let closed = recall.closed;
        Self {
            id: stored.id,
            kind: recall.kind,
            hazard: recall.hazard,
            reason: recall.reason,
            lots: recall.lots,
            period: recall.period,
            state: recall.state,
            started_by: recall.started_by,
            timer,
            summary: recall.summary,
            notices: recall.notices,
            effectiveness: closed.as_ref().map(|closed| closed.effectiveness.clone()),
            closed_by: closed.as_ref().map(|closed| closed.by),
            conclusion: closed.map(|closed| closed.conclusion),
            finding: None,
            version: stored.version,
        }
    }

    /// The view with what was found, and what is accounted for by now.
    ///
    /// # Errors
    /// 404 when there is no such recall; 503 when the database does not answer.
    pub async fn whole(call: &Call, id: Id) -> Result<Self, Problem> {
        let (stored, finding) = with_finding(call.tenant(), id).await?;
        let mut view = Self::new(&stored, call.now());
        if view.effectiveness.is_none() {
            let facts = notice::facts(call.tenant(), id).await?;
            view.effectiveness = Some(Effectiveness::new(&finding, &facts));
        }
        view.finding = Some(finding.into());
        Ok(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(closed_after: Option<SignedDuration>) -> Stored<Recall> {
        let start = Timestamp::UNIX_EPOCH;
        let closed = closed_after.map(|after| Closed {
            at: start + after,
            by: Id::from_u128(1),
            conclusion: "Found all".into(),
            effectiveness: Effectiveness::default(),
        });
        let recall = Recall {
            kind: Kind::Exercise,
            hazard: Hazard::Other,
            reason: "Rehearsal".into(),
            lots: vec![],
            period: None,
            state: if closed.is_some() { State::Closed } else { State::Open },
            started_by: Id::from_u128(1),
            traced_ms: 12,
            summary: Summary::default(),
            notices: 0,
            closed,
        };
        let id = Id::from_u128(7);
        Stored { id, version: 1, created_at: start, updated_at: start, entity: recall }
    }

    #[test]
    fn the_clock_runs_until_the_recall_is_closed() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let open = stored(None);
        for (now, within) in [(0, true), (14_400, true), (14_401, false)] {
            let timer = Timer::new(&open, at(now));
            assert_eq!((timer.elapsed_seconds, timer.within_target), (now, within));
        }
        let closed = stored(Some(SignedDuration::from_mins(90)));
        let timer = Timer::new(&closed, at(1_000_000));
        assert_eq!((timer.elapsed_seconds, timer.within_target), (5400, true));
        assert_eq!(timer.deadline, at(14_400));
    }
}
