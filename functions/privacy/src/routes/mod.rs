//! One file per route.

use keystone::http::Route;

pub mod export_tenant_data;
pub mod list_keys;
pub mod list_tenant_data;

/// Every route of this crate.
pub const ROUTES: [&Route; 3] =
    [&export_tenant_data::ROUTE, &list_keys::ROUTE, &list_tenant_data::ROUTE];
