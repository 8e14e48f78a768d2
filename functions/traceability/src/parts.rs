//! Parts of entities that are looked up by many values at once.

use std::collections::BTreeSet;
use std::marker::PhantomData;

use futures::future::try_join_all;
use keystone::Problem;
use keystone::tenant::{Entity, Filter, Id, Part, Tenant};
use serde::Deserialize;

use crate::ledger::{AT_ONCE, LOOKED_UP};

/// A look-up by a list of values that gives so many documents may leave some out.
const FOUND: usize = 10_000;

/// The GLN of a site or a partner that has one.
#[derive(Deserialize)]
#[serde(bound = "")]
pub struct Gln<E> {
    /// The GLN.
    pub gln: String,
    #[serde(skip)]
    of: PhantomData<E>,
}

impl<E: Entity> Part for Gln<E> {
    type Of = E;
    const FIELDS: &'static [&'static str] = &["gln"];
}

/// That an entity is there.
#[derive(Deserialize)]
#[serde(bound = "")]
pub struct Known<E> {
    #[serde(skip)]
    of: PhantomData<E>,
}

impl<E: Entity> Part for Known<E> {
    type Of = E;
    const FIELDS: &'static [&'static str] = &[];
}

/// Parts of the entities whose `field` is one of `values`, which may be many, and
/// whether these are all.
pub async fn parts_among<P: Part>(
    tenant: &Tenant,
    field: &'static str,
    values: BTreeSet<String>,
) -> Result<(Vec<(Id, P)>, bool), Problem> {
    let values: Vec<String> = values.into_iter().collect();
    let chunks: Vec<Vec<String>> = values.chunks(LOOKED_UP).map(<[String]>::to_vec).collect();
    let (mut all, mut whole) = (Vec::new(), true);
    for some in chunks.chunks(AT_ONCE) {
        let found = some.iter().map(|values| {
            let filter = Filter::all().any(field, values.clone());
            tenant.parts::<P>(filter, i64::try_from(FOUND).unwrap_or(i64::MAX))
        });
        for found in try_join_all(found).await? {
            whole &= found.len() < FOUND;
            all.extend(found);
        }
    }
    Ok((all, whole))
}
