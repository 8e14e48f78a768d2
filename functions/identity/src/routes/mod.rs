//! One file per route.

use keystone::http::{PublicRoute, Route};

pub mod accept_invitation;
pub mod create_user;
pub mod login;
pub mod logout;

/// Every guarded route of this crate.
pub const ROUTES: [&Route; 2] = [&create_user::ROUTE, &logout::ROUTE];

/// Every public route of this crate.
pub const PUBLIC_ROUTES: [&PublicRoute; 2] = [&accept_invitation::ROUTE, &login::ROUTE];
