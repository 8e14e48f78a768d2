//! One run over an export: volume after volume until all is done or the run's
//! time is over.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use keystone::audit::bundle::verify;
use keystone::audit::checkpoint::Checkpoint;
use keystone::audit::keys::CheckpointKeys;
use keystone::audit::merkle::Hash;
use keystone::audit::note::VerifierKey;
use keystone::config::Setting;
use keystone::platform::Platform;
use keystone::tenant::{Attribution, Id, Lease, StoreError, Stored, Tenant, WriteTx};
use keystone::{Problem, random};
use keystone_report::{Signer, Storage};
use serde::Serialize;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::volume::Volume;
use super::walk::{Walk, fits};
use super::{Export, File, Progress, Snapshot, State};
use crate::checkpoints::Publisher;
use crate::filter::FilterInput;

/// How long a run may be silent before another may take the work over.
const LEASE: SignedDuration = SignedDuration::from_mins(3);
/// After so long a run begins no further volume; the next goes on.
const RUN_LIMIT: Duration = Duration::from_mins(10);
/// Runs that may follow each other without finishing a volume.
const MOST_ATTEMPTS: i32 = 5;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All volumes are written.
    Done,
    /// Its time was over; another run is to go on.
    Unfinished,
    /// There is no such export, or nothing is left to do.
    Nothing,
    /// Another run is at it.
    Elsewhere,
    /// Too many runs came no further; it is given up.
    GivenUp,
}

/// Why a volume is not made.
pub enum Stop {
    /// The trail is not what was signed: the export ends.
    Contradicted(String),
    /// Anything else, which another run may not meet.
    Failed(Problem),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Trail(fault) => Self::Contradicted(fault),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

/// What the making of a volume needs to know.
pub struct Context<'a, 'p> {
    pub platform: &'p Platform,
    pub tenant: &'a Tenant,
    pub export: &'a Stored<Export>,
    pub filter: FilterInput,
    pub snapshot: &'a Snapshot,
    /// What verifies the snapshot's checkpoint, from KMS and the configuration.
    keys: &'a [VerifierKey],
    /// Number of the volume, from 1.
    pub volume: usize,
    /// When its making began.
    pub made_at: Timestamp,
    signer: &'a OnceCell<Signer<'p>>,
}

impl<'p> Context<'_, 'p> {
    /// What signs reports, loaded once for a run.
    pub async fn signer(&self) -> Result<&Signer<'p>, StoreError> {
        self.signer.get_or_try_init(|| Signer::load(self.platform, self.made_at)).await
    }
}

/// The time, as it goes on during a run that began at a given moment.
struct Clock {
    by: Attribution,
    started: Instant,
}

impl Clock {
    fn now(&self) -> Timestamp {
        self.by.now + self.started.elapsed()
    }

    /// Who acts, at this time.
    fn by(&self) -> Attribution {
        Attribution { now: self.now(), ..self.by.clone() }
    }

    fn is_over(&self) -> bool {
        self.started.elapsed() >= RUN_LIMIT
    }
}

/// Works on the export `id` of `tenant` until it is done or the time is over.
///
/// # Errors
/// [`Problem`] when a store does not answer; the work is then free for another
/// run. [`Problem::Conflict`] when the trail contradicts the checkpoint; the
/// export has then ended.
pub async fn run(
    platform: &Platform,
    tenant: &Tenant,
    by: &Attribution,
    id: Id,
) -> Result<Ended, Problem> {
    let clock = Clock { by: by.clone(), started: Instant::now() };
    if !tenant.get::<Export>(id).await?.is_some_and(|export| export.entity.is_unfinished()) {
        return Ok(Ended::Nothing);
    }
    let Some(mut lease) = tenant.take_work::<Progress>(id, clock.now(), LEASE).await? else {
        return Ok(Ended::Elsewhere);
    };
    if lease.attempts > MOST_ATTEMPTS {
        end(tenant, &clock, id, "audit_export.give_up", State::Failed).await?;
        return Ok(Ended::GivenUp);
    }
    let ended = write_volumes(platform, tenant, &clock, id, &mut lease).await;
    if !matches!(ended, Ok(Ended::Done)) {
        // Free for the next run at once; if this fails, when the lease ends.
        let freed = tenant.keep_work(&mut lease, false, clock.now(), SignedDuration::ZERO).await;
        if freed.is_err() {
            tracing::warn!(tenant = %tenant.id(), export = %id, "the lease was not given back");
        }
    }
    match ended {
        // Another run took the work over while this one was silent.
        Err(Problem::Stale) => Ok(Ended::Elsewhere),
        ended => ended,
    }
}

