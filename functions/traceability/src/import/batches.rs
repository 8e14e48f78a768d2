//! A table of batches.

use std::collections::BTreeSet;

use jiff::civil::Date;
use keystone::Problem;
use keystone::http::Call;
use keystone::tenant::{Id, WriteTx};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;

use super::table::Table;
use super::{Column, RowError, Sheet, lookup};
use crate::batch::{Batch, BatchState, Quantity, Unit, arrival};
use crate::entry::{Line, made};
use crate::epcis::epc::{lot_key, lot_uri};
use crate::supplier::Supplier;

/// The table.
pub struct Batches;

/// A row: a batch as `POST /v1/batches` takes it, its product by GTIN.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// GTIN of the product.
    #[schemars(extend("format" = "gtin"))]
    gtin: String,
    /// Lot number.
    #[schemars(extend("format" = "lot"))]
    lot_number: String,
    /// How much was produced or received.
    #[schemars(with = "String", extend("format" = "decimal"))]
    quantity: Decimal,
    /// Unit.
    unit: Unit,
    /// Best before, or use by.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    best_before: Option<Date>,
    /// Country of origin.
    #[schemars(extend("format" = "country"))]
    origin: Option<String>,
    /// Whom it was received from.
    supplier_id: Option<Id>,
}

impl Sheet for Batches {
    type Row = Row;
    type Found = (Batch, String);
    const COLUMNS: &'static [Column] = &[
        ("gtin", true),
        ("lot_number", true),
        ("quantity", true),
        ("unit", true),
        ("best_before", false),
        ("origin", false),
        ("supplier_id", false),
    ];
    const ACTION: &'static str = "import.batches";
    const NAME: &'static str = "BatchTable";

    async fn find(
        tx: &mut WriteTx<'_>,
        _: &Call,
        table: &mut Table<Row>,
    ) -> Result<Vec<Self::Found>, Problem> {
        let rows = std::mem::take(&mut table.rows);
        let products = lookup::products(tx, rows.iter().map(|(_, row)| row.gtin.as_str())).await?;
        let lots = lookup::lots(tx, rows.iter().map(|(_, row)| row.lot_number.as_str())).await?;
        let suppliers =
            lookup::there::<Supplier>(tx, rows.iter().filter_map(|(_, row)| row.supplier_id))
                .await?;
        let mut seen = BTreeSet::new();
        let mut found = Vec::with_capacity(rows.len());
        for (number, row) in rows {
            let mut wrong = |column: &str, message: &str| {
                table.errors.push(RowError::new(number, column, message));
            };
            if row.supplier_id.is_some_and(|id| !suppliers.contains(&id)) {
                wrong("supplier_id", "There is no such supplier.");
            }
            let Some((product, gtin)) = products.get(&lookup::gtin14(&row.gtin)) else {
                wrong("gtin", "There is no such product.");
                continue;
            };
            let key = (*product, row.lot_number.clone());
            if lots.contains_key(&key) {
                wrong("lot_number", "There is a batch of this product with this lot number.");
            } else if !seen.insert(key) {
                wrong("lot_number", "Stands in the table twice.");
            }
            if row.quantity <= Decimal::ZERO {
                wrong("quantity", "Must be more than 0.");
            }
            let batch = Batch {
                lot_number: row.lot_number,
                product_id: *product,
                quantity: Quantity { value: row.quantity, unit: row.unit },
                best_before: row.best_before,
                origin: row.origin,
                supplier_id: row.supplier_id,
                state: BatchState::Available,
            };
            found.push((batch, gtin.clone()));
        }
        Ok(found)
    }

    async fn record(
        tx: &mut WriteTx<'_>,
        call: &Call,
        rows: Vec<Self::Found>,
    ) -> Result<(), Problem> {
        let (mut batches, mut events, mut moved) = (Vec::new(), Vec::new(), Vec::new());
        for (batch, gtin) in rows {
            let (id, event_id) = (call.new_id()?, call.new_id()?);
            let line = Line {
                batch: id,
                key: lot_key(&gtin, &batch.lot_number),
                uri: lot_uri(&gtin, &batch.lot_number),
                quantity: batch.quantity.clone(),
            };
            let members = arrival(batch.supplier_id, &line);
            let (event, lines) = made(call, event_id, call.now(), None, members)?;
            moved.extend(lines);
            events.push((event_id, event));
            batches.push((id, batch));
        }
        tx.insert_many(batches).await?;
        tx.insert_many(events).await?;
        Ok(tx.insert_many(moved).await?)
    }
}
