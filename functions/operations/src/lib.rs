//! Running the platform: provisioning, mail delivery, health, API document.

pub mod jobs;
pub mod routes;
