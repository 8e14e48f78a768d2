//! People who may sign in to a tenant.

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use super::Role;
use super::password::PasswordHash;
use super::session::SessionRecord;
use super::totp::Seed;
use crate::crypto::{Place, Sealed, Subject, at_rest_option};
use crate::erasure::Erasable;
use crate::random;
use crate::restriction::Restriction;
use crate::tenant::{Entity, Id, Stored, schema};

/// How long an invitation may be accepted.
pub const INVITATION_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long a forgotten password may be replaced after it was asked for.
pub const RESET_LIFE: SignedDuration = SignedDuration::from_mins(30);

/// How long another e-mail address may be confirmed after it was named.
pub const EMAIL_CHANGE_LIFE: SignedDuration = SignedDuration::from_mins(30);

/// What the address of an erased user ends in; no mail goes there (RFC 6761),
/// and no input has it (`formats::is_email`).
const ERASED_DOMAIN: &str = "@erased.invalid";

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

/// What is stored of a token that was mailed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mailed {
    /// SHA-256 of the token, hex.
    token_hash: String,
    /// Until when it may be used.
    expires_at: Timestamp,
    /// The tenant's sessions when it was mailed, as
    /// [`Settings::session_epoch`] counts them.
    ///
    /// [`Settings::session_epoch`]: crate::tenant::Settings::session_epoch
    #[serde(default)]
    epoch: i64,
}

impl Mailed {
    /// Whether the token may still be used at `now`, in this epoch of the
    /// tenant's sessions: what was mailed before all of them were ended may have
    /// been asked for by whom that was done against.
    pub fn is_open(&self, epoch: i64, now: Timestamp) -> bool {
        now < self.expires_at && epoch == self.epoch
    }
}

/// A second factor: an authenticator app, and codes for when it is lost.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondFactor {
    /// When the app was shown to work; until then nobody is asked for it.
    #[serde(default)]
    pub active_since: Option<Timestamp>,
    /// SHA-256 of the recovery codes that were not used yet, hex.
    #[serde(default)]
    pub recovery_codes: Vec<String>,
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
    pub invitation: Option<Mailed>,
    /// Where an earlier release kept a request for another password. Read
    /// over, and gone with the next write.
    #[serde(default, skip_serializing)]
    pub password_reset: IgnoredAny,
    /// The second factor, also while it is being set up.
    #[serde(default)]
    pub second_factor: Option<SecondFactor>,
    /// The seed that the authenticator app shares.
    #[serde(default, with = "at_rest_option")]
    pub totp_seed: Option<Sealed<Seed>>,
    /// Counts the changes of e-mail address, password and second factor. A
    /// session or a half-finished sign-in from before the last one is not
    /// accepted.
    pub credentials: i64,
    /// That the user's data is stored and not used (GDPR Art. 18).
    #[serde(default)]
    pub restriction: Option<Restriction>,
}

impl Entity for User {
    const COLLECTION: &'static schema::Collection = &schema::USERS;
    const RESOURCE: &'static str = "user";
    const PERSONAL: &'static [&'static str] = &["/email", "/name"];
    const SECRET: &'static [&'static str] =
        &["/password", "/invitation/token_hash", "/second_factor/recovery_codes"];
}

impl User {
    /// A user who is to be invited in this epoch of the tenant's sessions, and
    /// the token to send.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub fn invite(
        email: &str,
        name: String,
        role: Role,
        epoch: i64,
        now: Timestamp,
    ) -> Result<(Self, MailedToken), random::Unavailable> {
        let token = MailedToken::new()?;
        let user = Self {
            email: canonical_email(email),
            name,
            role,
            status: UserStatus::Invited,
            password: None,
            invitation: Some(token.lasting(now + INVITATION_LIFE, epoch)),
            password_reset: IgnoredAny,
            second_factor: None,
            totp_seed: None,
            credentials: 0,
            restriction: None,
        };
        Ok((user, token))
    }

    /// The user with another invitation in place of the one before, and the
    /// token to send.
    ///
    /// # Errors
    /// As [`User::invite`].
    pub fn invited_again(
        self,
        epoch: i64,
        now: Timestamp,
    ) -> Result<(Self, MailedToken), random::Unavailable> {
        let token = MailedToken::new()?;
        let invitation = Some(token.lasting(now + INVITATION_LIFE, epoch));
        Ok((Self { invitation, ..self }, token))
    }

    /// Whether a request of `session` may be served: the user is active, and
    /// has the credentials with which the session was made.
    pub fn accepts(&self, session: &SessionRecord) -> bool {
        self.status == UserStatus::Active && self.credentials == session.credentials
    }

    /// Whether nothing is left that tells who the user was.
    pub fn is_erased(&self) -> bool {
        self.status == UserStatus::Deactivated && self.email.ends_with(ERASED_DOMAIN)
    }

    /// When the second factor was shown to work, if there is one.
    pub fn second_factor_since(&self) -> Option<Timestamp> {
        self.second_factor.as_ref().and_then(|factor| factor.active_since)
    }

    /// The user with another password, who must sign in with it: earlier
    /// sessions, and tokens by which it could be set, are worth nothing, and
    /// so is an app that somebody began to set up with them.
    #[must_use]
    pub fn with_password(self, password: PasswordHash) -> Self {
        let pending = self.second_factor_since().is_none();
        let user = if pending { self.without_second_factor() } else { self.signed_out() };
        Self { status: UserStatus::Active, password: Some(password), invitation: None, ..user }
    }

    /// The user with another e-mail address, in the form that
    /// [`canonical_email`] gives, who must sign in with it: earlier sessions
    /// and mailed tokens are worth nothing.
    #[must_use]
    pub fn with_email(self, email: String) -> Self {
        Self { email, ..self.signed_out() }
    }

    /// The user, all of whose sessions and half-finished sign-ins are worth
    /// nothing.
    #[must_use]
    pub fn signed_out(self) -> Self {
        Self { credentials: self.credentials + 1, ..self }
    }

    /// The user without a second factor; earlier sessions are worth nothing.
    #[must_use]
    pub fn without_second_factor(self) -> Self {
        Self { second_factor: None, totp_seed: None, ..self.signed_out() }
    }

    /// The user without any way to sign in.
    #[must_use]
    pub fn deactivated(self) -> Self {
        Self {
            status: UserStatus::Deactivated,
            password: None,
            invitation: None,
            ..self.without_second_factor()
        }
    }
}

