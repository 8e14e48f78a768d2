//! Makes exports that wait in the queue.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::Visit;

use crate::exports::{Ended, Message, run, send};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 13] = [
    Setting::MongodbSecret,
    Setting::DataKey,
    Setting::SubjectKeyTable,
    Setting::ReportSigningKey,
    Setting::ReportCertificateSecret,
    Setting::CheckpointSigningKey,
    Setting::RetiredCheckpointKeys,
    Setting::AuditRestores,
    Setting::AuditHost,
    Setting::ArchiveBucket,
    Setting::ExportBucket,
    Setting::ExportQueue,
    Setting::ExportVolumeEntries,
];

/// The job. A message for what is done, or is being done elsewhere, is dropped:
/// the sweep sends another if that run dies.
pub async fn handle(job: Job) -> Result<Vec<Ended>, Problem> {
    let by = job.attribution(ActorKind::Job, "run-audit-export");
    let registry = job.registry().await?;
    let mut all = Vec::new();
    for Message { tenant, export } in job.messages()? {
        // A tenant that was closed meanwhile gets nothing made.
        let Some(enrolled) = registry.find(Visit::Serving, &tenant).await? else {
            all.push(Ended::Nothing);
            continue;
        };
        let tenant = registry.for_job(enrolled, job.now).await?;
        let ended = run(&job.platform, &tenant, &by, export).await?;
        if ended == Ended::Unfinished {
            send(&job.platform, tenant.id(), export).await?;
        }
        all.push(ended);
    }
    Ok(all)
}
