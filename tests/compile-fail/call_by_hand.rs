//! A handler's context that no session stands behind.

use std::sync::Arc;

use keystone::auth::Principal;
use keystone::http::{Call, Request, Spec};
use keystone::platform::Platform;
use keystone::tenant::Tenant;

pub fn forged(
    request: Request,
    platform: Arc<Platform>,
    principal: Principal,
    tenant: Tenant,
    spec: &'static Spec,
) -> Call {
    Call { request, platform, principal, tenant, spec } //~ E0451
}
