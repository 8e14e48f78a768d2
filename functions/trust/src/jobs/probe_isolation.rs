//! Tries every read route across the boundary between two canaries, and leaves
//! the result where the posture finds it.

use keystone::Problem;
use keystone::audit::entry::{ActorKind, Outcome, Resource};
use keystone::config::Setting;
use keystone::job::Job;
use keystone::telemetry;
use keystone::tenant::ProbeUser;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::isolation::{PROBE, Probed, probe};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 5] = [
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
    Setting::ApiUrl,
    Setting::CanarySecret,
];

/// The event: empty.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {}

/// The job. What the canaries own is made once; whatever else a run does, the
/// next does anew. A run that is not clean is recorded as failed and fails, so
/// that its alarm goes off; the failure says which routes.
pub async fn handle(job: Job) -> Result<Probed, Problem> {
    let Input {} = job.input()?;
    let provider = job.platform.registry(job.now).await?.provider(job.now).await?;
    let secret = job.platform.secret(Setting::CanarySecret, job.now).await?;
    let user = ProbeUser::from_secret_json(&secret)?;
    let probed = probe(job.platform.setting(Setting::ApiUrl)?, &user).await?;
    let by = job.attribution(ActorKind::Job, "probe-isolation");
    let about = Resource { kind: "isolation".into(), id: "canaries".into() };
    let outcome = if probed.is_clean() { Outcome::Success } else { Outcome::Failed };
    provider.record(&by, PROBE, about, outcome, json!(probed)).await?;
    let count = probed.crossed.len() + probed.unproven.len();
    telemetry::counted(job.now, "probe-isolation", "isolation_findings", count as u64);
    if probed.is_clean() {
        return Ok(probed);
    }
    Err(Problem::Conflict(format!(
        "Shown to another tenant: {:?}. Not proved: {:?}.",
        probed.crossed, probed.unproven
    )))
}
