//! A table as spreadsheets write it: RFC 4180, or with semicolons and decimal
//! commas where the spreadsheet speaks a language that does.

use std::collections::BTreeSet;

use keystone::http::read_value;
use keystone::{FieldError, Problem};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Name of a column, and whether a table must have it.
pub type Column = (&'static str, bool);

/// Most rows of a table: what one transaction records well within a request's
/// time.
pub const ROWS: usize = 1_000;
/// Most unknown columns of a header that are named one by one.
const UNKNOWN: usize = 50;
/// The column whose cells are amounts.
const AMOUNT: &str = "quantity";

/// What is wrong with a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct RowError {
    /// Number of the row as a spreadsheet shows it: the header is row 1.
    pub row: usize,
    /// Name of the column; empty for the row as a whole.
    pub column: String,
    /// What it must be.
    pub message: String,
}

impl RowError {
    /// A cell and what is wrong with it.
    pub fn new(row: usize, column: &str, message: impl Into<String>) -> Self {
        Self { row, column: column.to_owned(), message: message.into() }
    }
}

/// The rows that can be read, with their numbers, and what is wrong with the
/// others.
#[derive(Debug)]
pub struct Table<R> {
    /// Rows that can be read.
    pub rows: Vec<(usize, R)>,
    /// What is wrong.
    pub errors: Vec<RowError>,
    /// All rows under the header.
    pub count: usize,
}

/// All that is wrong, as the answer to a request that is refused.
pub fn every(mut errors: Vec<RowError>) -> Problem {
    errors.sort();
    let named =
        |RowError { row, column, message }| FieldError::new(format!("/{row}/{column}"), message);
    Problem::Invalid(errors.into_iter().map(named).collect())
}

impl<R: DeserializeOwned + JsonSchema + 'static> Table<R> {
    /// Reads a table with these columns.
    ///
    /// # Errors
    /// 400 when it is no table; 422 when its header is wrong or it has too many
    /// rows.
    pub fn read(text: &str, columns: &[Column]) -> Result<Self, Problem> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let separator = separator(text);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(separator)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| malformed(&error))?.clone();
        let names = self::header(&header, columns)?;
        let mut table = Self { rows: Vec::new(), errors: Vec::new(), count: 0 };
        for (index, record) in reader.records().enumerate() {
            let record = record.map_err(|error| malformed(&error))?;
            let row = index + 2;
            // What a spreadsheet leaves of a row that was emptied.
            if record.iter().all(str::is_empty) {
                continue;
            }
            table.count += 1;
            if table.count > ROWS {
                let message = format!("Must have at most {ROWS} rows: send several tables.");
                return Err(every(vec![RowError::new(row, "", message)]));
            }
            table.push(row, &record, &names, separator == b';');
        }
        if table.count == 0 {
            return Err(every(vec![RowError::new(1, "", "Must have a row under the header.")]));
        }
        Ok(table)
    }

    fn push(&mut self, row: usize, record: &csv::StringRecord, names: &[&str], commas: bool) {
        if record.len() > names.len() {
            self.errors.push(RowError::new(row, "", "Has more cells than the header."));
            return;
        }
        let mut cells = Map::new();
        let before = self.errors.len();
        for (name, cell) in names.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
            let cell = if *name == AMOUNT { amount(cell, commas) } else { Ok(cell.to_owned()) };
            match cell {
                Ok(cell) => drop(cells.insert((*name).to_owned(), Value::String(cell))),
                Err(message) => {
                    self.errors.push(RowError::new(row, name, message));
                    // So that it is not missed as well.
                    cells.insert((*name).to_owned(), Value::String("0".into()));
                }
            }
        }
        match read_value::<R>(Value::Object(cells)) {
            Ok(read) if self.errors.len() == before => self.rows.push((row, read)),
            Ok(_) => {}
            Err(Problem::Invalid(errors)) => self.errors.extend(errors.into_iter().map(|error| {
                RowError::new(row, error.field.trim_start_matches('/'), error.message)
            })),
            Err(_) => self.errors.push(RowError::new(row, "", "Cannot be accepted.")),
        }
    }
}

/// What stands between the cells: a semicolon if the header has more of them
/// than commas.
fn separator(text: &str) -> u8 {
    // Blank lines before the header are none.
    let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let count = |separator: char| header.matches(separator).count();
    if count(';') > count(',') { b';' } else { b',' }
}

/// The names of the columns of a header, each a known one. Whatever else is wrong,
/// every column that is missing or stands there twice is named.
fn header(header: &csv::StringRecord, columns: &[Column]) -> Result<Vec<&'static str>, Problem> {
    let (mut errors, mut unknown) = (Vec::new(), Vec::new());
    let mut twice = BTreeSet::new();
    let mut names: Vec<&'static str> = Vec::with_capacity(columns.len());
    for (index, name) in header.iter().enumerate() {
        let known = columns.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let place = format!("column {}", index + 1);
        match known {
            Some((known, _)) if names.contains(known) => drop(twice.insert(*known)),
            Some((known, _)) => names.push(known),
            None => unknown.push(place),
        }
    }
    errors.extend(
        twice.into_iter().map(|name| RowError::new(1, name, "Stands in the header twice.")),
    );
    if unknown.len() > UNKNOWN {
        let message = format!("Has {} columns that there are not.", unknown.len());
        errors.push(RowError::new(1, "", message));
        unknown.truncate(UNKNOWN);
    }
    errors.extend(unknown.iter().map(|place| RowError::new(1, place, "There is no such column.")));
    for (name, needed) in columns {
        if *needed && !names.contains(name) {
            errors.push(RowError::new(1, name, "This column is required."));
        }
    }
    if errors.is_empty() { Ok(names) } else { Err(every(errors)) }
}