async fn write_volumes(
    platform: &Platform,
    tenant: &Tenant,
    clock: &Clock,
    id: Id,
    lease: &mut Lease<Progress>,
) -> Result<Ended, Problem> {
    let storage = Storage::new(platform).await?;
    let signer = OnceCell::new();
    let keys = CheckpointKeys::of(platform).await?.of_tenant(tenant.id().as_str())?;
    let mut export = begin(platform, tenant, clock, id, &keys).await?;
    let filter = export.entity.filter(tenant, id).await?;
    let snapshot = export.entity.snapshot.clone();
    let snapshot = snapshot.ok_or_else(|| StoreError::defect("an export without a size"))?;
    let mut walk = Walk::new(tenant, export.entity.next()..snapshot.size, &filter);
    // A trail without an entry that fits is reported too: as an empty volume.
    while export.entity.next() < snapshot.size {
        if clock.is_over() {
            return Ok(Ended::Unfinished);
        }
        let volume = export.entity.files.len() + 1;
        let context = Context {
            platform,
            tenant,
            export: &export,
            filter: filter.clone(),
            snapshot: &snapshot,
            keys: &keys,
            volume,
            made_at: clock.now(),
            signer: &signer,
        };
        let written = match write_volume(&context, clock, lease, &storage, &mut walk).await {
            Ok(written) => written,
            Err(Stop::Contradicted(fault)) => {
                return Err(refuse(tenant, clock, id, &fault).await);
            }
            Err(Stop::Failed(problem)) => return Err(problem),
        };
        export = add_file(tenant, clock, &export, &written).await?;
        tenant.keep_work(lease, true, clock.now(), LEASE).await?;
    }
    finish(tenant, clock, &export).await?;
    Ok(Ended::Done)
}

/// Writes and stores one volume. Nothing is signed or stored before all entries
/// that were looked at, shown or not, lead to the root that the checkpoint
/// signs: that each is its stored leaf's says nothing where both were changed.
async fn write_volume(
    context: &Context<'_, '_>,
    clock: &Clock,
    lease: &mut Lease<Progress>,
    storage: &Storage,
    walk: &mut Walk<'_>,
) -> Result<File, Stop> {
    let (tenant, format) = (context.tenant, context.export.entity.format);
    let (start, end) = (walk.next(), context.snapshot.size);
    let mut volume = Volume::new(context, start).await?;
    let most = most_entries(context.platform)?;
    let mut entries = 0;
    loop {
        let Some(record) = walk.peek() else {
            // Where little fits, the time may be over before the volume is full.
            let is_late = clock.is_over() && walk.next() > start;
            if is_late || !walk.read().await? {
                break;
            }
            lease.work.percent = percent(walk.next(), end);
            tenant.keep_work(lease, false, clock.now(), LEASE).await?;
            continue;
        };
        if !fits(&context.filter, record) {
            volume.hide(record);
        } else if entries == most || volume.is_full() {
            // A full volume takes up what does not fit, so none is empty after it.
            break;
        } else {
            volume.show(record)?;
            entries += 1;
        }
        walk.step();
    }
    let upto = walk.next();
    let (bundle, shown) = volume.close(context).await?;
    if let Err(fault) = verify(bundle.as_slice(), context.keys, |_| ()) {
        return Err(Stop::Contradicted(fault.to_string()));
    }
    let bytes = shown.file(context, bundle).await?;
    // Whoever else writes this volume meanwhile does so under another name, so
    // that no file ever changes once its hash is recorded.
    let key = format!(
        "exports/{}/{}/{}.{}",
        tenant.id(),
        context.export.id,
        random::id(clock.now()).map_err(StoreError::from)?,
        format.extension()
    );
    let (size, sha256) = (bytes.len() as u64, Hash::of(&[&bytes]));
    lease.work.percent = percent(upto, end);
    tenant.keep_work(lease, false, clock.now(), LEASE).await?;
    storage.put(&key, format.media_type(), bytes, sha256).await?;
    Ok(File { key, entries, upto, size, sha256 })
}

/// Entries that a volume holds at most.
fn most_entries(platform: &Platform) -> Result<u64, StoreError> {
    let text = platform.setting(Setting::ExportVolumeEntries)?;
    let most = text.parse().ok().filter(|most| *most > 0);
    most.ok_or_else(|| StoreError::defect("a volume must hold at least one entry"))
}

