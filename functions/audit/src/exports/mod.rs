//! Exports of the audit trail: asked for by a request, made by a job, fetched
//! through links that live for minutes. docs/adr/0015 tells why.
//!
//! An export is over the trail up to a fixed size. It is made in volumes, each
//! a file that can be verified by itself; a volume is the unit of progress, so
//! that a run which dies costs at most one.

mod csv;
mod evidence;
mod pdf;
mod queue;
mod rows;
mod run;
mod view;
mod volume;
mod walk;

use jiff::Timestamp;
use keystone::Problem;
use keystone::audit::merkle::Hash;
use keystone::crypto::{CryptoError, Place, Plain, Sealed, Subject, at_rest, at_rest_option};
use keystone::tenant::{Entity, Id, StoreError, Stored, Tenant, Work, schema};
use keystone_report::KEPT;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use queue::{Message, send};
use run::Context;
pub use run::{Ended, run};
pub use view::{ExportView, FileView};

use crate::filter::FilterInput;

/// Unfinished exports that a tenant may have.
pub const MOST_UNFINISHED: usize = 10;

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// PAdES-signed PDF/A-3b with the evidence bundle attached.
    Pdf,
    /// Evidence bundle that `keystone-verify` reads, one JSON object per line.
    Jsonl,
    /// RFC 4180 table for spreadsheets; not verifiable by itself.
    Csv,
}

impl Format {
    /// Extension of the files, which is also the format's name.
    const fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// Where an export stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for a run.
    Queued,
    /// A run fixed the tree size; volumes are being written.
    Running,
    /// All volumes are written.
    Done,
    /// Given up after several runs that came no further.
    Failed,
    /// Refused: the stored entries are not those that the checkpoint signs.
    /// Nothing is handed out until that is resolved and another is asked for.
    Contradicted,
    /// Made, and handed out no longer, because somebody was erased after it
    /// was asked for. Shown in place of `done`, and stored nowhere.
    Withdrawn,
}

impl State {
    /// The states in which work is left.
    pub const UNFINISHED: [Self; 2] = [Self::Queued, Self::Running];

    /// The state's name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Contradicted => "contradicted",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What is kept of a filter in clear; the source address is sealed beside it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    actor: Option<String>,
    action: Option<String>,
    resource_type: Option<String>,
    resource_id: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

/// The trail that an export is over, fixed by its first run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    /// Entries in the trail.
    size: u64,
    /// Root of its Merkle tree.
    root: Hash,
    /// The signed checkpoint that says so.
    checkpoint: String,
    /// The keys that verify it, as text.
    keys: Vec<String>,
}

/// A finished volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where it lies in the bucket.
    key: String,
    /// Entries in it.
    entries: u64,
    /// Every entry below this number was looked at when it was written.
    upto: u64,
    /// Length in bytes.
    size: u64,
    /// Of the whole file: a PDF's signature does not cover what is appended
    /// to it, this does.
    sha256: Hash,
}

/// An export of the audit trail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    format: Format,
    state: State,
    filter: Selection,
    #[serde(with = "at_rest_option")]
    ip: Option<Sealed<String>>,
    /// Id of the user who asked for it.
    requested_by: Id,
    /// Their role then.
    role: String,
    snapshot: Option<Snapshot>,
    files: Vec<File>,
    ended_at: Option<Timestamp>,
    /// The hash of all the rest, sealed: nobody who has no key of the tenant makes
    /// one that fits something else. A run goes on from what a run wrote, and
    /// from nothing that was put in its place.
    #[serde(with = "at_rest")]
    seal: Sealed<Hash>,
}

/// What the seal of an export is of, in the order of the members.
#[derive(Serialize)]
struct Contents<'e> {
    /// When it was asked for, in milliseconds: it counts who was erased since.
    requested_at: i64,
    format: Format,
    state: State,
    by_address: bool,
    filter: FilterInput,
    requested_by: Id,
    role: &'e str,
    snapshot: Option<&'e Snapshot>,
    files: &'e [File],
    ended_at: Option<Timestamp>,
}

impl Entity for Export {
    const COLLECTION: &'static schema::Collection = &schema::AUDIT_EXPORTS;
    const RESOURCE: &'static str = "audit_export";
    const PERSONAL: &'static [&'static str] = &[];
}

/// What a run notes for those who ask how far it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    percent: u8,
}

impl Work for Progress {
    const RUNS: &'static schema::Runs = &schema::EXPORTING;
}

