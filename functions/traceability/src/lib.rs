//! Traceability: suppliers, customers, products and lots.
//!
//! Domain rules live in one module per thing; `routes` has one file per
//! route, and `src/bin` one four-line binary for each.

pub mod batch;
pub mod customer;
pub mod product;
pub mod routes;
pub mod supplier;
