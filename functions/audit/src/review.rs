//! Attested reviews of the audit trail, which a customer owes on a cadence of
//! its own (claim C21).

use jiff::{SignedDuration, Timestamp};
use keystone::Problem;
use keystone::audit::merkle::Hash;
use keystone::tenant::{Entity, Filter, Id, Page, Settings, Stored, Tenant, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A review: who looked at which period, in a trail of which size, and what
/// they found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Review {
    from: Timestamp,
    to: Timestamp,
    tree_size: u64,
    tree_root: Hash,
    statement: String,
    findings: Vec<String>,
    reviewed_by: Id,
    role: String,
}

impl Entity for Review {
    const COLLECTION: &'static schema::Collection = &schema::AUDIT_REVIEWS;
    const RESOURCE: &'static str = "audit_review";
    // What people write in their own words may name people.
    const PERSONAL: &'static [&'static str] = &["/statement", "/findings"];
}

/// A review to be attested.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReview {
    /// Beginning of the period that was reviewed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    from: Timestamp,
    /// End of that period, not included.
    #[schemars(with = "String", extend("format" = "date-time"))]
    to: Timestamp,
    /// What the reviewer attests, in their own words.
    #[schemars(length(min = 1, max = 2000))]
    statement: String,
    /// What was found; empty for nothing.
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(min = 1, max = 500)))]
    findings: Vec<String>,
}

impl NewReview {
    /// The review by `user`, of the trail as it is now.
    ///
    /// # Errors
    /// 422 for a period that is empty or not over yet; 503 when the database
    /// does not answer.
    pub async fn attest(
        self,
        tenant: &Tenant,
        (user, role): (Id, &str),
        now: Timestamp,
    ) -> Result<Review, Problem> {
        if self.from >= self.to {
            return Err(Problem::invalid("/to", "Must be later than the beginning of the period."));
        }
        if self.to > now {
            return Err(Problem::invalid("/to", "Must not be in the future."));
        }
        let tree = tenant.audit_tree().await?;
        Ok(Review {
            from: self.from,
            to: self.to,
            tree_size: tree.size(),
            tree_root: tree.root(),
            statement: self.statement,
            findings: self.findings,
            reviewed_by: user,
            role: role.to_owned(),
        })
    }
}

/// A review as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReviewView {
    /// Id.
    #[schemars(with = "String", extend("format" = "uuid"))]
    id: Id,
    /// Beginning of the period that was reviewed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    from: Timestamp,
    /// End of that period, not included.
    #[schemars(with = "String", extend("format" = "date-time"))]
    to: Timestamp,
    /// Entries in the trail at the time: the reviewer attests up to there.
    tree_size: u64,
    /// Root of its Merkle tree, hex.
    tree_root: String,
    /// What the reviewer attests.
    statement: String,
    /// What was found.
    findings: Vec<String>,
    /// Id of the reviewer.
    #[schemars(with = "String", extend("format" = "uuid"))]
    reviewed_by: Id,
    /// Their role then.
    role: String,
    /// When it was attested.
    #[schemars(with = "String", extend("format" = "date-time"))]
    attested_at: Timestamp,
}

impl From<&Stored<Review>> for ReviewView {
    fn from(stored: &Stored<Review>) -> Self {
        let review = &stored.entity;
        Self {
            id: stored.id,
            from: review.from,
            to: review.to,
            tree_size: review.tree_size,
            tree_root: review.tree_root.to_string(),
            statement: review.statement.clone(),
            findings: review.findings.clone(),
            reviewed_by: review.reviewed_by,
            role: review.role.clone(),
            attested_at: stored.created_at,
        }
    }
}

/// A page of reviews, and when the next review is due.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ReviewList {
    /// The reviews, newest first.
    pub items: Vec<ReviewView>,
    /// Pass it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// When the next review is due, by the cadence in the tenant's settings.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub next_due_at: Timestamp,
    /// Whether that is past.
    pub overdue: bool,
}

/// When the tenant's next review is due: the cadence after the last one, or
/// after the tenant began.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn next_due(tenant: &Tenant) -> Result<Timestamp, Problem> {
    let settings: Stored<Settings> = tenant.settings().await?;
    let newest = Page { after: None, limit: 1 };
    let last = tenant.list::<Review>(Filter::all(), newest).await?;
    let since = last.first().map_or(settings.created_at, |review| review.created_at);
    let days = i64::from(settings.entity.audit_review_days);
    Ok(since + SignedDuration::from_hours(24 * days))
}
