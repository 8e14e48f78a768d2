//! How an entry becomes an event: the lots that it names are found or made,
//! what is wrong with it is collected, and the event is recorded with what it
//! says of lots.

use jiff::Timestamp;
use keystone::http::Call;
use keystone::tenant::{Filter, Id, Stored, WriteTx};
use keystone::{FieldError, Problem};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::batch::{Batch, BatchState, Quantity};
use crate::epcis::document::read_bare;
use crate::epcis::epc::{lot_key, lot_uri, place_uri};
use crate::epcis::json::Json;
use crate::epcis::quantity::{Dimension, to_base};
use crate::event::StoredEvent;
use crate::goods::{NewLot, Portion};
use crate::moment;
use crate::movement::{Amounts, Movement, Role, Stocks, of_event, stock};
use crate::partner::OURS;
use crate::posting::{Posting, posted};
use crate::product::Product;
use crate::site::Site;
use crate::status::Status;

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
pub(crate) struct Entry<'t, 'c> {
    pub(crate) tx: &'t mut WriteTx<'c>,
    call: &'t Call,
    errors: Vec<FieldError>,
}

/// A portion or a lot, found.
pub struct Line {
    pub(crate) batch: Id,
    pub(crate) key: String,
    pub(crate) uri: String,
    pub(crate) quantity: Quantity,
}

impl<'t, 'c> Entry<'t, 'c> {
    /// An entry of which nothing is known to be wrong.
    pub(crate) fn new(tx: &'t mut WriteTx<'c>, call: &'t Call) -> Self {
        Self { tx, call, errors: Vec::new() }
    }

