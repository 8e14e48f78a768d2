//! What the provider owes to those outside: an answer to who reports a
//! vulnerability, and notice of its sub-processors to its customers.

pub mod jobs;
mod page;
pub mod routes;
pub mod sub_processor;
pub mod vulnerability;
