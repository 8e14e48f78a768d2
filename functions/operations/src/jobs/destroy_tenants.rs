//! Destruction of the keys and data of tenants whose grace period is over.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use serde::Serialize;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 7] = [
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
    Setting::CheckpointSigningKey,
    Setting::RetiredCheckpointKeys,
    Setting::AuditRestores,
    Setting::AuditHost,
];

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Destroyed {
    /// Tenants of which nothing can be read any more.
    tenants: Vec<String>,
    /// Tenants whose last entry waits for a signed checkpoint.
    waiting: Vec<String>,
    /// Secrets deleted.
    secrets: u64,
}

/// The job. A tenant that fails does not stop the others; the run fails in the
/// end, so that it is seen and repeated.
pub async fn handle(job: Job) -> Result<Destroyed, Problem> {
    let by = job.attribution(ActorKind::Job, "destroy-tenants");
    let registry = job.registry().await?;
    let mut done = Destroyed::default();
    let mut first_problem = None;
    for tenant in registry.due_for_destruction(job.now).await? {
        match registry.destroy(&by, &tenant).await {
            // The next run goes on, once its last entry is under a checkpoint.
            Ok(None) => done.waiting.push(tenant.to_string()),
            Ok(Some(secrets)) => {
                tracing::warn!(%tenant, secrets, "the keys of a tenant were destroyed");
                done.secrets += secrets;
                done.tenants.push(tenant.to_string());
            }
            Err(problem) => {
                tracing::error!(%tenant, %problem, "a tenant could not be destroyed");
                first_problem.get_or_insert(problem);
            }
        }
    }
    first_problem.map_or(Ok(done), Err)
}
