//! Delivery of mail that transactions left in the tenants' outboxes.

use std::time::Duration;

use jiff::SignedDuration;
use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::mail::{Delivered, deliver_due};
use keystone::tenant::Visit;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::MailFrom];

/// After so long a run begins no further message: one that is ended between the
/// sending of a message and its record sends it again. What it has begun by then
/// has the rest of the function's 50 seconds.
const RUN_LIMIT: Duration = Duration::from_secs(35);
/// How often its schedule in template.yaml runs it.
const EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Messages of one tenant that one run sends at most, so that no tenant makes
/// the others wait.
const PER_TENANT: u32 = 50;

/// The event: empty from the schedule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Slug of the only tenant whose messages to send; every tenant unless
    /// given.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "tenant"))]
    tenant: Option<String>,
}

/// The job. Of suspended tenants it sends what does not wait. A tenant whose data
/// cannot be reached does not stop the others; the run fails in the end, so that it
/// is seen and repeated.
pub async fn handle(job: Job) -> Result<Delivered, Problem> {
    let deadline = Instant::now() + RUN_LIMIT;
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Job, "drain-outbox");
    let registry = job.registry().await?;
    let mut total = Delivered::default();
    let mut first_problem = None;
    let tenants = registry.round(Visit::Kept, input.tenant.as_deref(), (job.now, EVERY)).await?;
    for enrolled in tenants {
        if Instant::now() >= deadline {
            break;
        }
        let tenant = match registry.for_job(enrolled, job.now).await {
            Ok(tenant) => tenant,
            Err(error) => {
                first_problem.get_or_insert(error.into());
                continue;
            }
        };
        match deliver_due(&job.platform, &tenant, &by, PER_TENANT, deadline).await {
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
