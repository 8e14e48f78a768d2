//! One file per route.

use keystone::http::Route;

pub mod acknowledge_notice;
pub mod get_incident;
pub mod list_incidents;
pub mod list_notices;
pub mod make_incident_report;

/// Every route of this crate.
pub const ROUTES: [&Route; 5] = [
    &acknowledge_notice::ROUTE,
    &get_incident::ROUTE,
    &list_incidents::ROUTE,
    &list_notices::ROUTE,
    &make_incident_report::ROUTE,
];
