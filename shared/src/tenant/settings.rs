//! What a tenant decides for itself: whom we reach, who needs a second
//! factor, how often the audit trail is reviewed, whether data may leave the
//! EU (claims C1, C8 and C21).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Entity, Id, StoreError, Stored, Tenant, WriteTx, schema};
use crate::auth::Role;

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
    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Contact> {
        [Some(&mut self.primary), self.security.as_mut(), self.billing.as_mut()]
            .into_iter()
            .flatten()
    }
}

/// Written consent to copies of the tenant's data outside the EU (claim C1).
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
    /// Years after which whoever was offboarded is erased (GDPR Art. 5(1)(e));
    /// absent: not before somebody does it.
    #[serde(default)]
    pub former_user_years: Option<u16>,
    /// Roles whose users must sign in with a second factor.
    pub second_factor_roles: Vec<Role>,
    /// Absent: no copy of the tenant's data leaves the EU.
    #[serde(default)]
    pub cross_border_consent: Option<CrossBorderConsent>,
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
        }
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

    /// Gives a new tenant its settings.
    ///
    /// # Errors
    /// As [`WriteTx::insert`].
    pub(super) async fn settle(&mut self, settings: Settings) -> Result<(), StoreError> {
        self.insert(ID, settings).await.map(|_| ())
    }
}
