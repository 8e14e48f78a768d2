//! Records that a tenant objects to a sub-processor in writing, or what came of an
//! objection; invoked by an operator through IAM only.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::{Id, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sub_processor::{object_in_writing, settle};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// The event. It has either a reason or an outcome.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator; enters the audit trail.
    #[schemars(length(min = 1, max = 100))]
    operator: String,
    /// Slug of the tenant.
    #[schemars(extend("format" = "tenant"))]
    tenant: String,
    /// The change.
    #[schemars(with = "String", extend("format" = "uuid"))]
    change: Id,
    /// Why the tenant objects, as it wrote to us: records the objection.
    #[schemars(length(min = 1, max = 2000))]
    reason: Option<String>,
    /// What came of the objection: settles it.
    #[schemars(length(min = 1, max = 2000))]
    outcome: Option<String>,
}

/// That it is recorded.
#[derive(Debug, Serialize)]
pub struct Recorded {}

/// The job.
pub async fn handle(job: Job) -> Result<Recorded, Problem> {
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Operator, &input.operator);
    let tenant = TenantId::parse(&input.tenant).ok_or(Problem::NotFound)?;
    let of = (&tenant, input.change);
    let registry = job.registry().await?;
    match (&input.reason, &input.outcome) {
        (Some(reason), None) => object_in_writing(&registry, &by, of, reason).await?,
        (None, Some(outcome)) => settle(&registry, &by, of, outcome).await?,
        _ => return Err(Problem::invalid("", "Give either a reason or an outcome.")),
    }
    Ok(Recorded {})
}
