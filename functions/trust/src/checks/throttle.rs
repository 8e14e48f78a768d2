//! The throttle of sign-in, tried at an account that nobody has.

use std::net::Ipv6Addr;

use jiff::Timestamp;
use keystone::auth::throttle::{AccountKey, AdmitError, LIMIT, Purpose, WINDOW};
use keystone::random;
use keystone::tenant::StoreError;
use serde_json::json;

use super::{Blind, Finding, Look};

/// No tenant has such a slug.
const NOBODY: &str = "-";

/// What the claim says (C10).
const CLAIMED: (usize, i64) = (10, 15 * 60);

pub(super) async fn sign_in(look: &Look<'_>) -> Result<Finding, Blind> {
    let throttle = look.job.platform.throttle().await?;
    let account = random::bytes::<16>().map_err(StoreError::from)?;
    let account = AccountKey::new(NOBODY, &hex::encode(account));
    let attempt = async |at: Timestamp| -> Result<bool, Blind> {
        // Each from another block of addresses that nobody has (RFC 3849), so
        // that the account's count alone decides.
        let block = random::bytes::<4>().map_err(StoreError::from)?;
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        address[4..8].copy_from_slice(&block);
        let from = Ipv6Addr::from(address).into();
        match throttle.admit(at, from, &account, Purpose::SignIn).await {
            // Dropped, it stays counted as a failure.
            Ok(_) => Ok(true),
            Err(AdmitError::Locked { .. }) => Ok(false),
            Err(AdmitError::Store(error)) => Err(error.into()),
        }
    };
    let now = look.job.now;
    let mut admitted = 0;
    for _ in 0..=LIMIT {
        admitted += usize::from(attempt(now).await?);
    }
    let later = attempt(now + WINDOW).await?;
    let window = WINDOW.as_secs();
    let holds = admitted == CLAIMED.0 && window == CLAIMED.1 && later;
    let evidence = format!(
        "Of {} attempts one after another at an account that nobody has {admitted} were admitted; the next \
         {} after {} minutes.",
        LIMIT + 1,
        if later { "was" } else { "was not" },
        window / 60,
    );
    let facts = json!({ "tried": LIMIT + 1, "admitted": admitted, "window_seconds": window });
    Ok(Finding::of(holds, evidence, facts))
}
