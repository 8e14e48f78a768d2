//! Announces a change of sub-processors to every customer; invoked by an
//! operator through IAM only.

use jiff::civil::Date;
use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::Id;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::sub_processor::{Announced, Description, announce};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::SecurityContact];

/// The event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator; enters the audit trails.
    #[schemars(length(min = 1, max = 100))]
    operator: String,
    /// Id of the change, which the operator makes up; the same again goes on.
    #[schemars(with = "String", extend("format" = "uuid"))]
    change: Id,
    /// The sub-processor.
    sub_processor: Description,
    /// The day from which it is used, at least 30 days ahead.
    #[schemars(with = "String", extend("format" = "date"))]
    effective_on: Date,
}

/// The job. Who cannot sign in writes to the address that is published
/// (`/.well-known/security.txt`).
pub async fn handle(job: Job) -> Result<Announced, Problem> {
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Operator, &input.operator);
    let registry = job.registry().await?;
    let write_to = job.platform.setting(Setting::SecurityContact)?;
    let change = (input.change, &input.sub_processor, input.effective_on);
    announce(&registry, &by, change, write_to).await
}
