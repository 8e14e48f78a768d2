//! One file per route.

use keystone::http::Route;

pub mod create_data_subject_request;
pub mod export_tenant_data;
pub mod get_data_subject_request;
pub mod list_data_subject_requests;
pub mod list_keys;
pub mod list_tenant_data;
pub mod make_subject_bundle;
pub mod update_data_subject_request;

/// Every route of this crate.
pub const ROUTES: [&Route; 8] = [
    &create_data_subject_request::ROUTE,
    &export_tenant_data::ROUTE,
    &get_data_subject_request::ROUTE,
    &list_data_subject_requests::ROUTE,
    &list_keys::ROUTE,
    &list_tenant_data::ROUTE,
    &make_subject_bundle::ROUTE,
    &update_data_subject_request::ROUTE,
];
