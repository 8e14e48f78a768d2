//! Receipts, transformations, dispatches, waste and counts: what people enter,
//! made into the EPCIS events that say the same. docs/adr/0019 has the reasons.

use jiff::Timestamp;
use jiff::civil::Date;
use keystone::Problem;
use keystone::http::Call;
use keystone::tenant::{Id, WriteTx};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::batch::Quantity;
use crate::customer::Customer;
use crate::entry::{Entry, Line, Recorded, object, party, quantities, text};
use crate::epcis::json::Json;
use crate::supplier::Supplier;

/// Most lines of one entry: what an audit entry can show of the lots it makes.
const LINES: u32 = 40;

/// A lot that arrives or comes to be.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLot {
    /// The product.
    pub(crate) product_id: Id,
    /// Lot number: 1 to 20 characters of the set that GS1 allows in AI 10.
    #[schemars(extend("format" = "lot"))]
    pub(crate) lot_number: String,
    /// How much.
    pub(crate) quantity: Quantity,
    /// Best before, or use by.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub(crate) best_before: Option<Date>,
    /// Country of origin, ISO 3166-1 alpha-2.
    #[schemars(extend("format" = "country"))]
    pub(crate) origin: Option<String>,
}

/// An amount of a lot that is there.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Portion {
    /// The lot.
    pub(crate) batch_id: Id,
    /// How much of it.
    pub(crate) quantity: Quantity,
}

/// Goods that arrived from a supplier (Art. 18(2) of Regulation (EC) No
/// 178/2002).
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReceipt {
    /// Whom they came from.
    supplier_id: Id,
    /// When they arrived.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// Where.
    site_id: Option<Id>,
    /// What arrived. A lot that is there already grows.
    #[schemars(length(min = 1, max = LINES))]
    lots: Vec<NewLot>,
}

/// Goods that were made of others.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTransformation {
    /// When it was done.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// Where.
    site_id: Option<Id>,
    /// What went in.
    #[schemars(length(min = 1, max = LINES))]
    inputs: Vec<Portion>,
    /// What came out. A lot that is there already grows.
    #[schemars(length(min = 1, max = LINES))]
    outputs: Vec<NewLot>,
}

/// Goods that went to a customer (Art. 18(3) of Regulation (EC) No 178/2002).
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDispatch {
    /// Whom they went to.
    customer_id: Id,
    /// When they left.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// From where.
    site_id: Option<Id>,
    /// What left.
    #[schemars(length(min = 1, max = LINES))]
    lots: Vec<Portion>,
}

/// Goods that were thrown away.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWaste {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// Where.
    site_id: Option<Id>,
    /// What was thrown away.
    #[schemars(length(min = 1, max = LINES))]
    lots: Vec<Portion>,
}

/// Whether more or less was counted than there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Difference {
    /// More.
    More,
    /// Less.
    Less,
}

/// A count that found more or less of a lot than there should be.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdjustment {
    /// When it was counted.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// Where.
    site_id: Option<Id>,
    /// The lot.
    batch_id: Id,
    /// Whether there was more or less.
    difference: Difference,
    /// How much more or less.
    quantity: Quantity,
    /// What explains it, as far as anything does.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
}

impl NewReceipt {
    /// Records the receipt under the event id `id`.
    ///
    /// # Errors
    /// 422 naming every wrong field.
    pub async fn record(
        &self,
        tx: &mut WriteTx<'_>,
        call: &Call,
        id: Id,
    ) -> Result<Recorded, Problem> {
        let mut entry = Entry::new(tx, call);
        if entry.tx.get::<Supplier>(self.supplier_id).await?.is_none() {
            entry.wrong("/supplier_id", "There is no such supplier.");
        }
        let site = entry.site(self.site_id).await?;
        let lots = entry.lots("/lots", &self.lots, Some(self.supplier_id)).await?;
        let members = object(&[
            ("type", text("ObjectEvent")),
            ("action", text("OBSERVE")),
            ("bizStep", text("receiving")),
            ("disposition", text("in_progress")),
            ("quantityList", quantities(&lots)),
            ("sourceList", party("source", self.supplier_id)),
        ]);
        entry.finish(id, self.at, site, members, &lots).await
    }
}

