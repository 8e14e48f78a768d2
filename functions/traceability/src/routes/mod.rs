//! One file per route.

use keystone::http::Route;

pub mod capture_events;
pub mod close_recall;
pub mod create_adjustment;
pub mod create_batch;
pub mod create_customer;
pub mod create_dispatch;
pub mod create_event;
pub mod create_product;
pub mod create_recall;
pub mod create_receipt;
pub mod create_site;
pub mod create_supplier;
pub mod create_transformation;
pub mod create_waste;
pub mod declare_event_error;
pub mod erase_customer;
pub mod erase_supplier;
pub mod get_batch;
pub mod get_batch_evidence;
pub mod get_capture;
pub mod get_customer;
pub mod get_event;
pub mod get_event_history;
pub mod get_product;
pub mod get_recall;
pub mod get_recall_pack;
pub mod get_site;
pub mod get_supplier;
pub mod import_batches;
pub mod import_dispatches;
pub mod list_batches;
pub mod list_customers;
pub mod list_events;
pub mod list_products;
pub mod list_recall_recipients;
pub mod list_recalls;
pub mod list_sites;
pub mod list_suppliers;
pub mod make_recall_pack;
pub mod record_recall_notice;
pub mod set_event_status;
pub mod trace_batch;
pub mod update_batch;
pub mod update_customer;
pub mod update_site;
pub mod update_supplier;

/// Every route of this crate.
pub const ROUTES: [&Route; 46] = [
    &capture_events::ROUTE,
    &close_recall::ROUTE,
    &create_adjustment::ROUTE,
    &create_batch::ROUTE,
    &create_customer::ROUTE,
    &create_dispatch::ROUTE,
    &create_event::ROUTE,
    &create_product::ROUTE,
    &create_recall::ROUTE,
    &create_receipt::ROUTE,
    &create_site::ROUTE,
    &create_supplier::ROUTE,
    &create_transformation::ROUTE,
    &create_waste::ROUTE,
    &declare_event_error::ROUTE,
    &erase_customer::ROUTE,
    &erase_supplier::ROUTE,
    &get_batch::ROUTE,
    &get_batch_evidence::ROUTE,
    &get_capture::ROUTE,
    &get_customer::ROUTE,
    &get_event::ROUTE,
    &get_event_history::ROUTE,
    &get_product::ROUTE,
    &get_recall::ROUTE,
    &get_recall_pack::ROUTE,
    &get_site::ROUTE,
    &get_supplier::ROUTE,
    &import_batches::ROUTE,
    &import_dispatches::ROUTE,
    &list_batches::ROUTE,
    &list_customers::ROUTE,
    &list_events::ROUTE,
    &list_products::ROUTE,
    &list_recall_recipients::ROUTE,
    &list_recalls::ROUTE,
    &list_sites::ROUTE,
    &list_suppliers::ROUTE,
    &make_recall_pack::ROUTE,
    &record_recall_notice::ROUTE,
    &set_event_status::ROUTE,
    &trace_batch::ROUTE,
    &update_batch::ROUTE,
    &update_customer::ROUTE,
    &update_site::ROUTE,
    &update_supplier::ROUTE,
];
