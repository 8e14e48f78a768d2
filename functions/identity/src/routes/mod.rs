//! One file per route.

use keystone::http::{PublicRoute, Route};

pub mod accept_invitation;
pub mod create_user;
pub mod end_other_sessions;
pub mod end_session;
pub mod get_user;
pub mod list_roles;
pub mod list_sessions;
pub mod list_users;
pub mod login;
pub mod logout;
pub mod offboard_user;
pub mod update_user;

/// Every guarded route of this crate.
pub const ROUTES: [&Route; 10] = [
    &create_user::ROUTE,
    &end_other_sessions::ROUTE,
    &end_session::ROUTE,
    &get_user::ROUTE,
    &list_roles::ROUTE,
    &list_sessions::ROUTE,
    &list_users::ROUTE,
    &logout::ROUTE,
    &offboard_user::ROUTE,
    &update_user::ROUTE,
];

/// Every public route of this crate.
pub const PUBLIC_ROUTES: [&PublicRoute; 2] = [&accept_invitation::ROUTE, &login::ROUTE];
