//! Rotation of the keys that sign session tokens.

use keystone::Problem;
use keystone::auth::rotation::{self, Step};
use keystone::config::Setting;
use keystone::job::Job;
use serde::Serialize;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 1] = [Setting::SessionSecret];

/// What a run did.
#[derive(Debug, Serialize)]
pub struct Rotated {
    /// The step that was due.
    step: Step,
}

/// The job. Each run does the one step that is due, if any.
pub async fn handle(job: Job) -> Result<Rotated, Problem> {
    Ok(Rotated { step: rotation::rotate(&job.platform, job.now).await? })
}
