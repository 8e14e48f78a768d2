//! Work of jobs, which leaves no audit entry, where a tenant's state is stored.

use keystone::tenant::schema;

pub const SUPPLIERS: schema::Runs = schema::Runs {
    collection: &schema::SUPPLIERS, //~ E0451
};
