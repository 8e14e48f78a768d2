//! Access of the provider's operators to a tenant: for a reason, for a time,
//! ended by the tenant when it likes, and with no more than a reader's rights
//! (docs/adr/0040).

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tenant::{Entity, Id, Settings, schema};

/// An access as the tenant keeps it. It was granted when it was made, and it
/// is all that there is of it: there is no session record, so that an access
/// and what lets its bearer in cannot differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorAccess {
    /// Name of the person who looks.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// From when on it serves nothing.
    pub until: Timestamp,
    /// The tenant's sessions when it was granted, as
    /// [`Settings::session_epoch`] counts them: who ends them all ends this.
    pub epoch: i64,
    /// That the tenant ended it.
    #[serde(default)]
    pub ended: Option<Ended>,
}

/// That a user of the tenant ended an access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "EndOfOperatorAccess")]
pub struct Ended {
    /// Id of the user.
    pub by: Id,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

/// Where an access stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OperatorAccessState")]
pub enum AccessState {
    /// It serves requests.
    Open,
    /// The tenant ended it, or all of its sessions.
    Ended,
    /// Its time is over.
    Over,
}

impl Entity for OperatorAccess {
    const COLLECTION: &'static schema::Collection = &schema::OPERATOR_ACCESSES;
    const RESOURCE: &'static str = "operator_access";
    // Who reports a problem may be named in it.
    const PERSONAL: &'static [&'static str] = &["/reason"];
}

impl OperatorAccess {
    /// Where it stands at `now`, in a tenant with these settings.
    pub fn state(&self, settings: &Settings, now: Timestamp) -> AccessState {
        if self.ended.is_some() {
            AccessState::Ended
        } else if now >= self.until {
            AccessState::Over
        } else if self.epoch != settings.session_epoch {
            AccessState::Ended
        } else {
            AccessState::Open
        }
    }

    /// Whether a request may be served at `now`.
    pub fn serves(&self, settings: &Settings, now: Timestamp) -> bool {
        self.state(settings, now) == AccessState::Open
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::tenant::{Contact, Contacts};

    const TICK: SignedDuration = SignedDuration::from_nanos(1);

    fn settings(session_epoch: i64) -> Settings {
        let primary = Contact { name: "Orla".into(), email: "o@acme.example".into(), user: None };
        let contacts = Contacts { primary, security: None, billing: None };
        Settings { session_epoch, ..Settings::new(contacts, Timestamp::UNIX_EPOCH) }
    }

    fn access() -> OperatorAccess {
        OperatorAccess {
            operator: "Una Daly".into(),
            reason: "Ticket 7: lot L-7 is missing".into(),
            until: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(30),
            epoch: 2,
            ended: None,
        }
    }

    #[test]
    fn it_serves_until_its_time_is_over_and_no_longer() {
        let at = |now| access().state(&settings(2), now);
        assert_eq!(at(Timestamp::UNIX_EPOCH), AccessState::Open);
        assert_eq!(at(access().until - TICK), AccessState::Open);
        assert_eq!(at(access().until), AccessState::Over);
        assert!(access().serves(&settings(2), access().until - TICK));
        assert!(!access().serves(&settings(2), access().until));
    }

    #[test]
    fn the_tenant_ends_it_at_once_by_itself_or_with_all_sessions() {
        let now = Timestamp::UNIX_EPOCH;
        let ended = Some(Ended { by: Id::from_u128(1), at: now });
        let ended = OperatorAccess { ended, ..access() };
        assert_eq!(ended.state(&settings(2), now), AccessState::Ended);
        // It stays ended when its time is over, too.
        assert_eq!(ended.state(&settings(2), access().until), AccessState::Ended);
        assert_eq!(access().state(&settings(3), now), AccessState::Ended);
    }

    #[test]
    fn its_reason_is_personal_in_the_trail() {
        let shown = serde_json::to_value(access()).unwrap();
        for pointer in OperatorAccess::PERSONAL {
            assert!(shown.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
