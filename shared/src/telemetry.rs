//! Structured logs and metrics. Neither ever carries personal data: request
//! bodies, headers, e-mail addresses and names have no place in a log line.

use tracing_subscriber::EnvFilter;

/// Starts JSON logging to standard output, which Lambda ships to `CloudWatch`.
/// The level comes from `LOG_LEVEL` (default `info`). A second call does
/// nothing.
pub fn init() {
    let filter = EnvFilter::try_from_env("LOG_LEVEL").unwrap_or_else(|_| EnvFilter::new("info"));
    // An error means that a subscriber is installed already.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_env_filter(filter)
        .try_init();
}
