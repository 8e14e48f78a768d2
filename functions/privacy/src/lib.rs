//! What keeps personal data sealed, and how a tenant takes its data along.

pub mod routes;
