//! The one source of randomness: the operating system, through aws-lc.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use jiff::Timestamp;

pub use keystone_log::entry::Unavailable;

use crate::tenant::Id;

/// `N` bytes fit for keys, salts and tokens.
///
/// # Errors
/// [`Unavailable`] when the operating system has no randomness to give; the
/// caller must then refuse the operation.
pub fn bytes<const N: usize>() -> Result<[u8; N], Unavailable> {
    let mut out = [0u8; N];
    SystemRandom::new().fill(&mut out).map_err(|_| Unavailable)?;
    Ok(out)
}

/// A `UUIDv7` (RFC 9562 §5.7) for `now`: ids sort by the time they were made,
/// to the millisecond.
///
/// # Errors
/// [`Unavailable`], as for [`bytes`].
pub fn id(now: Timestamp) -> Result<Id, Unavailable> {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Ok(Id::from(uuid::Builder::from_unix_timestamp_millis(millis, &bytes::<10>()?).into_uuid()))
}
