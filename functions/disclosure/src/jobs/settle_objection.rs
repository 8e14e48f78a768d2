//! Records what came of a tenant's objection to a sub-processor; invoked by an
//! operator through IAM only.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::{Id, TenantId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sub_processor::settle;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// The event.
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
    /// What came of the objection.
    #[schemars(length(min = 1, max = 2000))]
    outcome: String,
}

/// That it is recorded.
#[derive(Debug, Serialize)]
pub struct Settled {}

/// The job.
pub async fn handle(job: Job) -> Result<Settled, Problem> {
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Operator, &input.operator);
    let tenant = TenantId::parse(&input.tenant).ok_or(Problem::NotFound)?;
    let registry = job.registry().await?;
    settle(&registry, &by, (&tenant, input.change), &input.outcome).await?;
    Ok(Settled {})
}
