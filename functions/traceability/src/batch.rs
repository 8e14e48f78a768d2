//! Batches, or lots: what was produced or received together and can be
//! recalled together.

use jiff::Timestamp;
use jiff::civil::Date;
use keystone::Problem;
use keystone::http::{Call, present};
use keystone::tenant::{Entity, Id, StoreError, Stored, WriteTx, schema};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Line, object, party, quantities, text};
use crate::epcis::json::Json;
use crate::product::Product;
use crate::supplier::Supplier;

/// Unit of a quantity, by its code of UN/ECE Recommendation 20.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Unit {
    /// Kilogram.
    Kgm,
    /// Gram.
    Grm,
    /// Tonne.
    Tne,
    /// Litre.
    Ltr,
    /// Millilitre.
    Mlt,
    /// Piece.
    H87,
}

impl Unit {
    /// The code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Kgm => "KGM",
            Self::Grm => "GRM",
            Self::Tne => "TNE",
            Self::Ltr => "LTR",
            Self::Mlt => "MLT",
            Self::H87 => "H87",
        }
    }
}

/// An exact amount with its unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quantity {
    /// Decimal number as text, at most 12 digits before and 6 after the point.
    #[schemars(with = "String", extend("format" = "decimal"))]
    pub value: Decimal,
    /// Unit.
    pub unit: Unit,
}

/// Whether a lot may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// May be used and dispatched.
    Available,
    /// Kept back until released.
    OnHold,
    /// Withdrawn from use for good.
    Withdrawn,
    /// Used up.
    Consumed,
}

impl BatchState {
    /// Whether a lot in this state may go to `next`. A lot that was withdrawn
    /// or used up stays so.
    fn may_become(self, next: Self) -> bool {
        self == next || matches!(self, Self::Available | Self::OnHold)
    }
}

/// A lot as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Lot number (GS1 AI 10); unique for its product.
    pub lot_number: String,
    /// The product.
    pub product_id: Id,
    /// How much was produced or received.
    pub quantity: Quantity,
    /// Best before, or use by.
    pub best_before: Option<Date>,
    /// Country of origin, ISO 3166-1 alpha-2.
    pub origin: Option<String>,
    /// Whom it was received from; absent for own production.
    pub supplier_id: Option<Id>,
    /// Whether it may be used.
    pub state: BatchState,
}

impl Entity for Batch {
    const COLLECTION: &'static schema::Collection = &schema::BATCHES;
    const RESOURCE: &'static str = "batch";
    const PERSONAL: &'static [&'static str] = &[];
}

/// A lot to be created.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBatch {
    /// Lot number: 1 to 20 characters of the set that GS1 allows in AI 10.
    #[schemars(extend("format" = "lot"))]
    lot_number: String,
    /// The product.
    product_id: Id,
    /// How much was produced or received.
    quantity: Quantity,
    /// Best before, or use by.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    best_before: Option<Date>,
    /// Country of origin, ISO 3166-1 alpha-2.
    #[schemars(extend("format" = "country"))]
    origin: Option<String>,
    /// Whom it was received from; absent for own production.
    supplier_id: Option<Id>,
}

impl NewBatch {
    /// Records the lot under `id`, with the event that says where it came from:
    /// its receipt if it has a supplier, else its commissioning.
    ///
    /// # Errors
    /// 422 naming every wrong field; 409 when the product has a lot with this
    /// number.
    pub async fn record(
        &self,
        tx: &mut WriteTx<'_>,
        call: &Call,
        (id, event): (Id, Id),
    ) -> Result<Stored<Batch>, Problem> {
        let batch = self.clone().into_batch(tx).await?;
        let stored = tx.insert(id, batch).await.map_err(taken)?;
        let mut entry = Entry::new(tx, call);
        entry.more_than_nothing("", &stored.entity.quantity);
        let line = entry.line(&stored, &stored.entity.quantity).await?;
        let members = arrival(self.supplier_id, &line);
        entry.finish(event, call.now(), None, members, &[]).await?;
        Ok(stored)
    }

    /// The lot, once its product and supplier are found.
    ///
    /// # Errors
    /// 422 naming every reference that leads nowhere.
    async fn into_batch(self, tx: &mut WriteTx<'_>) -> Result<Batch, Problem> {
        let mut errors = Vec::new();
        if tx.get::<Product>(self.product_id).await?.is_none() {
            errors.push(keystone::FieldError::new("/product_id", "There is no such product."));
        }
        if let Some(supplier) = self.supplier_id
            && tx.get::<Supplier>(supplier).await?.is_none()
        {
            errors.push(keystone::FieldError::new("/supplier_id", "There is no such supplier."));
        }
        if !errors.is_empty() {
            return Err(Problem::Invalid(errors));
        }
        Ok(Batch {
            lot_number: self.lot_number,
            product_id: self.product_id,
            quantity: self.quantity,
            best_before: self.best_before,
            origin: self.origin,
            supplier_id: self.supplier_id,
            state: BatchState::Available,
        })
    }
}

