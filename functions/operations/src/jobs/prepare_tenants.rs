//! Makes the provider, and brings the collections, validators and indexes of
//! every tenant to what this release knows; run after each deployment.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::{Contact, Grants, Visit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::SecurityContact];

/// The event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// As for provision-tenant.
    #[serde(default)]
    #[schemars(with = "Grants")]
    grants: Option<Grants>,
}

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Prepared {
    /// Tenants that are ready for this release, the provider among them.
    tenants: u64,
}

/// The job. Beside the making of the provider it changes no data, only what the
/// database enforces and indexes, so it leaves no audit entry; doing it twice is
/// doing it once.
pub async fn handle(job: Job) -> Result<Prepared, Problem> {
    let input: Input = job.input()?;
    let registry = job.registry().await?;
    let email = job.platform.config().get(Setting::SecurityContact);
    let email = email.map_err(|_| Problem::Internal)?.to_owned();
    let contact = Contact { name: "Security".into(), email, user: None };
    let by = job.attribution(ActorKind::Job, "prepare-tenants");
    registry.provision_provider(&by, contact, input.grants.unwrap_or(Grants::Server)).await?;
    let mut done = Prepared::default();
    for enrolled in registry.walk(Visit::Kept).await? {
        registry.prepare(&enrolled).await?;
        done.tenants += 1;
    }
    Ok(done)
}