/// What a token lets its bearer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailedFor {
    /// Choose another password.
    PasswordReset,
    /// Sign in with the address that the token was mailed to.
    EmailChange,
}

/// A token that an active user was mailed. It stands beside the user, so that
/// whoever asks for one neither changes the user under somebody's hands nor
/// voids another's; any change of credentials voids them all, and so does the
/// end of all sessions of the tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailedTo {
    /// Whose token it is.
    pub user: Id,
    /// What it is good for.
    pub purpose: MailedFor,
    /// What is kept of it.
    pub token: Mailed,
    /// The credentials of the user when it was mailed.
    pub credentials: i64,
    /// The address that the token makes the user's, as [`canonical_email`]
    /// gives it; for [`MailedFor::EmailChange`] only.
    #[serde(default, with = "at_rest_option")]
    pub new_email: Option<Sealed<String>>,
}

impl Entity for MailedTo {
    const COLLECTION: &'static schema::Collection = &schema::MAILED_TOKENS;
    const RESOURCE: &'static str = "mailed_token";
    const PERSONAL: &'static [&'static str] = &[];
    const SECRET: &'static [&'static str] = &["/token/token_hash"];
}

impl MailedTo {
    /// Whether `user` may use it at `now` for `purpose`, in this epoch of the
    /// tenant's sessions.
    pub fn opens(
        &self,
        user: &Stored<User>,
        purpose: MailedFor,
        epoch: i64,
        now: Timestamp,
    ) -> bool {
        self.user == user.id
            && self.purpose == purpose
            && self.token.is_open(epoch, now)
            && user.entity.status == UserStatus::Active
            && user.entity.credentials == self.credentials
    }
}

impl Erasable for User {
    fn subject(id: Id) -> Subject {
        Subject::User(id)
    }

    /// The account stays, so that what was done with it keeps its actor.
    fn erased(&self, id: Id) -> Self {
        let (email, name) = (format!("erased-{id}{ERASED_DOMAIN}"), "Erased".to_owned());
        Self { email, name, ..self.clone().deactivated() }
    }
}

/// Where the seed of the user's authenticator app is sealed.
pub fn seed_place(user: Id) -> Place<'static> {
    Place { collection: schema::USERS.name, document: user, field: "totp_seed" }
}

/// Where the address that a mailed token makes its user's is sealed.
pub fn new_email_place(mailed: Id) -> Place<'static> {
    Place { collection: schema::MAILED_TOKENS.name, document: mailed, field: "new_email" }
}

/// A token that proves that its bearer reads the mail of an address: 256
/// random bits, hex.
pub struct MailedToken(String);

impl MailedToken {
    /// A token that nobody has.
    ///
    /// # Errors
    /// When no randomness is to be had.
    pub fn new() -> Result<Self, random::Unavailable> {
        Ok(Self(hex::encode(random::bytes::<32>()?)))
    }

    /// A token as somebody sent it.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text that goes into the mail.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The form in which it is stored and found.
    pub fn hash(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, self.0.as_bytes()))
    }

    /// What is stored of it when it is mailed in this epoch of the tenant's
    /// sessions.
    pub fn lasting(&self, expires_at: Timestamp, epoch: i64) -> Mailed {
        Mailed { token_hash: self.hash(), expires_at, epoch }
    }
}

