//! Withdraws a change of sub-processors, or ends the use of one; invoked by an
//! operator through IAM only.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::Id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sub_processor::withdraw;

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
    /// The change.
    #[schemars(with = "String", extend("format" = "uuid"))]
    change: Id,
    /// Why.
    #[schemars(length(min = 1, max = 2000))]
    reason: String,
}

/// That it is withdrawn.
#[derive(Debug, Serialize)]
pub struct Withdrawn {}

/// The job.
pub async fn handle(job: Job) -> Result<Withdrawn, Problem> {
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Operator, &input.operator);
    let provider = job.registry().await?.provider(job.now).await?;
    withdraw(&provider, &by, input.change, &input.reason).await?;
    Ok(Withdrawn {})
}