/// How much of the trail was looked at, short of all: that is for the end.
fn percent(next: u64, size: u64) -> u8 {
    let share = u128::from(next) * 100 / u128::from(size.max(1));
    u8::try_from(share.min(99)).unwrap_or(99)
}

/// Fixes the checkpoint that the export is over, unless a run before did. Nothing
/// is made of a record that somebody else wrote, nor is it sealed anew.
async fn begin(
    platform: &Platform,
    tenant: &Tenant,
    clock: &Clock,
    id: Id,
    keys: &[VerifierKey],
) -> Result<Stored<Export>, Problem> {
    let export = tenant.get::<Export>(id).await?.ok_or(Problem::NotFound)?;
    if !Export::is_sound(tenant, &export).await? {
        let fault = "what is recorded of it is not what its runs wrote";
        return Err(refuse(tenant, clock, id, fault).await);
    }
    if export.entity.snapshot.is_some() {
        return Ok(export);
    }
    let note = match Publisher::new(platform).await?.publish(tenant, clock.now()).await {
        Err(Problem::Conflict(fault)) => return Err(refuse(tenant, clock, id, &fault).await),
        published => published?.0.link.checkpoint,
    };
    let Checkpoint { size, root, .. } =
        Checkpoint::open(&note, keys).map_err(StoreError::defect)?;
    let keys = keys.iter().map(ToString::to_string).collect();
    let snapshot = Snapshot { size, root, checkpoint: note, keys };
    tenant
        .audited(&clock.by(), "audit_export.start", async |tx: &mut WriteTx<'_>| {
            let begun = Export {
                state: State::Running,
                snapshot: Some(snapshot.clone()),
                ..export.entity.clone()
            };
            Ok(tx.replace(&export, begun.sealed(tenant, id, export.created_at).await?).await?)
        })
        .await
}

/// Records a stored volume. Fails as stale when another run recorded one since
/// `export` was read.
async fn add_file(
    tenant: &Tenant,
    clock: &Clock,
    export: &Stored<Export>,
    file: &File,
) -> Result<Stored<Export>, Problem> {
    tenant
        .audited(&clock.by(), "audit_export.add_file", async |tx: &mut WriteTx<'_>| {
            let mut more = export.entity.clone();
            more.files.push(file.clone());
            Ok(tx.replace(export, more.sealed(tenant, export.id, export.created_at).await?).await?)
        })
        .await
}

/// Ends an export of which every volume is written. Fails as stale when its record
/// is no longer the one that `export` is.
async fn finish(tenant: &Tenant, clock: &Clock, export: &Stored<Export>) -> Result<(), Problem> {
    let by = clock.by();
    tenant
        .audited(&by, "audit_export.finish", async |tx: &mut WriteTx<'_>| {
            let done =
                Export { state: State::Done, ended_at: Some(by.now), ..export.entity.clone() };
            tx.replace(export, done.sealed(tenant, export.id, export.created_at).await?).await?;
            Ok(())
        })
        .await
}

/// Ends an export whose trail is not what was signed, so that nothing of it is
/// handed out. What it returns fails the run, which raises the alarm.
async fn refuse(tenant: &Tenant, clock: &Clock, id: Id, fault: &str) -> Problem {
    tracing::error!(tenant = %tenant.id(), export = %id, fault, "an export is refused");
    match end(tenant, clock, id, "audit_export.refuse", State::Contradicted).await {
        Ok(()) => Problem::Conflict(format!("The export {id} is refused: {fault}")),
        Err(problem) => problem,
    }
}

/// Ends an export of which nothing is handed out, whatever its record says.
async fn end(
    tenant: &Tenant,
    clock: &Clock,
    id: Id,
    action: &'static str,
    state: State,
) -> Result<(), Problem> {
    let by = clock.by();
    tenant
        .audited(&by, action, async |tx: &mut WriteTx<'_>| {
            let mut export = tx.get::<Export>(id).await?.ok_or(Problem::NotFound)?;
            export.entity = export.entity.readable(tenant, id, export.created_at).await?;
            let ended = Export { state, ended_at: Some(by.now), ..export.entity.clone() };
            tx.replace(&export, ended.sealed(tenant, id, export.created_at).await?).await?;
            Ok(())
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_a_hundred_percent() {
        assert_eq!(percent(0, 0), 0);
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(3, 3), 99);
        assert_eq!(percent(u64::MAX, u64::MAX), 99);
    }
}
