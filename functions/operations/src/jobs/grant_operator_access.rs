//! Access of an operator to a tenant, granted by an operator through IAM only:
//! for a reason, for at most eight hours, told to the tenant
//! (docs/adr/0040).

use jiff::{SignedDuration, Timestamp};
use keystone::audit::entry::ActorKind;
use keystone::auth::operator::OperatorAccess;
use keystone::auth::token::AccessClaims;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::tenant::{Id, JobRegistry, Tenant, Visit, WriteTx};
use keystone::{Problem, letters, mail, random};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::SessionSecret];

/// The event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator who is to look; enters the tenant's audit trail,
    /// with each of their requests.
    #[schemars(length(min = 1, max = 100))]
    operator: String,
    /// Slug of the tenant.
    #[schemars(extend("format" = "tenant"))]
    tenant: String,
    /// Why, for the tenant to read.
    #[schemars(length(min = 10, max = 500))]
    reason: String,
    /// Minutes after which it ends.
    #[schemars(range(min = 1, max = 480))]
    minutes: u16,
}

/// The access. No `Debug`: the token signs in.
#[derive(Serialize)]
pub struct Granted {
    /// Id of the access.
    id: Id,
    /// Send it as `Authorization: Bearer <token>`.
    token: String,
    /// When it ends, unless the tenant ends it before.
    until: Timestamp,
}

/// The job. Doing it twice grants two accesses, each with its own entry, mail
/// and end.
pub async fn handle(job: Job) -> Result<Granted, Problem> {
    let Input { operator, tenant, reason, minutes } = job.input()?;
    let registry = job.registry().await?;
    let tenant = customer(&registry, &tenant, job.now).await?;
    // Before anything is granted, so that no access is without its token.
    let keys = job.platform.signing_keys(job.now).await?;
    let parties = job.platform.parties()?;
    let access = OperatorAccess {
        operator,
        reason,
        until: end(job.now, minutes)?,
        epoch: tenant.settings().await?.entity.session_epoch,
        ended: None,
    };
    let (id, until) = (random::id(job.now)?, access.until);
    let by = job.attribution(ActorKind::Operator, &access.operator);
    let stored = tenant
        .audited(&by, "operator_access.grant", async |tx: &mut WriteTx<'_>| {
            let to = tx.settings().await?.entity.contacts.primary;
            let told = (id, &*access.operator, &*access.reason);
            let letter = letters::operator_access(tx.tenant().profile(), &to, told, until)?;
            let stored = tx.insert(id, access.clone()).await?;
            mail::enqueue(tx, by.now, to.subject(), &letter).await?;
            Ok(stored)
        })
        .await?;
    let claims = AccessClaims::of(tenant.id(), &stored, parties);
    let token = keys.sign_access(&claims).map_err(|_| Problem::Internal)?;
    Ok(Granted { id, token, until })
}

/// The customer with this slug. Nobody of a tenant that is suspended or closed
/// could see or end an access, and the provider's own tenant is nobody's.
async fn customer(
    registry: &JobRegistry<'_>,
    slug: &str,
    now: Timestamp,
) -> Result<Tenant, Problem> {
    let enrolled = registry
        .find(Visit::Customers, slug)
        .await?
        .ok_or_else(|| Problem::invalid("/tenant", "Must be a tenant whose people may sign in."))?;
    Ok(registry.for_job(enrolled, now).await?)
}

/// The end of an access that is granted at `now`, to the second, as its token
/// has it.
fn end(now: Timestamp, minutes: u16) -> Result<Timestamp, Problem> {
    let until = now + SignedDuration::from_mins(i64::from(minutes));
    Timestamp::from_second(until.as_second()).map_err(|_| Problem::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_ends_on_a_second_after_the_minutes_that_were_asked_for() {
        let now: Timestamp = "2026-03-01T08:00:00.750Z".parse().unwrap();
        let until = |minutes| end(now, minutes).unwrap().to_string();
        assert_eq!(until(1), "2026-03-01T08:01:00Z");
        assert_eq!(until(480), "2026-03-01T16:00:00Z");
    }
}
