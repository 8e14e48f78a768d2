//! Brings the collections, validators and indexes of every tenant to what this
//! release knows; run after each deployment.

use keystone::Problem;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::Visit;
use serde::Serialize;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Prepared {
    /// Tenants that are ready for this release.
    tenants: u64,
}

/// The job. It changes no data, only what the database enforces and indexes,
/// so it leaves no audit entry; doing it twice is doing it once.
pub async fn handle(job: Job) -> Result<Prepared, Problem> {
    let registry = job.platform.registry(job.now).await?;
    let mut done = Prepared::default();
    for enrolled in registry.walk(Visit::Kept).await? {
        registry.prepare(&enrolled).await?;
        done.tenants += 1;
    }
    Ok(done)
}
