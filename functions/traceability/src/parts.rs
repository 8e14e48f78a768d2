//! Parts of entities that are looked up by many values at once.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use keystone::Problem;
use keystone::tenant::{Filter, Id, Part, Tenant};

use crate::trace::{AT_ONCE, LOOKED_UP};

/// Most documents that one query gives.
const FOUND: i64 = 10_000;

/// Parts of the entities whose `field` is one of `values`, which may be many.
pub async fn parts_among<P: Part>(
    tenant: &Tenant,
    field: &'static str,
    values: BTreeSet<String>,
) -> Result<Vec<(Id, P)>, Problem> {
    let values: Vec<String> = values.into_iter().collect();
    let chunks: Vec<Vec<String>> = values.chunks(LOOKED_UP).map(<[String]>::to_vec).collect();
    let mut all = Vec::new();
    for some in chunks.chunks(AT_ONCE) {
        let found = try_join_all(
            some.iter()
                .map(|values| tenant.parts::<P>(Filter::all().any(field, values.clone()), FOUND)),
        );
        all.extend(found.await?.into_iter().flatten());
    }
    Ok(all)
}
