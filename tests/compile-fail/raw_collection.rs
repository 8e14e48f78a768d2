//! The driver's collection, on which a filter could forget the tenant.

use keystone::tenant::{Database, Tenant};

pub fn of_tenant(tenant: &Tenant) {
    tenant.collection::<String>("suppliers"); //~ E0624
    tenant.audit_entries(); //~ E0624
    let _ = &tenant.database; //~ E0616
}

pub fn of_cluster(database: &Database) {
    let _ = &database.client; //~ E0616
}