/// An amount with a point. Of a table whose decimal point is a comma, `1.250`
/// may mean a thousand times as much as `1,250`, so it is refused.
fn amount(cell: &str, commas: bool) -> Result<String, &'static str> {
    if !commas {
        return Ok(cell.to_owned());
    }
    let grouped = cell.rsplit_once('.').is_some_and(|(_, rest)| rest.len() == 3);
    if grouped || cell.contains('.') && cell.contains(',') {
        return Err("Write it without a sign between thousands, such as 1250 or 1,25.");
    }
    Ok(cell.replacen(',', ".", 1))
}

fn malformed(error: &csv::Error) -> Problem {
    let line = error.position().map_or(1, csv::Position::line);
    Problem::Malformed(format!("The body is no table (line {line})."))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[schemars(extend("format" = "lot"))]
        lot: String,
        #[schemars(extend("format" = "decimal"))]
        quantity: String,
        #[schemars(extend("format" = "country"))]
        origin: Option<String>,
    }

    const COLUMNS: &[Column] = &[("lot", true), ("quantity", true), ("origin", false)];

    fn read(text: &str) -> Result<Table<Sample>, Problem> {
        Table::read(text, COLUMNS)
    }

    fn rows(text: &str) -> Vec<(usize, String, String)> {
        let table = read(text).unwrap();
        assert_eq!(table.errors, vec![], "{text:?}");
        table.rows.into_iter().map(|(row, sample)| (row, sample.lot, sample.quantity)).collect()
    }

    #[test]
    fn a_table_is_read_as_spreadsheets_write_it() {
        let expected = vec![(2, "A-1".to_owned(), "1.5".to_owned())];
        for text in [
            "lot,quantity\nA-1,1.5",
            "lot,quantity\r\nA-1,1.5\r\n",
            "\u{feff}lot;quantity\r\nA-1;1,5\r\n",
            "Quantity,LOT,origin\n1.5,A-1,IE\n",
            "lot,quantity\n\" A-1\n\",\"1.5\"\n",
            "lot;quantity;origin\nA-1;1.5;\n;;\n",
            "\n\nlot;quantity\nA-1;1,5\n",
        ] {
            assert_eq!(rows(text), expected, "{text:?}");
        }
        // A row that was emptied keeps the numbers of the others.
        let found = rows("lot,quantity\n,\nA-1,1.5\n");
        assert_eq!(found[0].0, 3);
    }

    #[test]
    fn every_wrong_cell_is_named() {
        let table =
            read("lot;quantity;origin\nA 1;-1;XX\nA-2;1.250;IE\nA-3\nA-4;1;IE;x\nA-5;2;IE\n")
                .unwrap();
        let mut wrong: Vec<(usize, &str)> =
            table.errors.iter().map(|error| (error.row, error.column.as_str())).collect();
        wrong.sort_unstable();
        let expected =
            [(2, "lot"), (2, "origin"), (2, "quantity"), (3, "quantity"), (4, "quantity"), (5, "")];
        assert_eq!(wrong, expected);
        assert_eq!((table.rows.len(), table.count), (1, 5));
        assert_eq!(table.rows[0].0, 6);
    }

    #[test]
    fn a_header_must_name_the_columns() {
        let fields = |text: &str| match read(text) {
            Err(Problem::Invalid(errors)) => {
                errors.into_iter().map(|error| error.field).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(fields("lot,colour,lot\n1,2,3"), ["/1/column 2", "/1/lot", "/1/quantity"]);
        assert_eq!(fields("lot,quantity\n"), ["/1/"]);
        let crowded = fields(&format!("lot,LOT,lot{}\n", ",x".repeat(10_000)));
        assert_eq!(crowded.len(), 1 + UNKNOWN + 2);
        for field in ["/1/", "/1/lot", "/1/quantity"] {
            assert_eq!(crowded.iter().filter(|one| *one == field).count(), 1, "{field}");
        }
        let long = format!("lot,quantity\n{}", "A,1\n".repeat(ROWS + 1));
        assert_eq!(fields(&long), [format!("/{}/", ROWS + 2)]);
    }

    #[test]
    fn an_amount_means_one_thing() {
        assert_eq!(amount("1,25", true), Ok("1.25".into()));
        assert_eq!(amount("1250", true), Ok("1250".into()));
        assert_eq!(amount("1.25", true), Ok("1.25".into()));
        assert_eq!(amount("1.250", false), Ok("1.250".into()));
        for unclear in ["1.250", "1.250,5", "1,250.5"] {
            assert!(amount(unclear, true).is_err(), "{unclear}");
        }
    }
}
