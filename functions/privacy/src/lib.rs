//! What keeps personal data sealed: data keys and what they are in use for.

pub mod routes;
