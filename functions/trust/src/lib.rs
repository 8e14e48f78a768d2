//! What the public can hold the provider to: its posture, which it checks by
//! itself, and answers to security questionnaires that are made from it.

pub mod api_document;
pub mod catalogue;
pub mod checks;
pub mod isolation;
pub mod jobs;
pub mod oscal;
pub mod posture;
pub mod posture_log;
pub mod questionnaire;
pub mod questionnaire_watch;
pub mod routes;
