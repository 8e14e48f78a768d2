//! What a tenant decides for itself: whom we reach, who needs a second
//! factor, how often the audit trail is reviewed, whether data may leave the
//! EU (claims C1, C8 and C21).

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::{Entity, Filter, Id, StoreError, Stored, Tenant, WriteTx, schema};
use crate::auth::Role;
use crate::auth::session::SessionRecord;
use crate::auth::user::{User, canonical_email};
use crate::crypto::Subject;

/// Days between two reviews of the audit trail, unless the tenant chooses.
const AUDIT_REVIEW_DAYS: u16 = 30;

/// The one document of the collection.
const ID: Id = Id::from_u128(1);

/// A person whom we reach for a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Name of the person.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// The tenant's user who this is, whose key seals what the audit trail and
    /// the outbox hold of them. Nobody outside sets it.
    #[serde(default)]
    pub user: Option<Id>,
}

impl Contact {
    /// Whose the contact's name and address are: the user's who it is, else the
    /// tenant's.
    pub fn subject(&self) -> Subject {
        self.user.map_or(Subject::Tenant, Subject::User)
    }

    /// Whether it is this user, or has their e-mail address.
    pub fn is(&self, user: &Stored<User>) -> bool {
        self.user == Some(user.id) || canonical_email(&self.email) == user.entity.email
    }
}

/// The contacts that a tenant keeps current (claim C21).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contacts {
    /// Receives breach and sub-processor notices.
    pub primary: Contact,
    /// Receives security notices; the primary contact when absent.
    #[serde(default)]
    pub security: Option<Contact>,
    /// Receives invoices; the primary contact when absent.
    #[serde(default)]
    pub billing: Option<Contact>,
}

impl Contacts {
    /// Who receives security notices.
    pub fn for_security(self) -> Contact {
        self.security.unwrap_or(self.primary)
    }

    /// All of them, each with its member's name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Contact)> {
        [
            ("primary", Some(&self.primary)),
            ("security", self.security.as_ref()),
            ("billing", self.billing.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, contact)| Some((name, contact?)))
    }

    /// As [`Contacts::iter`], to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Contact)> {
        [
            ("primary", Some(&mut self.primary)),
            ("security", self.security.as_mut()),
            ("billing", self.billing.as_mut()),
        ]
        .into_iter()
        .filter_map(|(name, contact)| Some((name, contact?)))
    }

    /// Who receives what goes to each of them: the primary contact where nobody
    /// else is named.
    pub fn receivers(&self) -> [(&'static str, &Contact); 3] {
        let primary = &self.primary;
        [
            ("primary", primary),
            ("security", self.security.as_ref().unwrap_or(primary)),
            ("billing", self.billing.as_ref().unwrap_or(primary)),
        ]
    }

    /// Says of every contact with the address `email`, as [`canonical_email`]
    /// gives it, that they are `user`, unless they are known to be another.
    pub fn link(&mut self, user: Id, email: &str) {
        for (_, contact) in self.iter_mut() {
            if canonical_email(&contact.email) == email {
                contact.user.get_or_insert(user);
            }
        }
    }
}

/// Written consent to the tenant's data leaving the EU: to copies there, and to
/// sub-processors there (claim C1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossBorderConsent {
    /// Who signed it.
    pub signatory: String,
    /// Where the signed document is kept: a reference or an address.
    pub document: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Id of the user who recorded it.
    pub recorded_by: Id,
}

/// A tenant's settings.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Whom we reach.
    pub contacts: Contacts,
    /// When the tenant last said that the contacts are right.
    pub contacts_confirmed_at: Timestamp,
    /// Days between two attested reviews of the audit trail.
    pub audit_review_days: u16,
    /// Years after which whoever was offboarded is erased, and what strangers
    /// said in requests about their data (GDPR Art. 5(1)(e)); absent: not before
    /// somebody does it.
    #[serde(default)]
    pub former_user_years: Option<u16>,
    /// Roles whose users must sign in with a second factor.
    pub second_factor_roles: Vec<Role>,
    /// Absent: none of the tenant's data leaves the EU.
    #[serde(default)]
    pub cross_border_consent: Option<CrossBorderConsent>,
    /// Counts how often all sessions of the tenant were ended. A session, a
    /// half-finished sign-in or a mailed token from before the last time is not
    /// accepted.
    #[serde(default)]
    pub session_epoch: i64,
}

