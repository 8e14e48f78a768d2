//! One step back and one step forward for a lot (Art. 18 of Regulation (EC)
//! No 178/2002), its mass balance, and what of the evidence is missing now.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use keystone::Problem;
use keystone::audit::entry::Resource;
use keystone::auth::Permission;
use keystone::crypto::Subject;
use keystone::http::Call;
use keystone::tenant::{Filter, Id, Stored, Tenant};
use schemars::JsonSchema;
use serde::Serialize;

use crate::batch::{Batch, BatchView};
use crate::customer::{Customer, CustomerView};
use crate::epcis::epc::{self, Named, gln_of, lot_key};
use crate::event::identifier;
use crate::event_query::{ANY_CLASS, ANY_THING, Fitting};
use crate::ledger::Ledger;
use crate::movement::{Movement, Role};
use crate::partner::OURS;
use crate::product::{self, Product};
use crate::production::{Production, Yield};
use crate::supplier::Supplier;
use crate::trace::{Balance, PartnerView, balance, lines, partner_view};

/// A supplier, as far as the law asks who it is.
#[derive(Serialize, JsonSchema)]
pub struct Operator {
    /// Id.
    id: Id,
    /// Business name.
    name: String,
    /// ISO 3166-1 alpha-2 code.
    country: String,
    /// GS1 Global Location Number.
    gln: Option<String>,
}

/// What is missing, and which law asks for it.
#[derive(Serialize, JsonSchema)]
pub struct Missing {
    /// What: a field, or a link.
    what: String,
    /// The law.
    law: &'static str,
}

/// Most entries of each list of the evidence, so that an answer fits a function.
const SHOWN: usize = 1_000;

/// So many events that only name a thing are shown at most.
const SEEN: i64 = 100;

/// How many entries each list of the evidence leaves out: those beyond 1,000, of
/// receipts and dispatches the oldest. A recall shows every customer, page by
/// page.
#[derive(Serialize, JsonSchema)]
pub struct Omitted {
    /// Of `receipts`.
    receipts: usize,
    /// Of `suppliers`.
    suppliers: usize,
    /// Of `made_of`.
    made_of: usize,
    /// Of `dispatches`.
    dispatches: usize,
    /// Of `customers`.
    customers: usize,
    /// Of `made_into`.
    made_into: usize,
}

/// Cuts a list where the answer ends; how many it leaves out.
fn cut<T>(list: &mut Vec<T>) -> usize {
    let omitted = list.len().saturating_sub(SHOWN);
    list.truncate(SHOWN);
    omitted
}

/// The evidence for a lot.
#[derive(Serialize, JsonSchema)]
pub struct Evidence {
    /// The batch; absent where only events name the lot.
    batch: Option<BatchView>,
    /// Its GS1 element string.
    lot: String,
    /// Its receipts.
    receipts: Vec<PartnerView>,
    /// Whom it came from.
    suppliers: Vec<Operator>,
    /// The lots that it was made of.
    made_of: Vec<String>,
    /// Its dispatches.
    dispatches: Vec<PartnerView>,
    /// Whom it went to, with contact data as the caller's role may see it.
    customers: Vec<CustomerView>,
    /// The lots that were made of it.
    made_into: Vec<String>,
    /// What came, what left and what is there.
    balance: Balance,
    /// What went into production with it against what came out.
    production: Production,
    /// What the law asks for and is not there.
    missing: Vec<Missing>,
    /// What is not shown, since it is too much for one answer.
    omitted: Omitted,
}

const ART_18: &str = "Regulation (EC) No 178/2002, Art. 18";
const ANIMAL_ORIGIN: &str = "Regulation (EU) No 931/2011, Art. 3";

/// A lot that is asked for: of partners' lots only events may be known.
pub struct Lot {
    /// Its GS1 element string.
    pub key: String,
    /// What events name it by: the item where it was asked for by a serial number.
    names: Vec<String>,
    batch: Option<Stored<Batch>>,
    product: Option<Product>,
}

