//! What tenants' audit trails say of the scope of a breach, asked by an
//! operator through IAM only.

use std::collections::BTreeMap;
use std::time::Duration;

use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::Visit;
use keystone::{FieldError, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::scope::{Question, Scope};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// Entries of one tenant that one run looks at.
const ENTRIES: u32 = 50_000;
/// After so long a run asks no further tenant.
const RUN_LIMIT: Duration = Duration::from_mins(10);

/// The event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator who asks; enters the trails that are asked.
    #[schemars(length(min = 1, max = 100))]
    operator: String,
    /// Why; enters the trails, too.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
    /// Slugs of the tenants to ask.
    #[schemars(length(min = 1, max = 100), inner(length(min = 3, max = 31)))]
    tenants: Vec<String>,
    /// What to look for.
    question: Question,
}

/// What the trails say.
#[derive(Debug, Serialize)]
pub struct Scopes {
    /// By slug.
    tenants: BTreeMap<String, Scope>,
    /// Tenants that were not asked, since the time was over: ask again.
    not_asked: Vec<String>,
}

/// The job. It reads, and each trail records that it was read. A tenant whose
/// stores do not answer fails it: an answer in part would be taken for all.
pub async fn handle(job: Job) -> Result<Scopes, Problem> {
    let input: Input = job.input()?;
    input.question.check()?;
    let deadline = Instant::now() + RUN_LIMIT;
    let by = job.attribution(ActorKind::Operator, &input.operator);
    let registry = job.registry().await?;
    let mut enrolled = registry.walk(Visit::Kept).await?;
    enrolled.retain(|one| input.tenants.iter().any(|slug| slug == one.id().as_str()));
    let missing = input
        .tenants
        .iter()
        .enumerate()
        .filter(|(_, slug)| !enrolled.iter().any(|one| one.id().as_str() == *slug));
    let errors: Vec<_> = missing
        .map(|(index, _)| FieldError::new(format!("/tenants/{index}"), "There is no such tenant."))
        .collect();
    if !errors.is_empty() {
        return Err(Problem::Invalid(errors));
    }
    let mut scopes = Scopes { tenants: BTreeMap::new(), not_asked: Vec::new() };
    for one in enrolled {
        let slug = one.id().to_string();
        if Instant::now() >= deadline {
            scopes.not_asked.push(slug);
            continue;
        }
        let tenant = registry.for_job(one, job.now).await?;
        let scope = input.question.ask(&tenant, &by, &input.reason, ENTRIES).await?;
        scopes.tenants.insert(slug, scope);
    }
    Ok(scopes)
}
