//! A person whom no session proves, and no access of an operator.

use keystone::auth::operator::OperatorAccess;
use keystone::auth::session::SessionRecord;
use keystone::auth::{Principal, Role};
use keystone::tenant::Stored;

pub fn somebody(session: SessionRecord) -> Principal {
    Principal::new(Role::SuperAdmin, session) //~ E0624
}

pub fn somebody_else(access: Stored<OperatorAccess>) -> Principal {
    Principal::operator(access) //~ E0624
}
