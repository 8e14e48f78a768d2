//! The routes, each with its handler.

pub mod get_security_txt;
pub mod get_vulnerability_report;
pub mod list_security_credits;
pub mod list_sub_processor_changes;
pub mod list_sub_processor_uses;
pub mod list_sub_processors;
pub mod object_to_sub_processor;
pub mod report_vulnerability;

use keystone::http::{PublicRoute, Route};

/// Routes that ask for a session.
pub const ROUTES: [&Route; 3] = [
    &list_sub_processor_changes::ROUTE,
    &list_sub_processor_uses::ROUTE,
    &object_to_sub_processor::ROUTE,
];

/// Routes that anyone may call.
pub const PUBLIC_ROUTES: [&PublicRoute; 5] = [
    &get_security_txt::ROUTE,
    &get_vulnerability_report::ROUTE,
    &list_security_credits::ROUTE,
    &list_sub_processors::ROUTE,
    &report_vulnerability::ROUTE,
];
