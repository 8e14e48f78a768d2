//! Rotation of tenants' data keys, sealing anew what older ones sealed, and
//! the end of erasures that were interrupted.

use std::time::Duration;

use jiff::SignedDuration;
use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::erasure::finish_pending;
use keystone::job::Job;
use keystone::tenant::{Attribution, ROTATION_PERIOD, Tenant, Visit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// After so long a run begins no further batch; the next goes on.
const RUN_LIMIT: Duration = Duration::from_mins(10);

/// The event: empty from the schedule.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Slug of the only tenant to look at; every tenant unless given.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "tenant"))]
    tenant: Option<String>,
    /// Gives the tenant a new data key whatever the age of the newest.
    #[serde(default)]
    rotate: bool,
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Maintained {
    /// Data keys made.
    keys: u64,
    /// Values sealed anew.
    resealed: u64,
    /// Interrupted erasures finished.
    erased: u64,
    /// Whether values are left that an older key sealed.
    unfinished: bool,
}

/// The job. A tenant whose stores do not answer does not stop the others; the
/// run fails in the end, so that it is seen and repeated.
pub async fn handle(job: Job) -> Result<Maintained, Problem> {
    let input: Input = job.input()?;
    if input.rotate && input.tenant.is_none() {
        return Err(Problem::invalid("/tenant", "Name the tenant that gets a new key."));
    }
    let period = if input.rotate { SignedDuration::ZERO } else { ROTATION_PERIOD };
    let by = job.attribution(ActorKind::Job, "maintain-keys");
    let deadline = tokio::time::Instant::now() + RUN_LIMIT;
    let registry = job.platform.registry(job.now).await?;
    let mut total = Maintained::default();
    let mut first_problem = None;
    for enrolled in registry.walk(Visit::Kept).await? {
        if input.tenant.as_deref().is_some_and(|only| only != enrolled.id().as_str()) {
            continue;
        }
        let done = async {
            let tenant = registry.for_job(enrolled, job.now).await?;
            maintain(&job, &tenant, &by, period, deadline, &mut total).await
        };
        if let Err(problem) = done.await {
            first_problem.get_or_insert(problem);
        }
    }
    first_problem.map_or(Ok(total), Err)
}

async fn maintain(
    job: &Job,
    tenant: &Tenant,
    by: &Attribution,
    period: SignedDuration,
    deadline: tokio::time::Instant,
    total: &mut Maintained,
) -> Result<(), Problem> {
    total.erased += finish_pending(tenant, by).await?;
    let kms_key = job.platform.config().get(Setting::DataKey).map_err(|_| Problem::Internal)?;
    if tenant.rotate_data_key(by, kms_key, period).await?.is_some() {
        total.keys += 1;
    }
    loop {
        if tokio::time::Instant::now() >= deadline {
            total.unfinished = true;
            return Ok(());
        }
        match tenant.reseal_batch(by).await? {
            0 => return Ok(()),
            values => total.resealed += values,
        }
    }
}
