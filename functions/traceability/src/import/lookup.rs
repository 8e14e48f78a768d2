//! What the rows of a table refer to, found for many rows at once.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use keystone::Problem;
use keystone::tenant::{Entity, Filter, Id, Part, WriteTx};
use serde::Deserialize;

use crate::batch::{Batch, BatchState};
use crate::product::Product;
use crate::site::Site;

/// How many values one query looks for; see [`crate::capture`].
const LOOKED_UP: usize = 64;
/// Lengths of a GTIN (GS1 General Specifications §3.3.2).
const GTINS: [usize; 4] = [8, 12, 13, 14];

#[derive(Deserialize)]
struct Gtin {
    gtin: String,
}

impl Part for Gtin {
    type Of = Product;
    const FIELDS: &'static [&'static str] = &["gtin"];
}

#[derive(Deserialize)]
struct Gln {
    gln: String,
}

impl Part for Gln {
    type Of = Site;
    const FIELDS: &'static [&'static str] = &["gln"];
}

/// That there is such a thing.
#[derive(Deserialize)]
#[serde(bound = "")]
struct There<E> {
    #[serde(skip)]
    of: PhantomData<E>,
}

impl<E: Entity> Part for There<E> {
    type Of = E;
    const FIELDS: &'static [&'static str] = &["version"];
}

/// A lot that is there.
#[derive(Deserialize)]
pub(super) struct Recorded {
    product_id: Id,
    lot_number: String,
    /// Whether it may be used.
    pub(super) state: BatchState,
}

impl Part for Recorded {
    type Of = Batch;
    const FIELDS: &'static [&'static str] = &["product_id", "lot_number", "state"];
}

/// All parts whose `field` has one of these values.
async fn all<P: Part>(
    tx: &mut WriteTx<'_>,
    field: &'static str,
    values: BTreeSet<String>,
) -> Result<Vec<(Id, P)>, Problem> {
    let values: Vec<String> = values.into_iter().collect();
    let mut found = Vec::new();
    for some in values.chunks(LOOKED_UP) {
        found.extend(tx.parts::<P>(Filter::all().any(field, some.to_vec()), i64::MAX).await?);
    }
    Ok(found)
}

/// The GTIN with all its zeros: a spreadsheet takes them for nothing.
pub(super) fn gtin14(gtin: &str) -> String {
    format!("{gtin:0>14}")
}

/// The products with these GTINs, by the GTIN with 14 digits, and each with the
/// GTIN as it is recorded.
pub(super) async fn products<'r>(
    tx: &mut WriteTx<'_>,
    gtins: impl Iterator<Item = &'r str>,
) -> Result<BTreeMap<String, (Id, String)>, Problem> {
    let spellings = gtins.flat_map(|gtin| {
        let digits = gtin.trim_start_matches('0');
        GTINS.iter().filter(|n| **n >= digits.len()).map(move |n| format!("{digits:0>n$}", n = *n))
    });
    let found = all::<Gtin>(tx, "gtin", spellings.collect()).await?;
    Ok(found.into_iter().map(|(id, product)| (gtin14(&product.gtin), (id, product.gtin))).collect())
}

/// The lots with these numbers, by product and number.
pub(super) async fn lots<'r>(
    tx: &mut WriteTx<'_>,
    numbers: impl Iterator<Item = &'r str>,
) -> Result<BTreeMap<(Id, String), (Id, Recorded)>, Problem> {
    let found = all::<Recorded>(tx, "lot_number", numbers.map(str::to_owned).collect()).await?;
    Ok(found
        .into_iter()
        .map(|(id, lot)| ((lot.product_id, lot.lot_number.clone()), (id, lot)))
        .collect())
}

/// Which of these GLNs are those of sites.
pub(super) async fn sites<'r>(
    tx: &mut WriteTx<'_>,
    glns: impl Iterator<Item = &'r str>,
) -> Result<BTreeSet<String>, Problem> {
    let found = all::<Gln>(tx, "gln", glns.map(str::to_owned).collect()).await?;
    Ok(found.into_iter().map(|(_, site)| site.gln).collect())
}

/// Which of these suppliers or customers there are.
pub(super) async fn there<E: Entity>(
    tx: &mut WriteTx<'_>,
    ids: impl Iterator<Item = Id>,
) -> Result<BTreeSet<Id>, Problem> {
    let found = all::<There<E>>(tx, "_id", ids.map(|id| id.to_string()).collect()).await?;
    Ok(found.into_iter().map(|(id, There { of: _ })| id).collect())
}
