//! Functions that no HTTP client calls.

pub mod watch_data_subject_requests;
