//! The end of a tenant, begun or called off by an operator through IAM only.

use jiff::{SignedDuration, Timestamp};
use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::letters;
use keystone::tenant::{GRACE_DAYS, NewClosing, Standing, Tenant, TenantId};
use schemars::JsonSchema;
use serde::Deserialize;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// The event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator; enters the tenant's audit trail.
    #[schemars(length(min = 1, max = 100))]
    operator: String,
    /// Slug of the tenant.
    #[schemars(extend("format" = "tenant"))]
    tenant: String,
    /// What to do.
    action: Action,
    /// Why: the contract's end, the customer's written request.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
    /// Days in which the tenant's people can still export; 30 unless given.
    #[serde(default)]
    #[schemars(range(min = 1, max = 365))]
    grace_days: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Announce that the keys will be destroyed.
    Begin,
    /// Keep the tenant after all.
    CallOff,
}

/// The job. Doing it twice is doing it once; doing it after a crash finishes.
pub async fn handle(job: Job) -> Result<Standing, Problem> {
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Operator, &input.operator);
    let tenant = TenantId::parse(&input.tenant)
        .ok_or_else(|| Problem::invalid("/tenant", "Must be a tenant's short name."))?;
    let registry = job.registry().await?;
    match input.action {
        Action::Begin => {
            let days = input.grace_days.unwrap_or(GRACE_DAYS);
            let new = NewClosing {
                tenant,
                operator: input.operator,
                reason: input.reason,
                grace: SignedDuration::from_hours(24 * i64::from(days)),
            };
            let letter = |tenant: &Tenant, name: &str, email: &str, ends_at: Timestamp| {
                letters::closing(tenant.profile(), name, email, ends_at)
            };
            registry.begin_closing(&by, &new, &letter).await
        }
        Action::CallOff => {
            if input.grace_days.is_some() {
                return Err(Problem::invalid("/grace_days", "Belongs to the action begin."));
            }
            let letter = |tenant: &Tenant, name: &str, email: &str, _: Timestamp| {
                letters::closing_called_off(tenant.profile(), name, email)
            };
            registry.call_closing_off(&by, &tenant, &letter).await
        }
    }
}