fn place(id: Id, field: &'static str) -> Place<'static> {
    Place { collection: schema::AUDIT_EXPORTS.name, document: id, field }
}

/// What was opened; `None` for what was sealed elsewhere or by nobody.
fn opened<T>(result: Result<Plain<T>, CryptoError>) -> Result<Option<Plain<T>>, StoreError> {
    match result {
        Ok(plain) => Ok(Some(plain)),
        Err(CryptoError::Store(error)) => Err(error),
        Err(CryptoError::Key) => Err(CryptoError::Key.into()),
        Err(_) => Ok(None),
    }
}

impl Export {
    /// A new export under `id`, asked for by `user`.
    ///
    /// # Errors
    /// [`StoreError`] when the source address cannot be sealed.
    pub async fn new(
        tenant: &Tenant,
        id: Id,
        format: Format,
        filter: &FilterInput,
        (user, role): (Id, &str),
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let ip = match filter.ip {
            Some(ip) => {
                let ip = ip.to_canonical().to_string();
                Some(tenant.seal(place(id, "ip"), Subject::Tenant, &ip).await?)
            }
            None => None,
        };
        let filter = filter.clone();
        let export = Self {
            format,
            state: State::Queued,
            filter: Selection {
                actor: filter.actor,
                action: filter.action,
                resource_type: filter.resource_type,
                resource_id: filter.resource_id,
                from: filter.from,
                to: filter.to,
            },
            ip,
            requested_by: user,
            role: role.to_owned(),
            snapshot: None,
            files: Vec::new(),
            ended_at: None,
            seal: tenant.seal(place(id, "seal"), Subject::Tenant, &Hash::of(&[])).await?,
        };
        export.sealed(tenant, id, now).await
    }

    /// The export, asked for at this time, with the seal that fits it, to be stored.
    async fn sealed(self, tenant: &Tenant, id: Id, at: Timestamp) -> Result<Self, StoreError> {
        let hash = self.hash(tenant, id, at).await?;
        let seal = tenant.seal(place(id, "seal"), Subject::Tenant, &hash).await?;
        Ok(Self { seal, ..self })
    }

    /// The export without what somebody put there that does not open, to be ended.
    async fn readable(self, tenant: &Tenant, id: Id, at: Timestamp) -> Result<Self, StoreError> {
        let ip = match &self.ip {
            Some(ip) => opened(tenant.open(place(id, "ip"), ip).await)?.and(self.ip.clone()),
            None => None,
        };
        Self { ip, ..self }.sealed(tenant, id, at).await
    }

    /// Whether the export is as it was sealed. Another one's seal does not fit,
    /// nor one of this one that is older than the rest of it.
    async fn is_sound(tenant: &Tenant, stored: &Stored<Self>) -> Result<bool, StoreError> {
        let hash = stored.entity.hash(tenant, stored.id, stored.created_at).await?;
        let sealed = opened(tenant.open(place(stored.id, "seal"), &stored.entity.seal).await)?;
        Ok(sealed.is_some_and(|sealed| *sealed.expose() == hash))
    }

    async fn hash(&self, tenant: &Tenant, id: Id, at: Timestamp) -> Result<Hash, StoreError> {
        let contents = Contents {
            requested_at: at.as_millisecond(),
            format: self.format,
            state: self.state,
            // One whose address does not open has a seal that does not fit.
            by_address: self.ip.is_some(),
            filter: self.filter(tenant, id).await?,
            requested_by: self.requested_by,
            role: &self.role,
            snapshot: self.snapshot.as_ref(),
            files: &self.files,
            ended_at: self.ended_at,
        };
        let bytes = serde_json::to_vec(&contents).map_err(StoreError::defect)?;
        Ok(Hash::of(&[&bytes]))
    }

    /// The filter as the client sent it; without the source address if somebody
    /// put another in its place, which does not open.
    async fn filter(&self, tenant: &Tenant, id: Id) -> Result<FilterInput, StoreError> {
        let ip = match &self.ip {
            Some(ip) => opened(tenant.open(place(id, "ip"), ip).await)?,
            None => None,
        };
        let ip = ip.map(|ip| ip.expose().parse()).transpose().map_err(StoreError::defect)?;
        let Selection { actor, action, resource_type, resource_id, from, to } = self.filter.clone();
        Ok(FilterInput { actor, action, resource_type, resource_id, from, to, ip })
    }

    /// Whether work is left.
    fn is_unfinished(&self) -> bool {
        State::UNFINISHED.contains(&self.state)
    }

    /// Finished volumes.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Entries in all volumes so far.
    fn entries(&self) -> u64 {
        self.files.iter().map(|file| file.entries).sum()
    }

    /// The number from which the next volume looks.
    fn next(&self) -> u64 {
        self.files.last().map_or(0, |file| file.upto)
    }

    /// Until when a finished export can be fetched.
    fn available_until(&self) -> Option<Timestamp> {
        self.ended_at.filter(|_| self.state == State::Done).map(|ended_at| ended_at + KEPT)
    }

    /// Name of the file of a volume, numbered from 1.
    fn file_name(&self, tenant: &Tenant, made_at: Timestamp, volume: usize) -> String {
        let day = made_at.strftime("%Y-%m-%d");
        format!("{}-audit-{day}-{volume}.{}", tenant.id(), self.format.extension())
    }
}

/// Refuses more unfinished exports than [`MOST_UNFINISHED`].
///
/// # Errors
/// 409 when there are that many; 503 when the database does not answer.
pub async fn room_for_another(tenant: &Tenant) -> Result<(), Problem> {
    if unfinished(tenant).await?.len() < MOST_UNFINISHED {
        return Ok(());
    }
    Err(Problem::Conflict("Ten exports are being made. Wait until one is done.".into()))
}

/// The tenant's unfinished exports, at most some hundred.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn unfinished(tenant: &Tenant) -> Result<Vec<Stored<Export>>, StoreError> {
    let mut found = Vec::new();
    for state in State::UNFINISHED {
        let of_state = keystone::tenant::Filter::all().eq("state", state.name());
        let page = keystone::tenant::Page { after: None, limit: 100 };
        found.extend(tenant.list::<Export>(of_state, page).await?);
    }
    Ok(found)
}
