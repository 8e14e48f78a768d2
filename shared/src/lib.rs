//! What every Keystone function shares: tenant enforcement, field encryption,
//! the audit trail, authentication and the request pipeline.
//!
//! The crate is built so that four mistakes do not compile:
//!
//! 1. a query without a tenant: the driver's types are private to [`tenant`],
//!    and a [`tenant::Tenant`] comes only from a verified session, an admitted
//!    sign-in attempt or a job that walks the registry;
//! 2. a write without an audit entry: write operations exist only on
//!    [`tenant::WriteTx`], which [`tenant::Tenant::audited`] hands out;
//! 3. plaintext by accident: [`crypto::Sealed`] and [`crypto::Plain`] have no
//!    `Serialize`, and their `Debug` shows nothing;
//! 4. a handler without authorisation: [`http::serve`] takes a route that
//!    names its permission, and only the pipeline makes a [`http::Call`].

pub mod audit;
pub mod auth;
pub mod bundles;
pub mod business_days;
pub mod calendar;
pub mod cell;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod erasure;
pub mod formats;
pub mod http;
pub mod job;
pub mod letters;
pub mod mail;
pub mod platform;
pub mod problem;
pub mod promises;
pub mod random;
pub mod restriction;
pub mod telemetry;
pub mod tenant;

pub use problem::{FieldError, Problem};

/// How a function's `main` ends: only when it cannot start.
pub type Exit = Result<(), lambda_runtime::Error>;
