//! A tenant's settings as they are shown and changed.

use std::collections::BTreeSet;

use jiff::Timestamp;
use keystone::auth::Role;
use keystone::auth::user::{User, UserStatus, canonical_email};
use keystone::http::present;
use keystone::tenant::{
    Contact, Contacts, CrossBorderConsent, Id, Settings, Stored, Tenant, WriteTx,
};
use keystone::{FieldError, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A tenant as its `super_admin` sees it.
#[derive(Serialize, JsonSchema)]
pub struct TenantView {
    /// Slug.
    id: String,
    /// Name under which the business is registered.
    legal_name: String,
    /// ISO 3166-1 alpha-2 code.
    country: String,
    /// Whom we reach.
    contacts: ContactsView,
    /// When the contacts were last said to be right.
    #[schemars(with = "String", extend("format" = "date-time"))]
    contacts_confirmed_at: Timestamp,
    /// Days between two attested reviews of the audit trail.
    audit_review_days: u16,
    /// Years after which whoever was offboarded is erased, and what strangers said
    /// in requests about their data; absent: not before somebody does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    former_user_years: Option<u16>,
    /// Roles whose users must sign in with a second factor.
    second_factor_roles: Vec<Role>,
    /// Absent: none of the tenant's data leaves the EU.
    #[serde(skip_serializing_if = "Option::is_none")]
    cross_border_consent: Option<ConsentView>,
    /// Version, as in the `ETag`.
    version: i64,
}

/// The contacts of a tenant.
#[derive(Serialize, JsonSchema)]
struct ContactsView {
    /// Receives breach and sub-processor notices.
    primary: ContactView,
    /// Receives security notices; the primary contact when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<ContactView>,
    /// Receives invoices; the primary contact when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    billing: Option<ContactView>,
}

/// A person.
#[derive(Serialize, JsonSchema)]
struct ContactView {
    /// Name of the person.
    name: String,
    /// E-mail address.
    email: String,
}

/// A recorded consent.
#[derive(Serialize, JsonSchema)]
struct ConsentView {
    /// Who signed it.
    signatory: String,
    /// Where the signed document is kept.
    document: String,
    /// When it was recorded.
    #[schemars(with = "String", extend("format" = "date-time"))]
    recorded_at: Timestamp,
    /// Id of the user who recorded it.
    recorded_by: Id,
}

impl From<&Contact> for ContactView {
    fn from(contact: &Contact) -> Self {
        Self { name: contact.name.clone(), email: contact.email.clone() }
    }
}

impl TenantView {
    /// What is shown of `tenant` with these settings.
    pub fn new(tenant: &Tenant, stored: &Stored<Settings>) -> Self {
        let (record, settings) = (tenant.profile(), &stored.entity);
        Self {
            id: record.id.to_string(),
            legal_name: record.legal_name.clone(),
            country: record.country.clone(),
            contacts: ContactsView {
                primary: (&settings.contacts.primary).into(),
                security: settings.contacts.security.as_ref().map(Into::into),
                billing: settings.contacts.billing.as_ref().map(Into::into),
            },
            contacts_confirmed_at: settings.contacts_confirmed_at,
            audit_review_days: settings.audit_review_days,
            former_user_years: settings.former_user_years,
            second_factor_roles: settings.second_factor_roles.clone(),
            cross_border_consent: settings.cross_border_consent.as_ref().map(|consent| {
                ConsentView {
                    signatory: consent.signatory.clone(),
                    document: consent.document.clone(),
                    recorded_at: consent.recorded_at,
                    recorded_by: consent.recorded_by,
                }
            }),
            version: stored.version,
        }
    }
}

/// Changes to a tenant's settings (RFC 7396): absent members stay, null
/// removes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsPatch {
    /// Whom we reach; `{}` says that the contacts are still right.
    #[serde(default)]
    #[schemars(with = "ContactsPatch")]
    contacts: Option<ContactsPatch>,
    /// Days between two attested reviews of the audit trail.
    #[serde(default)]
    #[schemars(with = "u16", range(min = 1, max = 366))]
    audit_review_days: Option<u16>,
    /// Years after which whoever was offboarded is erased, and what strangers said
    /// in requests about their data; null for not before somebody does it.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<u16>", range(min = 1, max = 10))]
    former_user_years: Option<Option<u16>>,
    /// Roles whose users must sign in with a second factor.
    #[serde(default)]
    #[schemars(with = "BTreeSet<Role>")]
    second_factor_roles: Option<BTreeSet<Role>>,
    /// Written consent to data leaving the EU; null withdraws it, at once.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<ConsentInput>")]
    cross_border_consent: Option<Option<ConsentInput>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ContactsPatch {
    /// Receives breach and sub-processor notices.
    #[serde(default)]
    #[schemars(with = "ContactInput")]
    primary: Option<ContactInput>,
    /// Receives security notices; null for the primary contact.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<ContactInput>")]
    security: Option<Option<ContactInput>>,
    /// Receives invoices; null for the primary contact.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Option<ContactInput>")]
    billing: Option<Option<ContactInput>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ContactInput {
    /// Name of the person.
    #[schemars(length(min = 1, max = 100), extend("format" = "person"))]
    name: String,
    /// E-mail address.
    #[schemars(email, length(max = 254))]
    email: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConsentInput {
    /// Who signed it.
    #[schemars(length(min = 1, max = 100))]
    signatory: String,
    /// Where the signed document is kept: a reference or an address.
    #[schemars(length(min = 1, max = 500))]
    document: String,
}

impl From<&ContactInput> for Contact {
    fn from(input: &ContactInput) -> Self {
        Self { name: input.name.clone(), email: input.email.clone(), user: None }
    }
}

impl ContactsPatch {
    /// Whether it names somebody for the contact of this name.
    fn names(&self, contact: &str) -> bool {
        match contact {
            "primary" => self.primary.is_some(),
            "security" => matches!(self.security, Some(Some(_))),
            _ => matches!(self.billing, Some(Some(_))),
        }
    }

    fn apply(&self, before: &Contacts) -> Contacts {
        let of = |patch: &Option<Option<ContactInput>>, before: &Option<Contact>| match patch {
            Some(contact) => contact.as_ref().map(Into::into),
            None => before.clone(),
        };
        Contacts {
            primary: self.primary.as_ref().map_or_else(|| before.primary.clone(), Into::into),
            security: of(&self.security, &before.security),
            billing: of(&self.billing, &before.billing),
        }
    }
}

impl SettingsPatch {
    /// Says of the contacts that the patch names which user of the tenant each
    /// is: the one with the address, or the one who stood there with it before
    /// and has another by now.
    ///
    /// # Errors
    /// 422 that names each who has left; 503 when the database does not answer.
    pub async fn identify_contacts(
        &self,
        tx: &mut WriteTx<'_>,
        before: &Settings,
        after: &mut Settings,
    ) -> Result<(), Problem> {
        let Some(patch) = &self.contacts else { return Ok(()) };
        let mut errors = Vec::new();
        for (name, contact) in after.contacts.iter_mut().filter(|(name, _)| patch.names(name)) {
            let address = canonical_email(&contact.email);
            let mut former = before.contacts.iter().map(|(_, contact)| contact);
            let former = former.find(|former| canonical_email(&former.email) == address);
            let mut user = tx.user_with_email(&address).await?;
            if let (None, Some(id)) = (&user, former.and_then(|former| former.user)) {
                user = tx.get::<User>(id).await?;
            }
            if user.as_ref().is_some_and(|user| user.entity.status == UserStatus::Deactivated) {
                let left = "Is the address of somebody who has left; name somebody else.";
                errors.push(FieldError::new(format!("/contacts/{name}/email"), left));
            }
            contact.user = user.map(|user| user.id);
        }
        if errors.is_empty() { Ok(()) } else { Err(Problem::Invalid(errors)) }
    }

    /// The settings after the changes, which `user` makes at `now`.
    pub fn apply(&self, before: &Settings, user: Id, now: Timestamp) -> Settings {
        let mut after = before.clone();
        if let Some(contacts) = &self.contacts {
            after.contacts = contacts.apply(&before.contacts);
            after.contacts_confirmed_at = now;
        }
        if let Some(days) = self.audit_review_days {
            after.audit_review_days = days;
        }
        if let Some(years) = self.former_user_years {
            after.former_user_years = years;
        }
        if let Some(roles) = &self.second_factor_roles {
            after.second_factor_roles = roles.iter().copied().collect();
        }
        if let Some(consent) = &self.cross_border_consent {
            after.cross_border_consent = consent.as_ref().map(|input| CrossBorderConsent {
                signatory: input.signatory.clone(),
                document: input.document.clone(),
                recorded_at: now,
                recorded_by: user,
            });
        }
        after
    }
}
