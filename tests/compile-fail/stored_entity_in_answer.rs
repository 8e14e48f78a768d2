//! A stored document as an answer, sealed fields and all.

use keystone::Problem;
use keystone::http::Reply;
use keystone::tenant::Stored;
use keystone_traceability::supplier::Supplier;

pub fn whole(stored: &Stored<Supplier>) -> Result<Reply, Problem> {
    Reply::ok(stored) //~ E0277
}

pub fn entity(stored: &Stored<Supplier>) -> Result<Reply, Problem> {
    Reply::ok(&stored.entity) //~ E0277
}
