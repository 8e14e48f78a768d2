//! Attested reviews of the audit trail, which a customer owes on a cadence of
//! its own (claim C21).

use jiff::{SignedDuration, Timestamp};
use keystone::Problem;
use keystone::audit::merkle::Hash;
use keystone::tenant::{Entity, Filter, Id, Page, Settings, Stored, Tenant, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Reviews read at once.
const PAGE: i64 = 100;

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
    /// Until when the trail was reviewed without a gap, from the tenant's
    /// beginning.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub reviewed_to: Timestamp,
    /// When the next review is due: the cadence in the tenant's settings after
    /// `reviewed_to`.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub next_due_at: Timestamp,
    /// Whether that is past.
    pub overdue: bool,
}

/// Until when a trail that began at `begun` was reviewed without a gap. A period
/// after a gap counts once the gap is reviewed.
fn reviewed_to(begun: Timestamp, mut periods: Vec<(Timestamp, Timestamp)>) -> Timestamp {
    periods.sort_unstable();
    periods.into_iter().fold(
        begun,
        |reviewed, (from, to)| {
            if from <= reviewed { reviewed.max(to) } else { reviewed }
        },
    )
}

/// Until when the tenant's trail was reviewed, and when the next review is due.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn standing(tenant: &Tenant) -> Result<(Timestamp, Timestamp), Problem> {
    let settings: Stored<Settings> = tenant.settings().await?;
    let mut periods = Vec::new();
    let mut after = None;
    loop {
        let page = tenant.list::<Review>(Filter::all(), Page { after, limit: PAGE }).await?;
        periods.extend(page.iter().map(|review| (review.entity.from, review.entity.to)));
        match page.last() {
            Some(last) if i64::try_from(page.len()) == Ok(PAGE) => after = Some(last.id),
            _ => break,
        }
    }
    let reviewed = reviewed_to(settings.created_at, periods);
    let days = i64::from(settings.entity.audit_review_days);
    Ok((reviewed, reviewed + SignedDuration::from_hours(24 * days)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_reviewed_without_a_gap_counts() {
        let day = |day: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day);
        let reviewed = |periods: &[(i64, i64)]| {
            let periods = periods.iter().map(|(from, to)| (day(*from), day(*to))).collect();
            reviewed_to(day(10), periods)
        };
        assert_eq!(reviewed(&[]), day(10));
        assert_eq!(reviewed(&[(0, 5)]), day(10), "before the trail began");
        assert_eq!(reviewed(&[(0, 20)]), day(20));
        assert_eq!(reviewed(&[(20, 30), (10, 20)]), day(30), "in any order");
        assert_eq!(reviewed(&[(10, 20), (21, 30)]), day(20), "a gap");
        assert_eq!(reviewed(&[(10, 30), (12, 15)]), day(30), "one within another");
        assert_eq!(reviewed(&[(29, 30)]), day(10), "a moment of today is no review");
    }
}
