//! An export as it is shown.

use jiff::{SignedDuration, Timestamp};
use keystone::Problem;
use keystone::erasure::any_since;
use keystone::http::Call;
use keystone::tenant::{Id, Stored, Tenant};
use keystone_report::{LINK_LIFE, Storage};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Export, Format, Progress, State};
use crate::filter::FilterInput;

/// What is said of an export that was withdrawn.
const WITHDRAWN: &str =
    "A person's data was erased after this export was asked for. Ask for a new one.";
/// What is said of an export that contradicts its checkpoint.
const CONTRADICTED: &str = "The stored entries are not those that the signed checkpoint covers, \
                            so nothing of it is handed out. We were alarmed and look into it.";
/// What is said of an export whose own record was changed.
const CHANGED: &str = "What is stored of this export is not what was recorded of it, so nothing \
                       of it is handed out. Ask for a new one, and tell us.";

/// An export.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExportView {
    /// Id.
    #[schemars(with = "String", extend("format" = "uuid"))]
    id: Id,
    /// The form.
    format: Format,
    /// Which entries were asked for.
    filter: FilterInput,
    /// Where it stands.
    state: State,
    /// How much of the trail was looked at.
    #[schemars(range(max = 100))]
    percent: u8,
    /// Entries in the trail that it is over; absent until a run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    tree_size: Option<u64>,
    /// Entries in the finished volumes.
    entries: u64,
    /// Id of the user who asked for it.
    #[schemars(with = "String", extend("format" = "uuid"))]
    requested_by: Id,
    /// When it was asked for.
    #[schemars(with = "String", extend("format" = "date-time"))]
    requested_at: Timestamp,
    /// When it was done, given up or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    ended_at: Option<Timestamp>,
    /// Until when it can be fetched; absent until it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    available_until: Option<Timestamp>,
    /// Why nothing can be fetched, where it was withdrawn or refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
    /// Its volumes, in the order of the trail.
    files: Vec<FileView>,
}

/// A volume of an export.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FileView {
    /// Name of the file.
    name: String,
    /// Entries in it.
    entries: u64,
    /// Length in bytes.
    size: u64,
    /// SHA-256 of the whole file, hex; the audit trail holds it too.
    sha256: String,
    /// Where to fetch it; only in the answer about a single export that is
    /// done.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// When `url` stops working.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    url_expires_at: Option<Timestamp>,
}

impl ExportView {
    /// The view of an export, without links.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn new(tenant: &Tenant, stored: &Stored<Export>) -> Result<Self, Problem> {
        let export = &stored.entity;
        let sound = Export::is_sound(tenant, stored).await?;
        if !sound {
            tracing::error!(tenant = %tenant.id(), export = %stored.id, "the record of an export was changed");
        }
        let made_at = export.ended_at.unwrap_or(stored.updated_at);
        let files = export.files.iter().enumerate().map(|(index, file)| FileView {
            name: export.file_name(tenant, made_at, index + 1),
            entries: file.entries,
            size: file.size,
            sha256: file.sha256.to_string(),
            url: None,
            url_expires_at: None,
        });
        // Its files still show whoever was erased since.
        let done = sound && export.state == State::Done;
        let withdrawn = done && any_since(tenant, stored.created_at).await?;
        let state = match export.state {
            _ if !sound => State::Contradicted,
            _ if withdrawn => State::Withdrawn,
            state => state,
        };
        let percent = match state {
            State::Queued => 0,
            State::Done | State::Withdrawn => 100,
            State::Running | State::Failed | State::Contradicted => {
                tenant.see_work::<Progress>(stored.id).await?.map_or(0, |seen| seen.work.percent)
            }
        };
        Ok(Self {
            id: stored.id,
            format: export.format,
            filter: export.filter(tenant, stored.id).await?,
            state,
            percent,
            tree_size: export.snapshot.as_ref().map(|snapshot| snapshot.size),
            entries: export.entries(),
            requested_by: export.requested_by,
            requested_at: stored.created_at,
            ended_at: export.ended_at,
            available_until: export.available_until().filter(|_| state == State::Done),
            note: match state {
                _ if !sound => Some(CHANGED),
                State::Contradicted => Some(CONTRADICTED),
                State::Withdrawn => Some(WITHDRAWN),
                _ => None,
            },
            files: files.collect(),
        })
    }

    /// The view with a link for each file, if there is something to fetch.
    ///
    /// # Errors
    /// As [`ExportView::new`].
    pub async fn with_links(call: &Call, stored: &Stored<Export>) -> Result<Self, Problem> {
        let mut view = Self::new(call.tenant(), stored).await?;
        if view.available_until.is_none_or(|until| until <= call.now()) {
            return Ok(view);
        }
        let storage = Storage::new(call.platform()).await?;
        let life = SignedDuration::try_from(LINK_LIFE).map_err(|_| Problem::Internal)?;
        for (shown, file) in view.files.iter_mut().zip(&stored.entity.files) {
            shown.url = Some(storage.link(call.tenant().id(), &file.key, &shown.name).await?);
            shown.url_expires_at = Some(call.now() + life);
        }
        Ok(view)
    }

    /// Whether links are handed out with it.
    pub fn has_links(&self) -> bool {
        self.files.iter().any(|file| file.url.is_some())
    }
}
