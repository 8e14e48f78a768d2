//! Receipts, transformations, dispatches and waste: what people enter, made
//! into the EPCIS events that say the same. docs/adr/0019 has the reasons.

use jiff::Timestamp;
use jiff::civil::Date;
use keystone::http::Call;
use keystone::tenant::{Filter, Id, Stored, WriteTx};
use keystone::{FieldError, Problem};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, BatchState, Quantity};
use crate::customer::Customer;
use crate::epcis::document::read_bare;
use crate::epcis::epc::{lot_key, lot_uri, place_uri};
use crate::epcis::json::Json;
use crate::epcis::quantity::to_base;
use crate::event::StoredEvent;
use crate::movement::{Amounts, Movement, Role, of_event, stock};
use crate::product::Product;
use crate::site::Site;
use crate::status::Status;
use crate::supplier::Supplier;

/// Most lines of one entry: what an audit entry can show of the lots it makes.
const LINES: u32 = 40;

/// A lot that arrives or comes to be.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLot {
    /// The product.
    product_id: Id,
    /// Lot number: 1 to 20 characters of the set that GS1 allows in AI 10.
    #[schemars(extend("format" = "lot"))]
    lot_number: String,
    /// How much.
    quantity: Quantity,
    /// Best before, or use by.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    best_before: Option<Date>,
    /// Country of origin, ISO 3166-1 alpha-2.
    #[schemars(extend("format" = "country"))]
    origin: Option<String>,
}

/// An amount of a lot that is there.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Portion {
    /// The lot.
    batch_id: Id,
    /// How much of it.
    quantity: Quantity,
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

/// What was recorded.
#[derive(Serialize, JsonSchema)]
pub struct Recorded {
    /// Our id of the event that says so.
    id: Id,
    /// Its eventID.
    event_id: String,
    /// The lots that arrived or came to be.
    batches: Vec<Id>,
}

/// An entry that is being made into an event.
struct Entry<'t, 'c> {
    tx: &'t mut WriteTx<'c>,
    call: &'t Call,
    errors: Vec<FieldError>,
}

/// A portion or a lot, found.
struct Line {
    batch: Id,
    key: String,
    uri: String,
    quantity: Quantity,
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
        let mut entry = Entry { tx, call, errors: Vec::new() };
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
        let mut entry = Entry { tx, call, errors: Vec::new() };
        let site = entry.site(self.site_id).await?;
        let inputs = entry.portions("/inputs", &self.inputs).await?;
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
        let mut entry = Entry { tx, call, errors: Vec::new() };
        if entry.tx.get::<Customer>(self.customer_id).await?.is_none() {
            entry.wrong("/customer_id", "There is no such customer.");
        }
        let site = entry.site(self.site_id).await?;
        let lots = entry.portions("/lots", &self.lots).await?;
        let members = object(&[
            ("type", text("ObjectEvent")),
            ("action", text("OBSERVE")),
            ("bizStep", text("shipping")),
            ("disposition", text("in_transit")),
            ("quantityList", quantities(&lots)),
            ("destinationList", party("destination", self.customer_id)),
        ]);
        entry.finish(id, self.at, site, members, &[]).await
    }
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
        let mut entry = Entry { tx, call, errors: Vec::new() };
        let site = entry.site(self.site_id).await?;
        let lots = entry.portions("/lots", &self.lots).await?;
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