    pub(crate) fn wrong(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    /// GLN of the site.
    pub(crate) async fn site(&mut self, id: Option<Id>) -> Result<Option<String>, Problem> {
        let Some(id) = id else { return Ok(None) };
        let found = self.tx.get::<Site>(id).await?;
        if found.is_none() {
            self.wrong("/site_id", "There is no such site.");
        }
        Ok(found.map(|site| site.entity.gln))
    }

    pub(crate) fn more_than_nothing(&mut self, at: &str, quantity: &Quantity) {
        if quantity.value <= Decimal::ZERO {
            self.wrong(format!("{at}/quantity/value"), "Must be more than 0.");
        }
    }

    /// The portions, each of a lot that may be used and has enough left for what `says`
    /// becomes of it.
    pub(crate) async fn portions(
        &mut self,
        at: &str,
        portions: &[Portion],
        says: impl Fn(&Line) -> Movement,
    ) -> Result<Vec<Line>, Problem> {
        self.taken(at, portions, |state| state == BatchState::Available, says).await
    }

    /// As [`Entry::portions`], of lots in any state: what may not be used any
    /// more is what is thrown away.
    pub(crate) async fn thrown_away(
        &mut self,
        at: &str,
        portions: &[Portion],
    ) -> Result<Vec<Line>, Problem> {
        self.taken(at, portions, |_| true, Line::taken).await
    }

    async fn taken(
        &mut self,
        at: &str,
        portions: &[Portion],
        may: impl Fn(BatchState) -> bool,
        says: impl Fn(&Line) -> Movement,
    ) -> Result<Vec<Line>, Problem> {
        let mut lines: Vec<(usize, Line)> = Vec::with_capacity(portions.len());
        for (index, portion) in portions.iter().enumerate() {
            let at = format!("{at}/{index}");
            self.more_than_nothing(&at, &portion.quantity);
            let Some(batch) = self.tx.get::<Batch>(portion.batch_id).await? else {
                self.wrong(format!("{at}/batch_id"), "There is no such batch.");
                continue;
            };
            if !may(batch.entity.state) {
                self.wrong(format!("{at}/batch_id"), "This batch may not be used now.");
            }
            lines.push((index, self.line(&batch, &portion.quantity).await?));
        }
        let keys = lines.iter().map(|(_, line)| line.key.clone()).collect();
        let mut stocks = Stocks::read(self.tx, &keys).await?;
        for (index, line) in &lines {
            // The same lot may stand in several lines.
            let there = stocks.take(&says(line));
            self.enough(&format!("{at}/{index}"), &there, &line.quantity);
        }
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }

    /// The one lot of a count, whatever its state: what lies there can be
    /// counted.
    async fn counted(&mut self, batch: Id, quantity: &Quantity) -> Result<Vec<Line>, Problem> {
        self.more_than_nothing("", quantity);
        let Some(batch) = self.tx.get::<Batch>(batch).await? else {
            self.wrong("/batch_id", "There is no such batch.");
            return Ok(Vec::new());
        };
        Ok(vec![self.line(&batch, quantity).await?])
    }

    /// As [`Entry::counted`], of a lot that is measured like that.
    pub(crate) async fn found(
        &mut self,
        batch: Id,
        quantity: &Quantity,
    ) -> Result<Vec<Line>, Problem> {
        let lines = self.counted(batch, quantity).await?;
        for line in &lines {
            self.measured_alike("", &line.key, quantity).await?;
        }
        Ok(lines)
    }

    /// As [`Entry::counted`], of a lot that has that much left.
    pub(crate) async fn missing(
        &mut self,
        batch: Id,
        quantity: &Quantity,
    ) -> Result<Vec<Line>, Problem> {
        let lines = self.counted(batch, quantity).await?;
        for line in &lines {
            let left = stock(self.tx, &line.key).await?;
            self.enough("", &left, quantity);
        }
        Ok(lines)
    }

    /// That more of a lot is measured as what is there of it.
    async fn measured_alike(
        &mut self,
        at: &str,
        lot: &str,
        more: &Quantity,
    ) -> Result<(), Problem> {
        let left = match stock(self.tx, lot).await {
            Ok(left) => left,
            // Too long to be added up: more of it may come all the same.
            Err(Problem::Conflict(_)) => return Ok(()),
            Err(problem) => return Err(problem),
        };
        let dimension = to_base(more.value, more.unit.code()).map(|(dimension, _)| dimension);
        if let Some(message) = dimension.and_then(|one| measured_otherwise(&left, one)) {
            self.wrong(format!("{at}/quantity/unit"), message);
        }
        Ok(())
    }

    fn enough(&mut self, at: &str, left: &Amounts, wanted: &Quantity) {
        if let Some((member, message)) = shortage(left, wanted) {
            self.wrong(format!("{at}/quantity/{member}"), message);
        }
    }

    /// The lots, made where they are not there yet.
    pub(crate) async fn lots(
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
                Some(batch) => {
                    self.measured_alike(&at, &key, &lot.quantity).await?;
                    batch
                }
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

    /// A line of the lot.
    pub(crate) async fn line(
        &mut self,
        batch: &Stored<Batch>,
        quantity: &Quantity,
    ) -> Result<Line, Problem> {
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
    pub(crate) async fn finish(
        mut self,
        id: Id,
        at: Timestamp,
        site: Option<String>,
        members: Vec<(String, Json)>,
        lots: &[Line],
    ) -> Result<Recorded, Problem> {
        if let Some(message) = moment::wrong(at, self.call.now()) {
            self.wrong("/at", message);
        }
        if !self.errors.is_empty() {
            return Err(Problem::Invalid(self.errors));
        }
        let (event, lines) = made(self.call, id, at, site.as_deref(), members)?;
        let stored = self.tx.insert(id, event).await?;
        self.tx.insert_many(lines).await?;
        Ok(Recorded {
            id,
            event_id: stored.entity.event_id,
            batches: lots.iter().map(|line| line.batch).collect(),
        })
    }
}

impl Line {
    /// That it goes to a customer.
    pub(crate) fn sent(&self, customer: Id, at: Timestamp) -> Movement {
        let partner = Some(format!("{OURS}{customer}"));
        Movement { role: Role::Dispatched, partner, at, ..self.taken() }
    }

    /// What it takes away.
    pub(crate) fn taken(&self) -> Movement {
        Movement {
            quantity: Some(self.quantity.value),
            unit: self.quantity.unit.code().into(),
            ..Movement::new(self.batch, &self.key, Role::Consumed, Timestamp::UNIX_EPOCH)
        }
    }
}

/// The member of `wanted` that is wrong, where that much is not left, and why.
pub(crate) fn shortage(left: &Amounts, wanted: &Quantity) -> Option<(&'static str, String)> {
    let Some((dimension, amount)) = to_base(wanted.value, wanted.unit.code()) else {
        return Some(("unit", "There is no such unit.".into()));
    };
    let there = left.of(dimension);
    if amount <= there {
        return None;
    }
    Some(measured_otherwise(left, dimension).map_or_else(
        || ("value", format!("Only {} {} are in stock.", there.normalize(), dimension.unit())),
        |message| ("unit", message),
    ))
}

/// That nothing of a lot is measured by `dimension`, but what there is otherwise.
fn measured_otherwise(left: &Amounts, dimension: Dimension) -> Option<String> {
    let mut others = left.all().filter(|(other, _)| *other != dimension);
    let (other, _) = others.find(|(_, amount)| *amount > Decimal::ZERO)?;
    let nothing = left.of(dimension) == Decimal::ZERO;
    nothing.then(|| format!("This batch is measured in {}.", other.unit()))
}

/// The event with these members under the id `id`, and what it says of lots.
///
/// # Errors
/// [`Problem::Internal`] when it is none, which is a defect of the caller.
pub(crate) fn made(
    call: &Call,
    id: Id,
    at: Timestamp,
    site: Option<&str>,
    mut members: Vec<(String, Json)>,
) -> Result<(StoredEvent, Vec<(Id, Posting)>), Problem> {
    members.push(("eventTime".into(), Json::Text(at.to_string())));
    members.push(("eventTimeZoneOffset".into(), text("+00:00")));
    if let Some(gln) = site {
        let place = Json::Object(object(&[("id", Json::Text(place_uri(gln)))]));
        members.push(("readPoint".into(), place.clone()));
        members.push(("bizLocation".into(), place));
    }
    let (event, errors) = read_bare(&Json::Object(members));
    let Some(event) = event else {
        tracing::error!(errors = ?errors.0, "an entry made no event");
        return Err(Problem::Internal);
    };
    let lines = posted(call, of_event(&event, id))?;
    let by = call.principal().user();
    Ok((StoredEvent::new(event, id, by, call.now(), Status::Submitted)?, lines))
}

pub(crate) fn text(value: &str) -> Json {
    Json::Text(value.into())
}

pub(crate) fn object(members: &[(&str, Json)]) -> Vec<(String, Json)> {
    members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub(crate) fn quantities(lines: &[Line]) -> Json {
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
pub(crate) fn party(member: &str, id: Id) -> Json {
    let party = object(&[
        ("type", text("possessing_party")),
        (member, Json::Text(format!("urn:uuid:{id}"))),
    ]);
    Json::Array(vec![Json::Object(party)])
}
