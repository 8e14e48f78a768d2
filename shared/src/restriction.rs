//! Restriction of processing (GDPR Art. 18): a mark on a person's record. While
//! it stands, no change of the record is committed ([`crate::tenant::WriteTx`]
//! sees to that, for every route), it is not erased, and its own route shows
//! what is sealed masked. docs/adr/0027 says what goes on nevertheless.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tenant::Id;

/// Why the use of a person's data is restricted (GDPR Art. 18(1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RestrictionGround")]
pub enum Ground {
    /// The person contests that the data is accurate (a).
    AccuracyContested,
    /// The processing is unlawful, and the person wants no erasure (b).
    Unlawful,
    /// The person needs the data for legal claims (c).
    LegalClaims,
    /// The person objected, and it is not decided yet (d).
    ObjectionPending,
}

/// The mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restriction {
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// Why.
    pub ground: Ground,
    /// The data-subject request that asks for it, and by which it is lifted.
    pub request_id: Id,
}

/// Whether a change goes on although the record is restricted, where it is of the
/// members that `paths` point to: whoever leaves, or whose session or second
/// factor somebody else has, is kept from signing in at once, and whoever may do
/// too much is given another role (Art. 18(2), rights of others).
pub(crate) fn spares<'p>(action: &str, mut paths: impl Iterator<Item = &'p str>) -> bool {
    match action {
        "user.offboard" | "user.end_sessions" | "user.remove_second_factor" => true,
        "user.update" => paths.all(|path| path == "/role"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::spares;

    #[test]
    fn of_a_restricted_user_only_the_role_changes() {
        let spared = |action, paths: &[&str]| spares(action, paths.iter().copied());
        assert!(spared("user.offboard", &["/status", "/password"]));
        assert!(spared("user.update", &["/role"]));
        assert!(!spared("user.update", &["/name"]));
        assert!(!spared("user.update", &["/name", "/role"]));
        assert!(!spared("user.erase", &["/role"]));
    }
}
