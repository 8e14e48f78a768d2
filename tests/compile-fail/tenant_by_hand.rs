//! A tenant's data without a session, an admitted attempt or a job.

use keystone::crypto::TenantKeys;
use keystone::tenant::{Database, Tenant, TenantRecord};

pub fn forged(record: TenantRecord, database: Database, keys: TenantKeys) -> Tenant {
    Tenant { record, database, keys } //~ E0451
}
