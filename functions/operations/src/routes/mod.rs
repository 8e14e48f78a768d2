//! One file per route.

use keystone::http::PublicRoute;

pub mod health;
pub mod openapi;

/// Every route of this crate.
pub const ROUTES: [&PublicRoute; 2] = [&health::ROUTE, &openapi::ROUTE];
