//! A person whom no session proves.

use keystone::auth::{Principal, Role};
use keystone::tenant::Id;

pub fn somebody(user: Id, session: Id) -> Principal {
    Principal::new(user, Role::SuperAdmin, session) //~ E0624
}