impl Entity for Settings {
    const COLLECTION: &'static schema::Collection = &schema::SETTINGS;
    const RESOURCE: &'static str = "settings";
    const PERSONAL: &'static [&'static str] = &[
        "/contacts/primary/name",
        "/contacts/primary/email",
        "/contacts/security/name",
        "/contacts/security/email",
        "/contacts/billing/name",
        "/contacts/billing/email",
        "/cross_border_consent/signatory",
    ];

    fn person_at(&self, pointer: &str) -> Option<Subject> {
        let name = pointer.strip_prefix("/contacts/")?.split('/').next()?;
        self.contacts.iter().find(|(of, _)| *of == name).map(|(_, contact)| contact.subject())
    }
}

impl Settings {
    /// The settings of a new tenant: a second factor for whoever may do
    /// everything, and no consent.
    pub fn new(contacts: Contacts, now: Timestamp) -> Self {
        Self {
            contacts,
            contacts_confirmed_at: now,
            audit_review_days: AUDIT_REVIEW_DAYS,
            former_user_years: None,
            second_factor_roles: vec![Role::SuperAdmin],
            cross_border_consent: None,
            session_epoch: 0,
        }
    }

    /// Whether a request of `session` may be served: not all sessions of the
    /// tenant were ended since.
    pub fn accept(&self, session: &SessionRecord) -> bool {
        self.session_epoch == session.epoch
    }

    /// From when on who left and what strangers said is still kept at `now`;
    /// `None` if it always is.
    ///
    /// # Errors
    /// [`StoreError::Defect`] for a moment out of range.
    pub fn kept_from(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let Some(years) = self.former_user_years else { return Ok(None) };
        let limit = now.to_zoned_datetime(TimeZone::UTC).checked_sub(i64::from(years).years());
        Ok(Some(limit.map_err(StoreError::defect)?.timestamp()))
    }

    /// Whether users of `role` must sign in with a second factor.
    pub fn require_second_factor(&self, role: Role) -> bool {
        self.second_factor_roles.contains(&role)
    }
}

impl Tenant {
    /// The tenant's settings.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn settings(&self) -> Result<Stored<Settings>, StoreError> {
        self.get(ID).await?.ok_or_else(|| StoreError::defect("a tenant has no settings"))
    }
}

impl WriteTx<'_> {
    /// The tenant's settings as this transaction sees them.
    ///
    /// # Errors
    /// As [`Tenant::settings`].
    pub async fn settings(&mut self) -> Result<Stored<Settings>, StoreError> {
        self.get(ID).await?.ok_or_else(|| StoreError::defect("a tenant has no settings"))
    }

    /// Makes contacts of the tenant whose address became that of `user` theirs,
    /// so that what is recorded of them from now on is erased with the user.
    ///
    /// # Errors
    /// As [`WriteTx::replace`].
    pub async fn link_contacts(&mut self, user: &Stored<User>) -> Result<(), StoreError> {
        let before = self.settings().await?;
        let mut after = before.entity.clone();
        after.contacts.link(user.id, &user.entity.email);
        if after.contacts != before.entity.contacts {
            self.replace(&before, after).await?;
        }
        Ok(())
    }

    /// Whether `user` is one of the tenant's contacts.
    ///
    /// # Errors
    /// As [`WriteTx::settings`].
    pub async fn is_contact(&mut self, user: &Stored<User>) -> Result<bool, StoreError> {
        let contacts = self.settings().await?.entity.contacts;
        Ok(contacts.iter().any(|(_, contact)| contact.is(user)))
    }

    /// The user with this e-mail address, in whatever spelling.
    ///
    /// # Errors
    /// As [`WriteTx::get`].
    pub async fn user_with_email(
        &mut self,
        email: &str,
    ) -> Result<Option<Stored<User>>, StoreError> {
        self.find(Filter::all().eq("email", canonical_email(email))).await
    }

    /// Gives a new tenant its settings.
    ///
    /// # Errors
    /// As [`WriteTx::insert`].
    pub(super) async fn settle(&mut self, settings: Settings) -> Result<(), StoreError> {
        self.insert(ID, settings).await.map(|_| ())
    }
}
