//! A person whom no session proves.

use keystone::auth::session::SessionRecord;
use keystone::auth::{Principal, Role};

pub fn somebody(session: SessionRecord) -> Principal {
    Principal::new(Role::SuperAdmin, session) //~ E0624
}
