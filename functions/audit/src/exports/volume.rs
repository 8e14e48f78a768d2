//! A volume while it is written: a bounded number of entries and bytes, so
//! that memory is bounded however long the trail is.

use keystone::Problem;
use keystone::tenant::{AuditRecord, StoreError};

use super::csv::Table;
use super::evidence::Evidence;
use super::rows::row;
use super::{Context, Format, pdf};
use crate::report::Row;

/// A volume ends with the entry with which its machine-readable part reaches
/// this many bytes.
const ENOUGH_BYTES: usize = 32 << 20;

/// What a volume shows, and the evidence for it. A table has evidence too: it
/// is not part of the file, but nothing is handed out without it.
pub struct Volume {
    evidence: Evidence,
    content: Content,
}

/// What a volume shows, in its format.
pub enum Content {
    /// Rows of the report's table; the bundle is attached.
    Pdf(Vec<Row>),
    /// Nothing but the bundle.
    Jsonl,
    /// The table.
    Csv(Box<Table>),
}

impl Volume {
    /// An empty volume whose first entry to look at is `start`.
    ///
    /// # Errors
    /// As [`Evidence::new`].
    pub async fn new(context: &Context<'_, '_>, start: u64) -> Result<Self, StoreError> {
        let shown = match context.export.entity.format {
            Format::Pdf => Content::Pdf(Vec::new()),
            Format::Jsonl => Content::Jsonl,
            Format::Csv => Content::Csv(Box::new(Table::new()?)),
        };
        Ok(Self { evidence: Evidence::new(context, start).await?, content: shown })
    }

    /// Adds the next entry of the trail.
    ///
    /// # Errors
    /// [`Problem`] when it is not the next, or its values are not those that it
    /// commits to.
    pub fn show(&mut self, record: &AuditRecord) -> Result<(), Problem> {
        match &mut self.content {
            Content::Pdf(rows) => rows.push(row(record)?),
            Content::Jsonl => {}
            Content::Csv(table) => table.push(record)?,
        }
        Ok(self.evidence.show(record)?)
    }

    /// Passes over the next entry of the trail, which does not fit.
    pub fn hide(&mut self, record: &AuditRecord) {
        self.evidence.hide(record);
    }

    /// Whether it is to be finished now.
    pub fn is_full(&mut self) -> bool {
        let table = match &self.content {
            Content::Csv(table) => table.len(),
            Content::Pdf(_) | Content::Jsonl => 0,
        };
        self.evidence.len().max(table) >= ENOUGH_BYTES
    }

    /// The evidence bundle, to be verified before anything is made of the rest.
    ///
    /// # Errors
    /// As [`Evidence::new`].
    pub async fn close(self, context: &Context<'_, '_>) -> Result<(Vec<u8>, Content), StoreError> {
        Ok((self.evidence.finish(context).await?, self.content))
    }
}

impl Content {
    /// The file, given the verified bundle.
    ///
    /// # Errors
    /// [`Problem`] when a PDF cannot be rendered or signed.
    pub async fn file(
        self,
        context: &Context<'_, '_>,
        bundle: Vec<u8>,
    ) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Pdf(rows) => pdf::file(context, &rows, bundle).await,
            Self::Jsonl => Ok(bundle),
            Self::Csv(table) => Ok(table.finish()?),
        }
    }
}
