//! A tenant's data without a session, an admitted attempt or a job.

use std::sync::Arc;

use keystone::crypto::Keyring;
use keystone::tenant::{Database, Tenant, TenantRecord};

pub fn forged(record: TenantRecord, database: Database, keys: Arc<Keyring>) -> Tenant {
    Tenant { record, database, keys } //~ E0451
}