impl Lot {
    /// The lot by what a path says: the id of its batch; an EPC URN or a GS1
    /// Digital Link of it, or of an item that states it; or its GS1 element
    /// string, as answers have it.
    ///
    /// # Errors
    /// 404 when there is no batch with this id; 422 naming `id` when it is a GS1
    /// identifier with wrong digits; 503 when the database does not answer.
    pub async fn find(tenant: &Tenant, id: &str) -> Result<Self, Problem> {
        if let Ok(id) = id.parse::<Id>() {
            let batch = tenant.get::<Batch>(id).await?.ok_or(Problem::NotFound)?;
            let product = tenant.get::<Product>(batch.entity.product_id).await?;
            let product = product.ok_or(Problem::Internal)?.entity;
            let key = lot_key(&product.gtin, &batch.entity.lot_number);
            let names = vec![key.clone()];
            return Ok(Self { key, names, batch: Some(batch), product: Some(product) });
        }
        let Named { key, lot } = epc::named(&identifier(id)?).map_err(|malformed| {
            Problem::invalid("id", format!("Must be {}.", malformed.in_words()))
        })?;
        let names: Vec<String> = [Some(key.clone()), lot.clone()].into_iter().flatten().collect();
        let key = lot.unwrap_or(key);
        let Some((gtin, number)) = key.strip_prefix("01/").and_then(|rest| rest.split_once("/10/"))
        else {
            return Ok(Self { key, names, batch: None, product: None });
        };
        let spellings = product::spellings(gtin);
        let product = tenant.find::<Product>(Filter::all().any("gtin", spellings)).await?;
        let Some(product) = product else {
            return Ok(Self { key, names, batch: None, product: None });
        };
        let of_product = Filter::all().eq("product_id", product.id.to_string());
        let batch = tenant.find::<Batch>(of_product.eq("lot_number", number)).await?;
        Ok(Self { key, names, batch, product: Some(product.entity) })
    }

    /// The events that name it, [`SEEN`] of them at most, recorded at `as_of` at the
    /// latest: what was only observed is in no ledger, and yet it was somewhere.
    ///
    /// # Errors
    /// 503 when the database does not answer.
    pub async fn seen_in(
        &self,
        tenant: &Tenant,
        as_of: Option<Timestamp>,
    ) -> Result<BTreeSet<Id>, Problem> {
        let roles = ANY_THING.iter().chain(ANY_CLASS);
        let keys = roles.flat_map(|role| self.names.iter().map(move |key| format!("{role}:{key}")));
        let naming = Filter::all().any("keys", keys.collect());
        let naming = match as_of {
            Some(as_of) => naming.made_until(as_of),
            None => naming,
        };
        let found = tenant.parts::<Fitting>(naming, SEEN).await?;
        Ok(found.into_iter().map(|(id, _)| id).collect())
    }

    /// Whether it has a batch: else it is known only if an event names it.
    pub const fn is_recorded(&self) -> bool {
        self.batch.is_some()
    }

    fn resource(&self) -> Resource {
        match &self.batch {
            Some(batch) => Resource { kind: "batch".into(), id: batch.id.to_string() },
            None => Resource { kind: "lot".into(), id: self.key.clone() },
        }
    }
}

/// The evidence for a lot, see [`Lot::find`], what happened to it as it was known
/// at `as_of`, now if absent; names and addresses are those of now. Where contact
/// data is shown in clear, that is recorded first.
///
/// # Errors
/// 404 when there is no such lot; 422 naming `as_of` when more is known of it than
/// can be read; 503 when a store does not answer.
pub async fn evidence(
    call: &Call,
    id: &str,
    as_of: Option<Timestamp>,
) -> Result<Evidence, Problem> {
    let lot = Lot::find(call.tenant(), id).await?;
    let (mut lines, ledger) = lines(call.tenant(), &lot.key, as_of).await?;
    if lines.is_empty() && !lot.is_recorded() {
        return Err(Problem::NotFound);
    }
    lines.sort_by_key(|line| Reverse((line.at, line.event_id)));
    let production = production(call.tenant(), &lines, ledger).await?;
    let mut suppliers = suppliers(call, lot.batch.as_ref(), &lines).await?;
    let mut customers = customers(call, &lines).await?;
    let mut missing = missing(lot.product.as_ref(), &lines, &suppliers, &customers);
    cut(&mut missing);
    let (no_suppliers, no_customers) = (cut(&mut suppliers), cut(&mut customers));
    let clear = call.sees(Permission::ReadContactData);
    let sealed = customers
        .iter()
        .filter(|one| one.entity.delivery_address.is_some() || one.entity.phone.is_some())
        .count();
    if clear && sealed > 0 {
        call.disclose("batch.disclose", lot.resource(), &["customers"], sealed).await?;
    }
    call.tenant().prefetch(customers.iter().map(|one| Subject::Customer(one.id))).await?;
    let mut shown = Vec::with_capacity(customers.len());
    for customer in &customers {
        shown.push(CustomerView::new(call.tenant(), customer, clear).await?);
    }
    let of_role = |role: Role| lines.iter().filter(move |line| line.role == role);
    // By us, or by a partner at a place of theirs.
    let others = |roles: [Role; 2]| -> Vec<String> {
        let all: BTreeSet<String> =
            roles.into_iter().flat_map(of_role).flat_map(|line| line.others.clone()).collect();
        all.into_iter().collect()
    };
    let partners = |role: Role| of_role(role).filter_map(partner_view).collect::<Vec<_>>();
    let (mut receipts, mut dispatches) = (partners(Role::Received), partners(Role::Dispatched));
    let mut made_of = others([Role::Produced, Role::MadeElsewhere]);
    let mut made_into = others([Role::Consumed, Role::UsedElsewhere]);
    Ok(Evidence {
        batch: lot.batch.as_ref().map(BatchView::new),
        omitted: Omitted {
            receipts: cut(&mut receipts),
            suppliers: no_suppliers,
            made_of: cut(&mut made_of),
            dispatches: cut(&mut dispatches),
            customers: no_customers,
            made_into: cut(&mut made_into),
        },
        receipts,
        dispatches,
        suppliers,
        customers: shown,
        made_of,
        made_into,
        balance: balance(&lot.key, &lines),
        production,
        missing,
        lot: lot.key,
    })
}

