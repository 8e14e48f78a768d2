//! Tables of batches and of dispatches, taken whole or not at all. A dry run
//! judges a table by the same rules and changes nothing.

use keystone::Problem;
use keystone::audit::entry::Resource;
use keystone::http::{Call, Reply};
use keystone::tenant::{Id, WriteTx};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

mod batches;
mod dispatches;
mod lookup;
mod table;

pub use batches::Batches;
pub use dispatches::Dispatches;
pub use table::{Column, RowError};
use table::{Table, every};

/// A kind of table.
pub trait Sheet {
    /// A row of it.
    type Row: DeserializeOwned + JsonSchema + 'static;
    /// A row whose every reference was found.
    type Found;
    /// Its columns.
    const COLUMNS: &'static [Column];
    /// The audited action.
    const ACTION: &'static str;
    /// Name of its schema.
    const NAME: &'static str;

    /// Finds what the rows refer to, and notes what is wrong with them.
    fn find(
        tx: &mut WriteTx<'_>,
        call: &Call,
        table: &mut Table<Self::Row>,
    ) -> impl Future<Output = Result<Vec<Self::Found>, Problem>>;

    /// Records the rows.
    fn record(
        tx: &mut WriteTx<'_>,
        call: &Call,
        rows: Vec<Self::Found>,
    ) -> impl Future<Output = Result<(), Problem>>;
}

/// The body of an import.
pub struct Body<S>(std::marker::PhantomData<S>);

impl<S: Sheet> JsonSchema for Body<S> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        S::NAME.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let columns: Vec<String> = S::COLUMNS
            .iter()
            .map(
                |(name, needed)| {
                    if *needed { (*name).into() } else { format!("{name} (optional)") }
                },
            )
            .collect();
        json_schema!({
            "type": "string",
            "contentMediaType": "text/csv",
            "description": format!(
                "RFC 4180, UTF-8, at most {} rows under a header that names these columns in any \
                 order: {}. Where semicolons stand between the cells a comma is a decimal point.",
                table::ROWS,
                columns.join(", ")
            ),
        })
    }
}

/// Yes or no, as a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Flag {
    /// Yes.
    True,
    /// No.
    False,
}

/// How to import.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Whether the table is only judged; it is recorded unless given.
    dry_run: Option<Flag>,
}

/// What became of a table.
#[derive(Serialize, JsonSchema)]
pub struct Imported {
    /// Id of the import in the audit trail; absent for a dry run.
    id: Option<Id>,
    /// Rows under the header.
    rows: usize,
    /// Everything that is wrong, in the order of the rows; only a dry run has
    /// anything here.
    errors: Vec<RowError>,
}

/// Answers an import of the request's table.
///
/// # Errors
/// 400 when it is no table; 422 naming every wrong cell as `/<row>/<column>`,
/// the header being row 1.
pub async fn import<S: Sheet>(call: &Call) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let text = call.request().text()?;
    if query.dry_run == Some(Flag::True) {
        dry_run::<S>(call, text).await
    } else {
        run::<S>(call, text).await
    }
}

async fn run<S: Sheet>(call: &Call, text: &str) -> Result<Reply, Problem> {
    let id = call.new_id()?;
    call.audited(S::ACTION, async |tx| {
        let mut table = Table::<S::Row>::read(text, S::COLUMNS)?;
        let found = S::find(tx, call, &mut table).await?;
        if !table.errors.is_empty() {
            return Err(every(table.errors));
        }
        S::record(tx, call, found).await?;
        tx.about(Resource { kind: "import".into(), id: id.to_string() });
        Reply::ok(&Imported { id: Some(id), rows: table.count, errors: Vec::new() })
    })
    .await
}

/// Judges a table in the transaction that a real run would have, and aborts it.
async fn dry_run<S: Sheet>(call: &Call, text: &str) -> Result<Reply, Problem> {
    let mut verdict = None;
    let by = call.attribution()?;
    let aborted: Result<(), Problem> = call
        .tenant()
        .audited(&by, S::ACTION, async |tx: &mut WriteTx<'_>| {
            let mut table = Table::<S::Row>::read(text, S::COLUMNS)?;
            S::find(tx, call, &mut table).await?;
            table.errors.sort();
            verdict = Some(Imported { id: None, rows: table.count, errors: table.errors });
            Err(Problem::Conflict("A dry run changes nothing.".into()))
        })
        .await;
    match (verdict, aborted) {
        (Some(verdict), _) => Reply::ok(&verdict),
        (None, Err(problem)) => Err(problem),
        (None, Ok(())) => Err(Problem::Internal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_wrong_in_every_cell_fits_an_answer() {
        let names: Vec<&str> = Dispatches::COLUMNS.iter().map(|(name, _)| *name).collect();
        let row = vec!["x y"; names.len()].join(",");
        let text = format!("{}\n{}", names.join(","), format!("{row}\n").repeat(table::ROWS));
        let table = Table::<<Dispatches as Sheet>::Row>::read(&text, Dispatches::COLUMNS).unwrap();
        assert!(table.errors.len() >= table::ROWS * names.len());
        let answer = Imported { id: None, rows: table.count, errors: table.errors };
        assert!(Reply::ok(&answer).unwrap().fits());
    }
}
