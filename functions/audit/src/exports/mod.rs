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
use keystone::audit::checkpoint::Checkpoint;
use keystone::audit::merkle::Hash;
use keystone::audit::note::VerifierKey;
use keystone::crypto::{Place, Sealed, Subject, at_rest_option};
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

impl Snapshot {
    /// What of it is not what its checkpoint says, which one of `keys` must have
    /// signed: between two runs it lies in the database like anything else.
    fn fault(&self, keys: &[VerifierKey]) -> Option<String> {
        let signed = match Checkpoint::open(&self.checkpoint, keys) {
            Ok(signed) => signed,
            Err(error) => return Some(error.to_string()),
        };
        let known = |key: &String| keys.iter().any(|known| known.to_string() == *key);
        let same = (signed.size, signed.root) == (self.size, self.root);
        (!same || !self.keys.iter().all(known))
            .then(|| "what was noted of its checkpoint is not what the checkpoint says".into())
    }
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

fn ip_place(id: Id) -> Place<'static> {
    Place { collection: schema::AUDIT_EXPORTS.name, document: id, field: "ip" }
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
    ) -> Result<Self, StoreError> {
        let ip = match filter.ip {
            Some(ip) => {
                let ip = ip.to_canonical().to_string();
                Some(tenant.seal(ip_place(id), Subject::Tenant, &ip).await?)
            }
            None => None,
        };
        let filter = filter.clone();
        Ok(Self {
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
        })
    }

    /// The filter as the client sent it.
    async fn filter(&self, tenant: &Tenant, id: Id) -> Result<FilterInput, StoreError> {
        let ip = tenant.open_kept(ip_place(id), self.ip.as_ref()).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint of 7 entries, and the key that signed it.
    const NOTE: &str = "keystone.example/audit/acme\n7\n\
        kTlgHMHKirKnoMLBNMBIRfKxulSag9bIRc/NpDnMWF0=\n\n\
        \u{2014} keystone.example/audit/acme 6SErnPuhwg9XqG/45P+Kaxj3HygPLkpws/f16awaDuzNDo9TE6T0\
        zJEpZ25LZr10TFCM9W9fbUsVqGIjY5kNZt0uRA8=\n";
    const KEY: &str =
        "keystone.example/audit/acme+e9212b9c+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";
    const ROOT: &str = "9139601cc1ca8ab2a7a0c2c134c04845f2b1ba549a83d6c845cfcda439cc585d";

    #[test]
    fn what_a_run_noted_is_held_against_the_signature() {
        let keys: [VerifierKey; 1] = [KEY.parse().unwrap()];
        let root: Hash = ROOT.parse().unwrap();
        let noted = |size, root, checkpoint: &str, key: &str| Snapshot {
            size,
            root,
            checkpoint: checkpoint.into(),
            keys: vec![key.into()],
        };
        assert_eq!(noted(7, root, NOTE, KEY).fault(&keys), None);
        let other_key = KEY.replacen("acme", "globex", 1);
        for wrong in [
            noted(6, root, NOTE, KEY),
            noted(7, Hash::of(&[]), NOTE, KEY),
            noted(8, root, &NOTE.replacen("\n7\n", "\n8\n", 1), KEY),
            noted(7, root, NOTE, &other_key),
        ] {
            assert!(wrong.fault(&keys).is_some(), "{wrong:?}");
        }
        assert!(noted(7, root, NOTE, KEY).fault(&[]).is_some());
    }
}