/// The one spelling of an e-mail address under which an account is kept:
/// trimmed, NFKC, lower case.
pub fn canonical_email(email: &str) -> String {
    email.trim().nfkc().collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use mongodb::bson;

    use super::*;
    use crate::auth::session::LIFETIME;
    use crate::tenant::Id;

    fn session(credentials: i64) -> SessionRecord {
        let created_at = Timestamp::UNIX_EPOCH;
        SessionRecord {
            sid: Id::from_u128(1),
            tenant: "acme-dairy".into(),
            user: Id::from_u128(2),
            role: "viewer".into(),
            credentials,
            epoch: 0,
            amr: vec!["pwd".into()],
            source_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            user_agent: None,
            created_at,
            last_seen: created_at,
            expires_at: created_at + LIFETIME,
        }
    }

    fn invited() -> User {
        let at = Timestamp::UNIX_EPOCH;
        User::invite("eve@example.com", "Eve".into(), Role::Viewer, 0, at).unwrap().0
    }

    #[test]
    fn only_an_active_user_accepts_a_session_and_none_from_before() {
        assert!(!invited().accepts(&session(0)));
        let active = User { status: UserStatus::Active, ..invited() };
        assert!(active.accepts(&session(0)));
        let changed = active.clone().without_second_factor();
        assert!(!changed.accepts(&session(0)) && changed.accepts(&session(1)));
        let gone = changed.deactivated();
        assert!((0..9).all(|credentials| !gone.accepts(&session(credentials))));
        assert!(gone.password.is_none() && gone.invitation.is_none());
    }

    #[test]
    fn another_password_undoes_an_app_that_was_not_shown_to_work() {
        let hash = || -> PasswordHash {
            serde_json::from_value(serde_json::json!({ "pepper_id": "k1", "hash": "" })).unwrap()
        };
        let with = |active_since| {
            let factor = SecondFactor { active_since, recovery_codes: vec!["00".into()] };
            User { second_factor: Some(factor), ..invited() }
        };
        let begun = with(None).with_password(hash());
        assert!(begun.second_factor.is_none() && begun.credentials == 1);
        let active = with(Some(Timestamp::UNIX_EPOCH)).with_password(hash());
        assert!(active.second_factor_since().is_some() && active.credentials == 1);
    }

    #[test]
    fn a_mailed_token_ends_on_time_and_with_all_sessions() {
        let sent = Timestamp::UNIX_EPOCH;
        let kept = MailedToken::new().unwrap().lasting(sent + RESET_LIFE, 3);
        assert!(kept.is_open(3, sent + RESET_LIFE - SignedDuration::from_millis(1)));
        assert!(!kept.is_open(3, sent + RESET_LIFE));
        assert!(!kept.is_open(4, sent));
    }

    #[test]
    fn a_mailed_token_is_good_for_one_purpose_until_credentials_change() {
        let now = Timestamp::UNIX_EPOCH;
        let user = User { status: UserStatus::Active, ..invited() };
        let stored = |id, entity| Stored {
            id: Id::from_u128(id),
            version: 1,
            created_at: now,
            updated_at: now,
            entity,
        };
        let token = MailedTo {
            user: Id::from_u128(2),
            purpose: MailedFor::PasswordReset,
            token: MailedToken::new().unwrap().lasting(now + RESET_LIFE, 7),
            credentials: user.credentials,
            new_email: None,
        };
        assert!(!token.opens(&stored(2, user.clone()), MailedFor::EmailChange, 7, now));
        assert!(!token.opens(&stored(2, user.clone()), MailedFor::PasswordReset, 8, now));
        let opens = |id, user, at| token.opens(&stored(id, user), MailedFor::PasswordReset, 7, at);
        assert!(opens(2, user.clone(), now));
        assert!(!opens(3, user.clone(), now));
        assert!(!opens(2, user.clone(), now + RESET_LIFE));
        assert!(!opens(2, user.clone().signed_out(), now));
        assert!(!opens(2, user.clone().with_email("ada@example.com".into()), now));
        assert!(!opens(2, user.deactivated(), now));
        assert!(!opens(2, invited(), now));
    }

    #[test]
    fn an_erased_user_is_told_from_one_with_such_an_address() {
        let erased = invited().erased(Id::from_u128(2));
        assert!(erased.is_erased());
        assert!(!invited().deactivated().is_erased());
        let posing = User { email: erased.email.clone(), ..invited() };
        assert!(!posing.is_erased());
    }

    #[test]
    fn a_user_of_an_earlier_release_is_read() {
        // Through the binary format, as users are stored.
        let stored = |user: &User| {
            let bytes = bson::serialize_to_vec(user).unwrap();
            bson::Document::from_reader(bytes.as_slice()).unwrap()
        };
        let mut old = stored(&invited());
        let reset = bson::doc! { "token_hash": "00", "expires_at": "2026-01-01T00:00:00Z" };
        for reset in [bson::Bson::Null, reset.into()] {
            old.insert("password_reset", reset);
            let read: User = bson::deserialize_from_document(old.clone()).unwrap();
            assert!(!stored(&read).contains_key("password_reset"));
        }
    }

    #[test]
    fn a_status_keeps_its_name() {
        for status in [UserStatus::Invited, UserStatus::Active, UserStatus::Deactivated] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
    }
}
