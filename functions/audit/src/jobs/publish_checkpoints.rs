//! Signs a checkpoint of every audit trail that has grown.

use std::time::Duration;

use keystone::Problem;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::telemetry;
use keystone::tenant::Visit;
use serde::Serialize;

use crate::checkpoints::Publisher;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 8] = [
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
    Setting::CheckpointSigningKey,
    Setting::RetiredCheckpointKeys,
    Setting::AuditRestores,
    Setting::AuditHost,
    Setting::ArchiveBucket,
];

/// After so long a run begins no further tenant; the next goes on.
const RUN_LIMIT: Duration = Duration::from_mins(10);

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Published {
    /// Checkpoints signed.
    signed: u64,
    /// Trails that had not grown.
    unchanged: u64,
    /// Tenants that the run did not reach.
    unfinished: u64,
}

/// The job. A trail that contradicts its last checkpoint is named, does not stop
/// the others, and makes the run fail. Each hour begins with another tenant, so
/// that a run too short for all leaves out different ones.
pub async fn handle(job: Job) -> Result<Published, Problem> {
    let deadline = tokio::time::Instant::now() + RUN_LIMIT;
    let registry = job.registry().await?;
    let publisher = Publisher::new(&job.platform).await?;
    let mut tenants = registry.walk(Visit::Kept).await?;
    let hour = usize::try_from(job.now.as_second() / 3600).unwrap_or(0);
    let first = hour.checked_rem(tenants.len()).unwrap_or(0);
    tenants.rotate_left(first);
    let mut total = Published::default();
    let mut problems = Vec::new();
    for enrolled in tenants {
        if tokio::time::Instant::now() >= deadline {
            total.unfinished += 1;
            continue;
        }
        let id = enrolled.id().clone();
        let done = async {
            let tenant = registry.for_job(enrolled, job.now).await?;
            publisher.publish(&tenant, job.now).await
        };
        match done.await {
            Ok((_, true)) => total.signed += 1,
            Ok((_, false)) => total.unchanged += 1,
            Err(problem) => {
                tracing::error!(tenant = %id, %problem, "no checkpoint was published");
                problems.push(problem);
            }
        }
    }
    let failed = problems.len() as u64;
    telemetry::counted(job.now, "publish-checkpoints", "checkpoint_failures", failed);
    problems.into_iter().next().map_or(Ok(total), Err)
}
