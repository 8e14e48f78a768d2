//! A volume while it is written: a bounded number of entries and bytes, so
//! that memory is bounded however long the trail is.

use keystone::Problem;
use keystone::tenant::AuditRecord;

use super::csv::Table;
use super::evidence::Evidence;
use super::rows::row;
use super::{Context, pdf};
use crate::report::Row;

/// A volume ends with the batch in which its machine-readable part reaches
/// this many bytes.
const ENOUGH_BYTES: usize = 32 << 20;

/// A volume in its format.
pub enum Volume {
    /// Rows of the report's table, and the bundle that is attached.
    Pdf(Vec<Row>, Evidence),
    /// The bundle.
    Jsonl(Evidence),
    /// The table.
    Csv(Box<Table>),
}

impl Volume {
    /// Adds entries in the order of the trail.
    ///
    /// # Errors
    /// [`Problem`] when a stored record was tampered with or the database does
    /// not answer.
    pub async fn add(
        &mut self,
        context: &Context<'_, '_>,
        records: &[AuditRecord],
    ) -> Result<(), Problem> {
        match self {
            Self::Pdf(rows, evidence) => {
                for record in records {
                    rows.push(row(record)?);
                }
                Ok(evidence.add(context, records).await?)
            }
            Self::Jsonl(evidence) => Ok(evidence.add(context, records).await?),
            Self::Csv(table) => records.iter().try_for_each(|record| table.push(record)),
        }
    }

    /// Whether it is to be finished now.
    pub fn is_full(&mut self) -> bool {
        let bytes = match self {
            Self::Pdf(_, evidence) | Self::Jsonl(evidence) => evidence.len(),
            Self::Csv(table) => table.len(),
        };
        bytes >= ENOUGH_BYTES
    }

    /// The file.
    ///
    /// # Errors
    /// As [`Volume::add`]; for a PDF also when it cannot be rendered or signed.
    pub async fn finish(self, context: &Context<'_, '_>) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Pdf(rows, evidence) => {
                pdf::file(context, &rows, evidence.finish(context).await?).await
            }
            Self::Jsonl(evidence) => Ok(evidence.finish(context).await?),
            Self::Csv(table) => Ok(table.finish()?),
        }
    }
}
