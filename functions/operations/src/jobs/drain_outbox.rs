//! Delivery of mail that transactions left in the tenants' outboxes.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::mail::{Delivered, deliver_due};
use keystone::tenant::Visit;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::MailFrom];

/// Messages of one tenant that one run sends at most, so that no tenant makes
/// the others wait.
const PER_TENANT: u32 = 50;

/// The job. A tenant whose data cannot be reached does not stop the others;
/// the run fails in the end, so that it is seen and repeated.
pub async fn handle(job: Job) -> Result<Delivered, Problem> {
    let by = job.attribution(ActorKind::Job, "drain-outbox");
    let registry = job.platform.registry(job.now).await?;
    let mut total = Delivered::default();
    let mut first_problem = None;
    for enrolled in registry.walk(Visit::Serving).await? {
        let tenant = match registry.for_job(enrolled, job.now).await {
            Ok(tenant) => tenant,
            Err(error) => {
                first_problem.get_or_insert(error.into());
                continue;
            }
        };
        match deliver_due(&job.platform, &tenant, &by, PER_TENANT).await {
            Ok(done) => {
                total.sent += done.sent;
                total.retried += done.retried;
                total.failed += done.failed;
            }
            Err(problem) => {
                first_problem.get_or_insert(problem);
            }
        }
    }
    first_problem.map_or(Ok(total), Err)
}
