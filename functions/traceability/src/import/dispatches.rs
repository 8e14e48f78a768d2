//! A table of dispatches: each row is one.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keystone::Problem;
use keystone::http::Call;
use keystone::tenant::{Id, WriteTx};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;

use super::table::Table;
use super::{Column, RowError, Sheet, lookup};
use crate::batch::{BatchState, Quantity, Unit};
use crate::customer::Customer;
use crate::entry::{Line, made, shortage};
use crate::epcis::epc::{lot_key, lot_uri};
use crate::goods::shipment;
use crate::moment;
use crate::movement::Stocks;

/// The table.
pub struct Dispatches;

/// A row: a dispatch of one lot.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Whom it went to.
    customer_id: Id,
    /// When it left.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// GLN of the site that it left.
    #[schemars(extend("format" = "gln"))]
    site_gln: Option<String>,
    /// GTIN of the product.
    #[schemars(extend("format" = "gtin"))]
    gtin: String,
    /// Lot number.
    #[schemars(extend("format" = "lot"))]
    lot_number: String,
    /// How much.
    #[schemars(with = "String", extend("format" = "decimal"))]
    quantity: Decimal,
    /// Unit.
    unit: Unit,
}

impl Sheet for Dispatches {
    type Row = Row;
    type Found = (Row, Line);
    const COLUMNS: &'static [Column] = &[
        ("customer_id", true),
        ("at", true),
        ("site_gln", false),
        ("gtin", true),
        ("lot_number", true),
        ("quantity", true),
        ("unit", true),
    ];
    const ACTION: &'static str = "import.dispatches";
    const NAME: &'static str = "DispatchTable";

    async fn find(
        tx: &mut WriteTx<'_>,
        call: &Call,
        table: &mut Table<Row>,
    ) -> Result<Vec<Self::Found>, Problem> {
        let rows = std::mem::take(&mut table.rows);
        let products = lookup::products(tx, rows.iter().map(|(_, row)| row.gtin.as_str())).await?;
        let lots = lookup::lots(tx, rows.iter().map(|(_, row)| row.lot_number.as_str())).await?;
        let customers =
            lookup::there::<Customer>(tx, rows.iter().map(|(_, row)| row.customer_id)).await?;
        let sites =
            lookup::sites(tx, rows.iter().filter_map(|(_, row)| row.site_gln.as_deref())).await?;
        let mut found = Vec::with_capacity(rows.len());
        for (number, row) in rows {
            let mut wrong = |column: &str, message: &str| {
                table.errors.push(RowError::new(number, column, message));
            };
            if !customers.contains(&row.customer_id) {
                wrong("customer_id", "There is no such customer.");
            }
            if row.site_gln.as_ref().is_some_and(|gln| !sites.contains(gln)) {
                wrong("site_gln", "There is no such site.");
            }
            if let Some(message) = moment::wrong(row.at, call.now()) {
                wrong("at", message);
            }
            if row.quantity <= Decimal::ZERO {
                wrong("quantity", "Must be more than 0.");
            }
            let Some((product, gtin)) = products.get(&lookup::gtin14(&row.gtin)) else {
                wrong("gtin", "There is no such product.");
                continue;
            };
            let Some((batch, lot)) = lots.get(&(*product, row.lot_number.clone())) else {
                wrong("lot_number", "There is no such batch of this product.");
                continue;
            };
            if lot.state != BatchState::Available {
                wrong("lot_number", "This batch may not be used now.");
            }
            let line = Line {
                batch: *batch,
                key: lot_key(gtin, &row.lot_number),
                uri: lot_uri(gtin, &row.lot_number),
                quantity: Quantity { value: row.quantity, unit: row.unit },
            };
            found.push((number, row, line));
        }
        let keys: BTreeSet<String> = found.iter().map(|(_, _, line)| line.key.clone()).collect();
        let mut stocks = Stocks::read(tx, &keys).await?;
        for (number, row, line) in &found {
            let there = stocks.take(&line.sent(row.customer_id, row.at));
            if let Some((member, message)) = shortage(&there, &line.quantity) {
                let column = if member == "unit" { "unit" } else { "quantity" };
                table.errors.push(RowError::new(*number, column, message));
            }
        }
        Ok(found.into_iter().map(|(_, row, line)| (row, line)).collect())
    }

    async fn record(
        tx: &mut WriteTx<'_>,
        call: &Call,
        rows: Vec<Self::Found>,
    ) -> Result<(), Problem> {
        let (mut events, mut moved) = (Vec::new(), Vec::new());
        for (row, line) in rows {
            let id = call.new_id()?;
            let members = shipment(row.customer_id, std::slice::from_ref(&line));
            let (event, lines) = made(call, id, row.at, row.site_gln.as_deref(), members)?;
            moved.extend(lines);
            events.push((id, event));
        }
        tx.insert_many(events).await?;
        Ok(tx.insert_many(moved).await?)
    }
}
