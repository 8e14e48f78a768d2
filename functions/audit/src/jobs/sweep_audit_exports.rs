//! Asks again for exports that no run is at: the message was never sent, was
//! lost, or its run died.

use jiff::SignedDuration;
use keystone::Problem;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::{Tenant, Visit};
use serde::Serialize;

use crate::exports::{Progress, send, unfinished};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::ExportQueue];

/// How long the message that was sent at first may take to be taken up.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

/// What a sweep did.
#[derive(Debug, Default, Serialize)]
pub struct Swept {
    /// Messages sent.
    sent: u64,
}

/// The job. A tenant whose stores do not answer does not stop the others; the
/// run fails in the end, so that it is seen and repeated.
pub async fn handle(job: Job) -> Result<Swept, Problem> {
    let registry = job.registry().await?;
    let mut swept = Swept::default();
    let mut first_problem = None;
    for enrolled in registry.walk(Visit::Serving).await? {
        let done = async {
            let tenant = registry.for_job(enrolled, job.now).await?;
            sweep(&job, &tenant, &mut swept).await
        };
        if let Err(problem) = done.await {
            first_problem.get_or_insert(problem);
        }
    }
    first_problem.map_or(Ok(swept), Err)
}

async fn sweep(job: &Job, tenant: &Tenant, swept: &mut Swept) -> Result<(), Problem> {
    for export in unfinished(tenant).await? {
        let free_at = match tenant.see_work::<Progress>(export.id).await? {
            Some(seen) => seen.free_at,
            None => export.created_at,
        };
        // A run whose time was over or that failed has asked for the next.
        if free_at + PATIENCE <= job.now {
            send(&job.platform, tenant.id(), export.id).await?;
            swept.sent += 1;
        }
    }
    Ok(())
}
