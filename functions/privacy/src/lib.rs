//! What keeps personal data sealed, how a tenant takes its data along, and the
//! requests of people about their data (GDPR Art. 15 to 21).

pub mod bundle;
pub mod jobs;
pub mod request;
pub mod routes;
