//! A trace as a table (RFC 4180), for spreadsheets.

use std::borrow::Cow;

use keystone::{Problem, cell};
use rust_decimal::Decimal;

use super::{AmountView, Graph, Node, PartnerView};

/// The columns. `record` says what a row is: `lot`; a total of a lot such as
/// `total_received`; `link`, that `lot` went into `other_lot`; `received` or
/// `dispatched`, with the partner and in `other_lot` the unit that it was in.
const COLUMNS: [&str; 9] =
    ["record", "depth", "lot", "other_lot", "partner", "quantity", "unit", "at", "event_id"];

/// The table, with a byte order mark, without which spreadsheets do not take it
/// for UTF-8.
///
/// # Errors
/// [`Problem::Internal`] never, since memory takes everything.
pub fn csv(graph: &Graph) -> Result<String, Problem> {
    let mut table = ::csv::WriterBuilder::new()
        .terminator(::csv::Terminator::CRLF)
        .from_writer("\u{feff}".as_bytes().to_vec());
    table.write_record(COLUMNS).map_err(defect)?;
    let mut row = |cells: [&str; 9]| table.write_record(cells.map(|c| harmless(c).into_owned()));
    for node in &graph.nodes {
        let depth = node.depth.to_string();
        row(["lot", &depth, &node.lot, "", "", "", "", "", ""]).map_err(defect)?;
        for (record, total) in totals(node) {
            let value = total.value.to_string();
            row([record, &depth, &node.lot, "", "", &value, total.unit, "", ""]).map_err(defect)?;
        }
        for partner in &node.partners {
            let PartnerView { partner, role, quantity, unit, at, event_id, within } = partner;
            let (at, event) = (at.to_string(), event_id.to_string());
            let partner = partner.as_deref().unwrap_or_default();
            let within = within.as_deref().unwrap_or_default();
            row([role, &depth, &node.lot, within, partner, &text(*quantity), unit, &at, &event])
                .map_err(defect)?;
        }
    }
    for edge in &graph.edges {
        let unit = edge.unit.as_deref().unwrap_or_default();
        let (quantity, event) = (text(edge.quantity), edge.event_id.to_string());
        row(["link", "", &edge.from, &edge.to, "", &quantity, unit, "", &event]).map_err(defect)?;
    }
    String::from_utf8(table.into_inner().map_err(defect)?).map_err(defect)
}

/// The sums of a lot with their names.
fn totals(node: &Node) -> impl Iterator<Item = (&'static str, &AmountView)> {
    [
        ("total_received", &node.received),
        ("total_produced", &node.produced),
        ("total_consumed", &node.consumed),
        ("total_dispatched", &node.dispatched),
        ("total_wasted", &node.wasted),
        ("total_adjusted", &node.adjusted),
    ]
    .into_iter()
    .flat_map(|(name, sums)| sums.iter().map(move |sum| (name, sum)))
}

fn text(quantity: Option<Decimal>) -> String {
    quantity.map(|quantity| quantity.to_string()).unwrap_or_default()
}

/// As [`cell::harmless`]; a number may be negative.
fn harmless(cell: &str) -> Cow<'_, str> {
    if cell.parse::<Decimal>().is_ok() { Cow::Borrowed(cell) } else { cell::harmless(cell) }
}

fn defect(error: impl std::fmt::Display) -> Problem {
    tracing::error!(cause = %error, "a table cannot be written");
    Problem::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, expected) in [
            ("=1+1", "'=1+1"),
            ("+cmd", "'+cmd"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("-0.5", "-0.5"),
            ("-0.5)", "'-0.5)"),
            ("01/04012345666663/10/a", "01/04012345666663/10/a"),
        ] {
            assert_eq!(harmless(cell), expected);
        }
    }

    #[test]
    fn what_holds_a_separator_is_quoted() {
        let graph = super::super::tests::graph(&[("urn:x:a,\"b\"", "urn:x:c")]);
        let table = csv(&graph).unwrap();
        let mut reader =
            ::csv::Reader::from_reader(table.trim_start_matches('\u{feff}').as_bytes());
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), COLUMNS);
        let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let link = rows.iter().find(|row| &row[0] == "link").unwrap();
        assert_eq!(
            (&link[2], &link[3], &link[5], &link[6]),
            ("urn:x:a,\"b\"", "urn:x:c", "2.5", "KGM")
        );
        assert!(table.ends_with("\r\n"));
    }
}
