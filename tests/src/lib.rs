//! The test harness: a deployed stack, tenants on it, and people who use it by
//! HTTP.
//!
//! A test provisions its own tenant, so that tests do not meet each other, and
//! ends with [`tenant::Tenant::finish`], which compares the audit trail with
//! what the test's clients were told was done. Every answer that a
//! [`client::Client`] receives must carry HSTS and must not be a 5xx.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a harness fails the test by panicking"
)]

pub mod authenticator;
pub mod aws;
pub mod bounce;
pub mod breach;
pub mod bulk;
pub mod client;
pub mod dairy;
pub mod event;
pub mod exports;
pub mod goods;
pub mod kills;
pub mod openapi;
pub mod operator;
pub mod routes;
pub mod runtime_api;
pub mod samples;
pub mod stack;
pub mod subject_requests;
pub mod tenant;
pub mod trail;
pub mod vault;
pub mod verdicts;

pub use client::{Answer, Client};
pub use stack::Stack;
pub use tenant::Tenant;