impl NewTransformation {
    /// Records the transformation under the event id `id`.
    ///
    /// # Errors
    /// 422 naming every wrong field, such as an amount that is not in stock.
    pub async fn record(
        &self,
        tx: &mut WriteTx<'_>,
        call: &Call,
        id: Id,
    ) -> Result<Recorded, Problem> {
        let mut entry = Entry::new(tx, call);
        let site = entry.site(self.site_id).await?;
        let inputs = entry.portions("/inputs", &self.inputs, Line::taken).await?;
        let outputs = entry.lots("/outputs", &self.outputs, None).await?;
        for (index, output) in outputs.iter().enumerate() {
            if inputs.iter().any(|input| input.key == output.key) {
                entry.wrong(format!("/outputs/{index}/lot_number"), "Is one of the inputs.");
            }
        }
        let members = object(&[
            ("type", text("TransformationEvent")),
            ("bizStep", text("commissioning")),
            ("disposition", text("in_progress")),
            ("inputQuantityList", quantities(&inputs)),
            ("outputQuantityList", quantities(&outputs)),
        ]);
        entry.finish(id, self.at, site, members, &outputs).await
    }
}

impl NewDispatch {
    /// Records the dispatch under the event id `id`.
    ///
    /// # Errors
    /// 422 naming every wrong field, such as an amount that is not in stock.
    pub async fn record(
        &self,
        tx: &mut WriteTx<'_>,
        call: &Call,
        id: Id,
    ) -> Result<Recorded, Problem> {
        let mut entry = Entry::new(tx, call);
        if entry.tx.get::<Customer>(self.customer_id).await?.is_none() {
            entry.wrong("/customer_id", "There is no such customer.");
        }
        let site = entry.site(self.site_id).await?;
        let sent = |line: &Line| line.sent(self.customer_id, self.at);
        let lots = entry.portions("/lots", &self.lots, sent).await?;
        let members = shipment(self.customer_id, &lots);
        entry.finish(id, self.at, site, members, &[]).await
    }
}

/// What says that lots went to a customer.
pub(crate) fn shipment(customer: Id, lots: &[Line]) -> Vec<(String, Json)> {
    object(&[
        ("type", text("ObjectEvent")),
        ("action", text("OBSERVE")),
        ("bizStep", text("shipping")),
        ("disposition", text("in_transit")),
        ("quantityList", quantities(lots)),
        ("destinationList", party("destination", customer)),
    ])
}

impl NewWaste {
    /// Records the waste under the event id `id`.
    ///
    /// # Errors
    /// 422 naming every wrong field, such as an amount that is not in stock.
    pub async fn record(
        &self,
        tx: &mut WriteTx<'_>,
        call: &Call,
        id: Id,
    ) -> Result<Recorded, Problem> {
        let mut entry = Entry::new(tx, call);
        let site = entry.site(self.site_id).await?;
        let lots = entry.thrown_away("/lots", &self.lots).await?;
        let members = object(&[
            ("type", text("ObjectEvent")),
            ("action", text("DELETE")),
            ("bizStep", text("destroying")),
            ("disposition", text("destroyed")),
            ("quantityList", quantities(&lots)),
        ]);
        entry.finish(id, self.at, site, members, &[]).await
    }
}

/// The member of an event that holds the reason of an adjustment.
const REASON: &str = "urn:keystone:epcis:reason";

impl NewAdjustment {
    /// Records the difference under the event id `id`.
    ///
    /// # Errors
    /// 422 naming every wrong field, such as less than nothing being left.
    pub async fn record(
        &self,
        tx: &mut WriteTx<'_>,
        call: &Call,
        id: Id,
    ) -> Result<Recorded, Problem> {
        let mut entry = Entry::new(tx, call);
        let site = entry.site(self.site_id).await?;
        let lots = match self.difference {
            Difference::More => entry.found(self.batch_id, &self.quantity).await?,
            Difference::Less => entry.missing(self.batch_id, &self.quantity).await?,
        };
        let action = if self.difference == Difference::More { "ADD" } else { "DELETE" };
        let members = object(&[
            ("type", text("ObjectEvent")),
            ("action", text(action)),
            ("bizStep", text("stock_taking")),
            ("quantityList", quantities(&lots)),
            (REASON, text(&self.reason)),
        ]);
        entry.finish(id, self.at, site, members, &[]).await
    }
}
