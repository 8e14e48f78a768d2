//! Rotation of tenants' data keys, sealing anew what older ones sealed, the end
//! of erasures that were interrupted, and erasure of people who left as long ago
//! as the tenant keeps them.

use std::time::Duration;

use jiff::SignedDuration;
use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::auth::user::{User, UserStatus};
use keystone::config::Setting;
use keystone::erasure::{Ground, erase_for, finish_pending};
use keystone::job::Job;
use keystone::platform::Platform;
use keystone::tenant::{
    Attribution, Filter, Page, ROTATION_PERIOD, SealedValue, Stored, Tenant, Visit, WriteTx,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 4] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable, Setting::ExportBucket];

/// After so long a run begins no further batch; the next goes on.
const RUN_LIMIT: Duration = Duration::from_mins(10);
/// How often its schedule in template.yaml runs it.
const EVERY: SignedDuration = SignedDuration::from_hours(1);

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
    /// Former users erased since they are kept no longer.
    lapsed: u64,
    /// Whether values are left that an older key sealed.
    unfinished: bool,
}

/// Values that do not open where they stand which one answer names at most.
const FINDINGS_SHOWN: usize = 20;

/// The job. A tenant whose stores do not answer does not stop the others, nor
/// does a value that somebody tampered with; the run fails in the end, so that
/// it is seen and repeated.
pub async fn handle(job: Job) -> Result<Maintained, Problem> {
    let input: Input = job.input()?;
    if input.rotate && input.tenant.is_none() {
        return Err(Problem::invalid("/tenant", "Name the tenant that gets a new key."));
    }
    let period = if input.rotate { SignedDuration::ZERO } else { ROTATION_PERIOD };
    let by = job.attribution(ActorKind::Job, "maintain-keys");
    let deadline = tokio::time::Instant::now() + RUN_LIMIT;
    let registry = job.registry().await?;
    let mut total = Maintained::default();
    let mut first_problem = None;
    let mut findings = Vec::new();
    let tenants = registry.round(Visit::Kept, input.tenant.as_deref(), (job.now, EVERY)).await?;
    for enrolled in tenants {
        let done = async {
            let tenant = registry.for_job(enrolled, job.now).await?;
            let mut unreadable = Vec::new();
            let run = Run { job: &job, by: &by, period, deadline };
            let done = run.maintain(&tenant, &mut total, &mut unreadable).await;
            for value in unreadable {
                tracing::error!(tenant = %tenant.id(), %value, "a sealed value was tampered with");
                findings.push(format!("{}: {value}", tenant.id()));
            }
            done
        };
        if let Err(problem) = done.await {
            first_problem.get_or_insert(problem);
        }
    }
    match first_problem {
        Some(problem) => Err(problem),
        None if findings.is_empty() => Ok(total),
        None => {
            let count = findings.len();
            findings.truncate(FINDINGS_SHOWN);
            let named = findings.join("; ");
            Err(Problem::Conflict(format!("{count} sealed values do not open: {named}.")))
        }
    }
}

/// What is the same for every tenant of a run.
struct Run<'r> {
    job: &'r Job,
    by: &'r Attribution,
    /// Age at which a data key is followed by a new one.
    period: SignedDuration,
    deadline: tokio::time::Instant,
}

impl Run<'_> {
    async fn maintain(
        &self,
        tenant: &Tenant,
        total: &mut Maintained,
        unreadable: &mut Vec<SealedValue>,
    ) -> Result<(), Problem> {
        let (platform, by) = (&self.job.platform, self.by);
        // What cannot be erased is no reason not to rotate.
        let erased = finish_pending(platform, tenant, by).await;
        total.lapsed += erase_former_users(platform, tenant, by).await?;
        self.rotate(tenant, total, unreadable).await?;
        total.erased += erased?;
        Ok(())
    }

    /// Gives the tenant a new data key if its time has come, and seals anew what
    /// older ones sealed, as far as the run's time goes.
    async fn rotate(
        &self,
        tenant: &Tenant,
        total: &mut Maintained,
        unreadable: &mut Vec<SealedValue>,
    ) -> Result<(), Problem> {
        let by = self.by;
        let kms_key = self.job.platform.config().get(Setting::DataKey);
        let kms_key = kms_key.map_err(|_| Problem::Internal)?;
        if tenant.rotate_data_key(by, kms_key, self.period).await?.is_some() {
            total.keys += 1;
        }
        loop {
            if tokio::time::Instant::now() >= self.deadline {
                total.unfinished = true;
                return Ok(());
            }
            match tenant.reseal_batch(by, unreadable).await? {
                None => return Ok(()),
                Some(values) => total.resealed += values,
            }
        }
    }
}

/// Erases who left longer ago than the tenant keeps its former users. Nothing
/// changes a user after that but erasure and readmission, so the last change of
/// one who is not erased is when they left. Who is still a contact of the tenant
/// waits until another is named, and whose data is restricted (GDPR Art. 18)
/// until that is lifted.
async fn erase_former_users(
    platform: &Platform,
    tenant: &Tenant,
    by: &Attribution,
) -> Result<u64, Problem> {
    let settings = tenant.settings().await?.entity;
    let Some(limit) = settings.kept_from(by.now)? else { return Ok(0) };
    let lapsed = |user: &User| {
        user.status == UserStatus::Deactivated && !user.is_erased() && user.restriction.is_none()
    };
    let mut erased = 0;
    let mut page = Page { after: None, limit: 100 };
    loop {
        let former = Filter::all().eq("status", UserStatus::Deactivated.name());
        let found = tenant.list::<User>(former.before("updated_at", limit), page).await?;
        for user in found.iter().filter(|user| lapsed(&user.entity)) {
            // Somebody may have invited them again since they were read.
            let check = async |tx: &mut WriteTx<'_>, user: &Stored<User>| {
                let due = lapsed(&user.entity) && !tx.is_contact(user).await?;
                due.then_some(()).ok_or(Problem::Stale)
            };
            let (action, ground) = ("user.erase", Ground::NoLongerNeeded);
            match erase_for(platform, tenant, by, user.id, action, ground, check).await {
                Err(Problem::Stale) => {}
                done => erased += done.map(|_| 1)?,
            }
        }
        match found.last() {
            Some(last) if found.len() == 100 => page.after = Some(last.id),
            _ => return Ok(erased),
        }
    }
}
