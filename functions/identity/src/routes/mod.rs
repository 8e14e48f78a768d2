//! One file per route.

use keystone::http::{PublicRoute, Route};

pub mod accept_invitation;
pub mod activate_totp;
pub mod change_email;
pub mod change_password;
pub mod create_user;
pub mod end_all_sessions;
pub mod end_operator_access;
pub mod end_other_sessions;
pub mod end_session;
pub mod end_user_sessions;
pub mod enrol_totp;
pub mod erase_user;
pub mod finish_login;
pub mod get_tenant;
pub mod get_user;
pub mod invite_user;
pub mod list_operator_accesses;
pub mod list_roles;
pub mod list_sessions;
pub mod list_users;
pub mod login;
pub mod logout;
pub mod offboard_user;
pub mod reauthenticate;
pub mod remove_totp;
pub mod remove_user_totp;
pub mod request_email_change;
pub mod request_password_reset;
pub mod reset_password;
pub mod update_tenant;
pub mod update_user;

/// Every guarded route of this crate.
pub const ROUTES: [&Route; 25] = [
    &activate_totp::ROUTE,
    &change_password::ROUTE,
    &create_user::ROUTE,
    &end_all_sessions::ROUTE,
    &end_operator_access::ROUTE,
    &end_other_sessions::ROUTE,
    &end_session::ROUTE,
    &end_user_sessions::ROUTE,
    &enrol_totp::ROUTE,
    &erase_user::ROUTE,
    &get_tenant::ROUTE,
    &get_user::ROUTE,
    &invite_user::ROUTE,
    &list_operator_accesses::ROUTE,
    &list_roles::ROUTE,
    &list_sessions::ROUTE,
    &list_users::ROUTE,
    &logout::ROUTE,
    &offboard_user::ROUTE,
    &reauthenticate::ROUTE,
    &remove_totp::ROUTE,
    &remove_user_totp::ROUTE,
    &request_email_change::ROUTE,
    &update_tenant::ROUTE,
    &update_user::ROUTE,
];

/// Every public route of this crate.
pub const PUBLIC_ROUTES: [&PublicRoute; 6] = [
    &accept_invitation::ROUTE,
    &change_email::ROUTE,
    &finish_login::ROUTE,
    &login::ROUTE,
    &request_password_reset::ROUTE,
    &reset_password::ROUTE,
];
