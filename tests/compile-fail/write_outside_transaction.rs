//! Writes for which no audit entry would be made.

use keystone::tenant::{Attribution, Id, Stored, Tenant, WriteTx};
use keystone_traceability::product::Product;

pub async fn on_the_tenant(tenant: &Tenant, id: Id, product: Product, stored: Stored<Product>) {
    tenant.insert(id, product.clone()).await; //~ E0599
    tenant.replace(&stored, product).await; //~ E0599
}

pub async fn without_entry(tenant: &Tenant, by: &Attribution) {
    let _ = WriteTx::begin(tenant, by.now).await; //~ E0624
}

pub async fn without_trace(tx: &mut WriteTx<'_>, id: Id, product: Product) {
    let _ = tx.keep(id, product).await; //~ E0624
}