/// What says that a lot came from a supplier, or came to be here.
pub(crate) fn arrival(supplier: Option<Id>, line: &Line) -> Vec<(String, Json)> {
    let (action, step, disposition) = match supplier {
        Some(_) => ("OBSERVE", "receiving", "in_progress"),
        None => ("ADD", "commissioning", "active"),
    };
    let mut members = object(&[
        ("type", text("ObjectEvent")),
        ("action", text(action)),
        ("bizStep", text(step)),
        ("disposition", text(disposition)),
        ("quantityList", quantities(std::slice::from_ref(line))),
    ]);
    if let Some(supplier) = supplier {
        members.push(("sourceList".into(), party("source", supplier)));
    }
    members
}

fn taken(error: StoreError) -> Problem {
    match error {
        StoreError::Duplicate => {
            Problem::Conflict("There is a batch of this product with this lot number.".into())
        }
        other => other.into(),
    }
}

/// Changes to a lot (RFC 7396): absent members stay, null removes. What the
/// lot is (number, product, supplier) does not change.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchPatch {
    /// How much was produced or received.
    #[serde(default)]
    #[schemars(with = "Quantity")]
    quantity: Option<Quantity>,
    /// Best before, or use by.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    best_before: Option<Option<Date>>,
    /// Country of origin, ISO 3166-1 alpha-2.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("format" = "country"))]
    origin: Option<Option<String>>,
    /// Whether it may be used.
    #[serde(default)]
    #[schemars(with = "BatchState")]
    state: Option<BatchState>,
}

impl BatchPatch {
    /// The lot after the changes.
    ///
    /// # Errors
    /// 409 when the lot's state does not allow the new one.
    pub fn apply(&self, before: &Batch) -> Result<Batch, Problem> {
        let mut batch = before.clone();
        if let Some(state) = self.state {
            if !before.state.may_become(state) {
                return Err(Problem::Conflict(
                    "A lot that was withdrawn or used up stays so.".into(),
                ));
            }
            batch.state = state;
        }
        if let Some(quantity) = &self.quantity {
            batch.quantity.clone_from(quantity);
        }
        if let Some(best_before) = self.best_before {
            batch.best_before = best_before;
        }
        if let Some(origin) = &self.origin {
            batch.origin.clone_from(origin);
        }
        Ok(batch)
    }
}

/// A lot as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct BatchView {
    /// Id.
    pub id: Id,
    /// Lot number.
    pub lot_number: String,
    /// The product.
    pub product_id: Id,
    /// How much was produced or received.
    pub quantity: Quantity,
    /// Best before, or use by.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub best_before: Option<Date>,
    /// Country of origin.
    pub origin: Option<String>,
    /// Whom it was received from.
    pub supplier_id: Option<Id>,
    /// Whether it may be used.
    pub state: BatchState,
    /// Version, as in the `ETag`.
    pub version: i64,
    /// When it was created.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub updated_at: Timestamp,
}

impl BatchView {
    /// The view of `stored`.
    pub fn new(stored: &Stored<Batch>) -> Self {
        let batch = stored.entity.clone();
        Self {
            id: stored.id,
            lot_number: batch.lot_number,
            product_id: batch.product_id,
            quantity: batch.quantity,
            best_before: batch.best_before,
            origin: batch.origin,
            supplier_id: batch.supplier_id,
            state: batch.state,
            version: stored.version,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_withdrawn_or_used_up_stays_so() {
        use BatchState::{Available, Consumed, OnHold, Withdrawn};
        for (from, to, allowed) in [
            (Available, OnHold, true),
            (OnHold, Available, true),
            (Available, Consumed, true),
            (Withdrawn, Withdrawn, true),
            (Withdrawn, Available, false),
            (Consumed, OnHold, false),
        ] {
            assert_eq!(from.may_become(to), allowed, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn quantities_are_exact() {
        let quantity: Quantity =
            serde_json::from_str(r#"{"value":"0.100000","unit":"KGM"}"#).unwrap();
        let sum: Decimal = std::iter::repeat_n(quantity.value, 1000).sum();
        assert_eq!(sum, Decimal::from(100));
        assert_eq!(
            serde_json::to_string(&quantity).unwrap(),
            r#"{"value":"0.100000","unit":"KGM"}"#
        );
    }
}
