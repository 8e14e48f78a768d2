//! Functions that no HTTP client calls.

pub mod attest_control;
pub mod check_posture;
pub mod handle_questionnaire;
pub mod probe_isolation;