/// What went into the transformations of these lines against what came out.
async fn production(
    tenant: &Tenant,
    lines: &[Movement],
    mut ledger: Ledger,
) -> Result<Production, Problem> {
    let (mut source, mut production) = (tenant, Production::default());
    for (role, of) in
        [(Role::Produced, &mut production.made), (Role::Consumed, &mut production.used)]
    {
        // What was commissioned was made of nothing that is known.
        let in_one = |line: &&Movement| line.transformation.is_some() || !line.others.is_empty();
        let own: Vec<&Movement> =
            lines.iter().filter(|line| line.role == role).filter(in_one).collect();
        let read = ledger.transformations(&mut source, &own).await?;
        *of = read.as_deref().map(Yield::of);
    }
    production.limits = ledger.limits.into_iter().collect();
    Ok(production)
}

/// The ids of the partners of these lines that are ours.
fn partners(lines: &[Movement], role: Role) -> BTreeSet<Id> {
    lines
        .iter()
        .filter(|line| line.role == role)
        .filter_map(|line| line.partner.as_deref()?.strip_prefix(OURS)?.parse().ok())
        .collect()
}

async fn suppliers(
    call: &Call,
    batch: Option<&Stored<Batch>>,
    lines: &[Movement],
) -> Result<Vec<Operator>, Problem> {
    let mut ids = partners(lines, Role::Received);
    ids.extend(batch.and_then(|batch| batch.entity.supplier_id));
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(supplier) = call.tenant().get::<Supplier>(id).await? {
            let Supplier { name, country, gln, .. } = supplier.entity;
            found.push(Operator { id, name, country, gln });
        }
    }
    Ok(found)
}

async fn customers(call: &Call, lines: &[Movement]) -> Result<Vec<Stored<Customer>>, Problem> {
    let ids: Vec<String> = partners(lines, Role::Dispatched).iter().map(Id::to_string).collect();
    let mut found = Vec::with_capacity(ids.len());
    for some in ids.chunks(64) {
        let page = keystone::tenant::Page { after: None, limit: 100 };
        let filter = Filter::all().any("_id", some.to_vec());
        found.extend(call.tenant().list::<Customer>(filter, page).await?);
    }
    Ok(found)
}

/// The keys of partners who are named in this role and are none of ours.
fn strangers(lines: &[Movement], role: Role) -> BTreeSet<&str> {
    lines
        .iter()
        .filter(|line| line.role == role)
        .filter_map(|line| line.partner.as_deref())
        .filter(|partner| gln_of(partner).is_some())
        .collect()
}

fn missing(
    product: Option<&Product>,
    lines: &[Movement],
    suppliers: &[Operator],
    customers: &[Stored<Customer>],
) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut note = |what: String, law| missing.push(Missing { what, law });
    let made = lines.iter().any(|line| line.role == Role::Produced && !line.others.is_empty());
    if suppliers.is_empty() && !made {
        note("Whom it came from, or what it was made of.".into(), ART_18);
    }
    let nameless =
        |role: Role| lines.iter().any(|line| line.role == role && line.partner.is_none());
    if nameless(Role::Received) {
        note("The supplier of a receipt.".into(), ART_18);
    }
    if nameless(Role::Dispatched) {
        note("The customer of a dispatch.".into(), ART_18);
    }
    for (role, kind) in [(Role::Received, "supplier"), (Role::Dispatched, "customer")] {
        for stranger in strangers(lines, role) {
            note(format!("Who {stranger} is: no {kind} has this GLN."), ART_18);
        }
    }
    let Some(product) = product else {
        note("Whether it is of animal origin: its product is not recorded.".into(), ANIMAL_ORIGIN);
        return missing;
    };
    if product.animal_origin {
        if product.description.is_none() {
            note("The description of the product.".into(), ANIMAL_ORIGIN);
        }
        let unknown = |line: &Movement| line.quantity.is_none() && line.within.is_none();
        if lines.iter().any(unknown) {
            note("The quantity of a movement.".into(), ANIMAL_ORIGIN);
        }
        for customer in customers.iter().filter(|one| one.entity.delivery_address.is_none()) {
            note(format!("The address of the customer {}.", customer.id), ANIMAL_ORIGIN);
        }
        for supplier in suppliers.iter().filter(|one| one.gln.is_none()) {
            let what =
                format!("What leads to the address of the supplier {}: its GLN.", supplier.id);
            note(what, ANIMAL_ORIGIN);
        }
    }
    missing
}
