//! One file per route.

use keystone::http::Route;

pub mod create_batch;
pub mod create_customer;
pub mod create_product;
pub mod create_supplier;
pub mod erase_customer;
pub mod erase_supplier;
pub mod get_batch;
pub mod get_customer;
pub mod get_product;
pub mod get_supplier;
pub mod list_batches;
pub mod list_customers;
pub mod list_products;
pub mod list_suppliers;
pub mod update_batch;
pub mod update_customer;
pub mod update_supplier;

/// Every route of this crate.
pub const ROUTES: [&Route; 17] = [
    &create_batch::ROUTE,
    &create_customer::ROUTE,
    &create_product::ROUTE,
    &create_supplier::ROUTE,
    &erase_customer::ROUTE,
    &erase_supplier::ROUTE,
    &get_batch::ROUTE,
    &get_customer::ROUTE,
    &get_product::ROUTE,
    &get_supplier::ROUTE,
    &list_batches::ROUTE,
    &list_customers::ROUTE,
    &list_products::ROUTE,
    &list_suppliers::ROUTE,
    &update_batch::ROUTE,
    &update_customer::ROUTE,
    &update_supplier::ROUTE,
];
