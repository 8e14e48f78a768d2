//! People who may sign in to a tenant.

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::Role;
use super::password::PasswordHash;
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
        };
        Ok((user, token))
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