impl Entry<'_, '_> {
    fn wrong(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    /// GLN of the site.
    async fn site(&mut self, id: Option<Id>) -> Result<Option<String>, Problem> {
        let Some(id) = id else { return Ok(None) };
        let found = self.tx.get::<Site>(id).await?;
        if found.is_none() {
            self.wrong("/site_id", "There is no such site.");
        }
        Ok(found.map(|site| site.entity.gln))
    }

    fn more_than_nothing(&mut self, at: &str, quantity: &Quantity) {
        if quantity.value <= Decimal::ZERO {
            self.wrong(format!("{at}/quantity/value"), "Must be more than 0.");
        }
    }

    /// The portions, each of a lot that may be used and has enough left.
    async fn portions(&mut self, at: &str, portions: &[Portion]) -> Result<Vec<Line>, Problem> {
        let mut lines: Vec<Line> = Vec::with_capacity(portions.len());
        for (index, portion) in portions.iter().enumerate() {
            let at = format!("{at}/{index}");
            self.more_than_nothing(&at, &portion.quantity);
            let Some(batch) = self.tx.get::<Batch>(portion.batch_id).await? else {
                self.wrong(format!("{at}/batch_id"), "There is no such batch.");
                continue;
            };
            if batch.entity.state != BatchState::Available {
                self.wrong(format!("{at}/batch_id"), "This batch may not be used now.");
            }
            let line = self.line(&batch, &portion.quantity).await?;
            let mut left = stock(self.tx, &line.key).await?;
            // The same lot may stand in several lines.
            for earlier in lines.iter().filter(|earlier| earlier.key == line.key) {
                left.take(&earlier.taken());
            }
            self.enough(&at, &left, &portion.quantity);
            lines.push(line);
        }
        Ok(lines)
    }

    fn enough(&mut self, at: &str, left: &Amounts, wanted: &Quantity) {
        let Some((dimension, amount)) = to_base(wanted.value, wanted.unit.code()) else {
            self.wrong(format!("{at}/quantity/unit"), "There is no such unit.");
            return;
        };
        let there = left.of(dimension);
        if amount <= there {
            return;
        }
        match left.all().find(|(other, amount)| *other != dimension && *amount > Decimal::ZERO) {
            Some((other, _)) if there == Decimal::ZERO => self.wrong(
                format!("{at}/quantity/unit"),
                format!("This batch is measured in {}.", other.unit()),
            ),
            _ => self.wrong(
                format!("{at}/quantity/value"),
                format!("Only {} {} are in stock.", there.normalize(), dimension.unit()),
            ),
        }
    }

    /// The lots, made where they are not there yet.
    async fn lots(
        &mut self,
        at: &str,
        lots: &[NewLot],
        supplier: Option<Id>,
    ) -> Result<Vec<Line>, Problem> {
        let mut lines: Vec<Line> = Vec::with_capacity(lots.len());
        for (index, lot) in lots.iter().enumerate() {
            let at = format!("{at}/{index}");
            self.more_than_nothing(&at, &lot.quantity);
            let Some(product) = self.tx.get::<Product>(lot.product_id).await? else {
                self.wrong(format!("{at}/product_id"), "There is no such product.");
                continue;
            };
            let key = lot_key(&product.entity.gtin, &lot.lot_number);
            if lines.iter().any(|line| line.key == key) {
                self.wrong(format!("{at}/lot_number"), "Stands in the list twice.");
                continue;
            }
            let same = Filter::all()
                .eq("product_id", lot.product_id.to_string())
                .eq("lot_number", lot.lot_number.clone());
            let batch = match self.tx.find::<Batch>(same).await? {
                Some(batch) if batch.entity.supplier_id != supplier => {
                    self.wrong(
                        format!("{at}/lot_number"),
                        "There is a batch with this number that came from elsewhere.",
                    );
                    continue;
                }
                Some(batch) => batch,
                // Nothing is kept of it if a field turns out to be wrong.
                None => {
                    let batch = Batch {
                        lot_number: lot.lot_number.clone(),
                        product_id: lot.product_id,
                        quantity: lot.quantity.clone(),
                        best_before: lot.best_before,
                        origin: lot.origin.clone(),
                        supplier_id: supplier,
                        state: BatchState::Available,
                    };
                    self.tx.insert(self.call.new_id()?, batch).await?
                }
            };
            lines.push(Line {
                batch: batch.id,
                uri: lot_uri(&product.entity.gtin, &lot.lot_number),
                key,
                quantity: lot.quantity.clone(),
            });
        }
        Ok(lines)
    }

    async fn line(&mut self, batch: &Stored<Batch>, quantity: &Quantity) -> Result<Line, Problem> {
        let product = self.tx.get::<Product>(batch.entity.product_id).await?;
        let gtin = product.ok_or(Problem::Internal)?.entity.gtin;
        Ok(Line {
            batch: batch.id,
            key: lot_key(&gtin, &batch.entity.lot_number),
            uri: lot_uri(&gtin, &batch.entity.lot_number),
            quantity: quantity.clone(),
        })
    }

    /// Records the event, unless something was wrong.
    async fn finish(
        self,
        id: Id,
        at: Timestamp,
        site: Option<String>,
        mut members: Vec<(String, Json)>,
        made: &[Line],
    ) -> Result<Recorded, Problem> {
        if !self.errors.is_empty() {
            return Err(Problem::Invalid(self.errors));
        }
        members.push(("eventTime".into(), Json::Text(at.to_string())));
        members.push(("eventTimeZoneOffset".into(), text("+00:00")));
        if let Some(gln) = site {
            let place = Json::Object(object(&[("id", Json::Text(place_uri(&gln)))]));
            members.push(("readPoint".into(), place.clone()));
            members.push(("bizLocation".into(), place));
        }
        let (event, errors) = read_bare(&Json::Object(members));
        let Some(event) = event else {
            tracing::error!(errors = ?errors.0, "an entry made no event");
            return Err(Problem::Internal);
        };
        let lines = of_event(&event, id);
        let by = self.call.principal().user();
        let event = StoredEvent::new(event, id, by, self.call.now(), Status::Submitted)?;
        let stored = self.tx.insert(id, event).await?;
        let mut movements = Vec::with_capacity(lines.len());
        for line in lines {
            movements.push((self.call.new_id()?, line));
        }
        self.tx.insert_many(movements).await?;
        Ok(Recorded {
            id,
            event_id: stored.entity.event_id,
            batches: made.iter().map(|line| line.batch).collect(),
        })
    }
}

impl Line {
    fn taken(&self) -> Movement {
        Movement {
            event_id: self.batch,
            lot: self.key.clone(),
            role: Role::Consumed,
            quantity: Some(self.quantity.value),
            unit: self.quantity.unit.code().into(),
            partner: None,
            at: Timestamp::UNIX_EPOCH,
            others: Vec::new(),
        }
    }
}

fn text(value: &str) -> Json {
    Json::Text(value.into())
}

fn object(members: &[(&str, Json)]) -> Vec<(String, Json)> {
    members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn quantities(lines: &[Line]) -> Json {
    let element = |line: &Line| {
        Json::Object(object(&[
            ("epcClass", Json::Text(line.uri.clone())),
            ("quantity", Json::Number(line.quantity.value.to_string())),
            ("uom", text(line.quantity.unit.code())),
        ]))
    };
    Json::Array(lines.iter().map(element).collect())
}

/// The supplier or customer by our own id: not every one has a GLN.
fn party(member: &str, id: Id) -> Json {
    let party = object(&[
        ("type", text("possessing_party")),
        (member, Json::Text(format!("urn:uuid:{id}"))),
    ]);
    Json::Array(vec![Json::Object(party)])
}
