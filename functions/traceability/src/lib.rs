//! Traceability: suppliers, customers, products and lots, and EPCIS events.
//!
//! Domain rules live in one module per thing; `routes` has one file per
//! route, and `src/bin` one four-line binary for each.

pub mod article_18;
pub mod batch;
pub mod capture;
pub mod contents;
pub mod correction;
pub mod customer;
pub mod entry;
pub mod epcis;
pub mod event;
pub mod event_query;
pub mod goods;
pub mod import;
pub mod ledger;
pub mod moment;
pub mod movement;
pub mod partner;
pub mod parts;
mod places;
mod posting;
pub mod product;
pub mod production;
pub mod recall;
pub mod routes;
pub mod site;
pub mod status;
pub mod steps;
pub mod supplier;
pub mod trace;
