//! Watches the deadlines of breaches, every quarter of an hour.

use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::{Problem, telemetry};

use crate::delivery::Teller;
pub use crate::jobs::notify_breach::SETTINGS;
use crate::watch::{Watched, watch};

/// The job. What it counts becomes metrics, of which alarms are made: also when
/// it fails in part, since a clock runs whatever fails. Those of alarms and
/// misses are written as they are recorded.
pub async fn handle(job: Job) -> Result<Watched, Problem> {
    let by = job.attribution(ActorKind::Job, "watch-breaches");
    let public_url = job.platform.config().get(Setting::PublicUrl);
    let teller = Teller { by: &by, public_url: public_url.map_err(|_| Problem::Internal)? };
    let registry = job.registry().await?;
    let provider = registry.provider(job.now).await?;
    let (seen, problem) = watch(&registry, &provider, &teller).await?;
    for (metric, count) in
        [("breach_notices_waiting", seen.waiting), ("breach_notices_at_risk", seen.at_risk)]
    {
        telemetry::counted(job.now, "watch-breaches", metric, count);
    }
    problem.map_or(Ok(seen), Err)
}
