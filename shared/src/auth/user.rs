//! People who may sign in to a tenant.

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::Role;
use super::password::PasswordHash;
use super::session::SessionRecord;
use crate::random;
use crate::tenant::{Entity, schema};

/// How long an invitation may be accepted.
pub const INVITATION_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Where a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    /// Invited by e-mail, has no password yet.
    Invited,
    /// May sign in.
    Active,
    /// Offboarded.
    Deactivated,
}

impl UserStatus {
    /// The status's name in documents and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Deactivated => "deactivated",
        }
    }
}

/// An open invitation. The token itself is only in the mail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invitation {
    /// SHA-256 of the token, hex.
    pub token_hash: String,
    /// Until when it may be accepted.
    pub expires_at: Timestamp,
}

/// A user of a tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// E-mail address in the form that [`canonical_email`] gives; unique.
    pub email: String,
    /// Name of the person.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// Whether the person may sign in.
    pub status: UserStatus,
    /// Absent until the invitation is accepted.
    #[serde(default)]
    pub password: Option<PasswordHash>,
    /// The open invitation.
    #[serde(default)]
    pub invitation: Option<Invitation>,
    /// When the invitation was accepted. A session from before, made while the
    /// person was being offboarded, does not come back to life.
    #[serde(default)]
    pub activated_at: Option<Timestamp>,
}

impl Entity for User {
    const COLLECTION: &'static schema::Collection = &schema::USERS;
    const RESOURCE: &'static str = "user";
    const PERSONAL: &'static [&'static str] = &["/email", "/name"];
    const SECRET: &'static [&'static str] = &["/password", "/invitation/token_hash"];
}

impl User {
    /// A user who is to be invited, and the token to send.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub fn invite(
        email: &str,
        name: String,
        role: Role,
        now: Timestamp,
    ) -> Result<(Self, InvitationToken), random::Unavailable> {
        let token = InvitationToken(hex::encode(random::bytes::<32>()?));
        let user = Self {
            email: canonical_email(email),
            name,
            role,
            status: UserStatus::Invited,
            password: None,
            invitation: Some(Invitation {
                token_hash: token.hash(),
                expires_at: now + INVITATION_LIFE,
            }),
            activated_at: None,
        };
        Ok((user, token))
    }

    /// Whether a request of `session` may be served: the user is active, and
    /// has been since before the session was made.
    pub fn accepts(&self, session: &SessionRecord) -> bool {
        self.status == UserStatus::Active
            && self
                .activated_at
                .is_none_or(|at| at.as_millisecond() <= session.created_at.as_millisecond())
    }

    /// The user without any way to sign in: no password, no open invitation.
    #[must_use]
    pub fn deactivated(self) -> Self {
        Self { status: UserStatus::Deactivated, password: None, invitation: None, ..self }
    }
}

/// The secret of an invitation: 256 random bits, hex.
pub struct InvitationToken(String);

impl InvitationToken {
    /// A token as somebody sent it.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text that goes into the mail.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The form in which it is stored.
    pub fn hash(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, self.0.as_bytes()))
    }
}

/// The one spelling of an e-mail address under which an account is kept:
/// trimmed, NFKC, lower case.
pub fn canonical_email(email: &str) -> String {
    email.trim().nfkc().collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::session::LIFETIME;
    use crate::tenant::Id;

    fn session(created_at: Timestamp) -> SessionRecord {
        SessionRecord {
            sid: Id::from_u128(1),
            tenant: "acme-dairy".into(),
            user: Id::from_u128(2),
            role: "viewer".into(),
            amr: vec!["pwd".into()],
            source_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            user_agent: None,
            created_at,
            last_seen: created_at,
            expires_at: created_at + LIFETIME,
        }
    }

    #[test]
    fn only_an_active_user_accepts_a_session_and_none_from_before() {
        let at = Timestamp::from_millisecond(1_700_000_000_000).unwrap();
        let (invited, _) = User::invite("eve@example.com", "Eve".into(), Role::Viewer, at).unwrap();
        assert!(!invited.accepts(&session(at)));
        let active = User {
            status: UserStatus::Active,
            invitation: None,
            activated_at: Some(at),
            ..invited
        };
        assert!(active.accepts(&session(at)));
        assert!(!active.accepts(&session(at - SignedDuration::from_millis(1))));
        let gone = active.deactivated();
        assert!(!gone.accepts(&session(at)));
        assert!(gone.password.is_none() && gone.invitation.is_none());
    }

    #[test]
    fn a_status_keeps_its_name() {
        for status in [UserStatus::Invited, UserStatus::Active, UserStatus::Deactivated] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }
}
