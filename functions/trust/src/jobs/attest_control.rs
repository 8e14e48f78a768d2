//! What no machine can see of a control, vouched for by a person; invoked by an
//! operator through IAM only.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::config::Setting;
use keystone::job::Job;
use keystone::random;
use keystone::tenant::{Filter, Id, Page, WriteTx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::control;
use crate::checks::{Attestation, Check};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// The event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator who vouches; enters the provider's audit trail.
    #[schemars(length(min = 1, max = 100))]
    operator: String,
    /// The control's id.
    #[schemars(length(min = 1, max = 20))]
    control: String,
    /// What was done or seen. Stands on the public page.
    #[schemars(length(min = 1, max = 500))]
    statement: String,
    /// Where the record of it is kept; not published.
    #[schemars(length(min = 1, max = 500))]
    record: String,
    /// The day on which it was done.
    #[schemars(with = "String", extend("format" = "date"))]
    done_on: Date,
}

/// The attestation that stands.
#[derive(Debug, Serialize)]
pub struct Attested {
    id: Id,
    /// Whether this run recorded it; false when the same stood there already.
    created: bool,
}

/// The job. The same attestation again is recorded once.
pub async fn handle(job: Job) -> Result<Attested, Problem> {
    let input: Input = job.input()?;
    let attestable =
        control(&input.control).is_some_and(|one| one.checks.contains(&Check::Attestation));
    if !attestable {
        return Err(Problem::invalid("/control", "Must be a control that people vouch for."));
    }
    if input.done_on > job.now.to_zoned_datetime(TimeZone::UTC).date() {
        return Err(Problem::invalid("/done_on", "Must not be in the future."));
    }
    let attestation = Attestation {
        control: input.control,
        statement: input.statement,
        record: input.record,
        done_on: input.done_on,
    };
    let provider = job.registry().await?.provider(job.now).await?;
    let of_control = Filter::all().eq("control", attestation.control.clone());
    let newest = Page { after: None, limit: 1 };
    if let Some(last) = provider.list::<Attestation>(of_control, newest).await?.pop()
        && last.entity == attestation
    {
        return Ok(Attested { id: last.id, created: false });
    }
    let by = job.attribution(ActorKind::Operator, &input.operator);
    let id = random::id(job.now)?;
    provider
        .audited(&by, "attestation.record", async |tx: &mut WriteTx<'_>| {
            tx.insert(id, attestation.clone()).await?;
            Ok(Attested { id, created: true })
        })
        .await
}
