//! A transaction's handle that outlives its transaction.

use keystone::Problem;
use keystone::tenant::{Attribution, Tenant, WriteTx};

pub async fn smuggled<'t>(
    tenant: &'t Tenant,
    by: &Attribution,
    out: &mut Option<&'t mut WriteTx<'t>>,
) -> Result<(), Problem> {
    tenant
        .audited(by, "product.create", async |tx: &mut WriteTx<'_>| {
            *out = Some(tx); //~ E0521, without code
            Ok(())
        })
        .await
}
