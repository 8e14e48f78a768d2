//! The one place where the wall clock is read.
//!
//! Domain code takes the time as an argument; `clippy.toml` refuses direct use
//! of the clock anywhere else, so that a test can put any rule at any moment.

use jiff::Timestamp;

/// The present moment in UTC, to the millisecond, which is what the stores
/// keep; read once per request or job step by the code
/// that starts it and passed on from there.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
