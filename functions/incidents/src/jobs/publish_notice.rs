//! Publication of a notice to tenants, invoked by an operator through IAM only.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::Id;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::announcement::{Announcement, Published, publish};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// The event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator who publishes; enters the audit trails.
    #[schemars(length(min = 1, max = 100))]
    operator: String,
    /// Id of the notice; the same call with the same id goes on.
    id: Id,
    /// Its title.
    #[schemars(length(min = 1, max = 200))]
    title: String,
    /// Its text.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 1000)))]
    paragraphs: Vec<String>,
    /// Slugs of those who get it; every tenant whose people may sign in unless
    /// given.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1000), inner(length(min = 3, max = 31)))]
    tenants: Option<Vec<String>>,
    /// Whether it goes to their security contacts by mail, too.
    #[serde(default)]
    mail: bool,
}

/// The job. Doing it twice gives each tenant the notice once; doing it after a
/// crash, or when the time was over, goes on.
pub async fn handle(job: Job) -> Result<Published, Problem> {
    let Input { operator, id, title, paragraphs, tenants, mail } = job.input()?;
    let by = job.attribution(ActorKind::Operator, &operator);
    let registry = job.registry().await?;
    publish(&registry, &by, id, &Announcement { title, paragraphs, tenants, mail }).await
}
