//! Watches the deadlines of vulnerability reports, lets sub-processors take effect
//! whose time has come, and reminds of objections to them that are open.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sub_processor::{Followed, activate_due};
use crate::vulnerability::{Seen, WATCHER, count_misses, watch};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// The event: empty from the schedule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {}

/// What a run did.
#[derive(Debug, Serialize)]
pub struct Watched {
    /// Of reports.
    reports: Seen,
    /// Of sub-processors.
    #[serde(flatten)]
    changes: Followed,
}

/// The job. One half that fails does not stop the other; the run fails in the
/// end, so that it is seen. Misses are counted as they are recorded, so that
/// their alarm does not depend on what comes after them.
pub async fn handle(job: Job) -> Result<Watched, Problem> {
    let Input {} = job.input()?;
    let by = job.attribution(ActorKind::Job, WATCHER);
    let registry = job.registry().await?;
    let provider = registry.provider(job.now).await?;
    let reports = watch(&provider, &by).await;
    let changes = activate_due(&registry, &by).await;
    let reports = reports?;
    count_misses(job.now, 0);
    Ok(Watched { reports, changes: changes? })
}
