//! Suppliers: the businesses that goods come from (Art. 18(2) of Regulation
//! (EC) No 178/2002, one step back). E-mail address of the contact and banking
//! metadata are sealed.

use jiff::Timestamp;
use keystone::Problem;
use keystone::crypto::{CryptoError, Place, Sealed, Subject, at_rest_option};
use keystone::erasure::Erasable;
use keystone::http::present;
use keystone::restriction::Restriction;
use keystone::tenant::{Entity, Id, Stored, Tenant, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A supplier as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supplier {
    /// Business name.
    pub name: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
    /// GS1 Global Location Number.
    pub gln: Option<String>,
    /// E-mail address of the contact.
    #[serde(with = "at_rest_option")]
    pub email: Option<Sealed<Email>>,
    /// Where the supplier is paid.
    #[serde(with = "at_rest_option")]
    pub banking: Option<Sealed<Banking>>,
    /// That the contact's data is stored and not used (GDPR Art. 18).
    #[serde(default)]
    pub restriction: Option<Restriction>,
}

impl Entity for Supplier {
    const COLLECTION: &'static schema::Collection = &schema::SUPPLIERS;
    const RESOURCE: &'static str = "supplier";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Erasable for Supplier {
    fn subject(id: Id) -> Subject {
        Subject::Supplier(id)
    }

    /// The business stays: whom goods came from must be known for years
    /// (Art. 18(2) of Regulation (EC) No 178/2002).
    fn erased(&self, _: Id) -> Self {
        Self { email: None, banking: None, ..self.clone() }
    }
}

/// An e-mail address in clear. Neither printable nor part of any answer.
#[derive(Serialize, Deserialize)]
pub struct Email(String);

/// Banking metadata in clear. Neither printable nor part of any answer.
#[derive(Serialize, Deserialize)]
pub struct Banking {
    iban: String,
    bic: Option<String>,
    account_holder: String,
}

/// Banking metadata as a client sends it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BankingInput {
    /// IBAN (ISO 13616) without blanks.
    #[schemars(extend("format" = "iban"))]
    iban: String,
    /// BIC (ISO 9362).
    #[schemars(extend("format" = "bic"))]
    bic: Option<String>,
    /// Name of the account's holder.
    #[schemars(length(min = 1, max = 140))]
    account_holder: String,
}

impl BankingInput {
    async fn seal(&self, tenant: &Tenant, id: Id) -> Result<Sealed<Banking>, Problem> {
        let banking = Banking {
            iban: self.iban.clone(),
            bic: self.bic.clone(),
            account_holder: self.account_holder.clone(),
        };
        Ok(tenant.seal(banking_place(id), Subject::Supplier(id), &banking).await?)
    }
}

async fn seal_email(email: &str, tenant: &Tenant, id: Id) -> Result<Sealed<Email>, Problem> {
    Ok(tenant.seal(email_place(id), Subject::Supplier(id), &Email(email.to_owned())).await?)
}

fn email_place(id: Id) -> Place<'static> {
    Place { collection: schema::SUPPLIERS.name, document: id, field: "email" }
}

fn banking_place(id: Id) -> Place<'static> {
    Place { collection: schema::SUPPLIERS.name, document: id, field: "banking" }
}

/// A supplier to be created.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSupplier {
    /// Business name.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// ISO 3166-1 alpha-2 code.
    #[schemars(extend("format" = "country"))]
    country: String,
    /// GS1 Global Location Number, by which events name it; no other supplier may
    /// have it.
    #[schemars(extend("format" = "gln"))]
    gln: Option<String>,
    /// E-mail address of the contact; stored encrypted.
    #[schemars(email, length(max = 254))]
    email: Option<String>,
    /// Where the supplier is paid; stored encrypted.
    banking: Option<BankingInput>,
}

impl NewSupplier {
    /// The supplier with this id, its contact data and banking metadata sealed.
    ///
    /// # Errors
    /// [`Problem::Internal`] when the tenant's key cannot be used.
    pub async fn into_supplier(self, tenant: &Tenant, id: Id) -> Result<Supplier, Problem> {
        Ok(Supplier {
            email: match &self.email {
                Some(email) => Some(seal_email(email, tenant, id).await?),
                None => None,
            },
            banking: match &self.banking {
                Some(banking) => Some(banking.seal(tenant, id).await?),
                None => None,
            },
            name: self.name,
            country: self.country,
            gln: self.gln,
            restriction: None,
        })
    }
}

/// Changes to a supplier (RFC 7396): absent members stay, null removes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SupplierPatch {
    /// Business name.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 200))]
    name: Option<String>,
    /// ISO 3166-1 alpha-2 code.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "country"))]
    country: Option<String>,
    /// GS1 Global Location Number, by which events name it; no other supplier may
    /// have it.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("format" = "gln"))]
    gln: Option<Option<String>>,
    /// E-mail address of the contact.
    #[serde(default, deserialize_with = "present")]
    #[schemars(email, length(max = 254))]
    email: Option<Option<String>>,
    /// Where the supplier is paid.
    #[serde(default, deserialize_with = "present")]
    banking: Option<Option<BankingInput>>,
}

impl SupplierPatch {
    /// The supplier after the changes.
    ///
    /// # Errors
    /// [`Problem::Internal`] when the tenant's key cannot be used.
    pub async fn apply(
        &self,
        tenant: &Tenant,
        before: &Stored<Supplier>,
    ) -> Result<Supplier, Problem> {
        let mut supplier = before.entity.clone();
        if let Some(name) = &self.name {
            supplier.name.clone_from(name);
        }
        if let Some(country) = &self.country {
            supplier.country.clone_from(country);
        }
        if let Some(gln) = &self.gln {
            supplier.gln.clone_from(gln);
        }
        if let Some(email) = &self.email {
            supplier.email = match email {
                Some(email) => Some(seal_email(email, tenant, before.id).await?),
                None => None,
            };
        }
        if let Some(banking) = &self.banking {
            supplier.banking = match banking {
                Some(banking) => Some(banking.seal(tenant, before.id).await?),
                None => None,
            };
        }
        Ok(supplier)
    }
}

/// Banking metadata as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct BankingView {
    /// IBAN; masked, country and last four characters only.
    iban: String,
    /// BIC; absent when masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    bic: Option<String>,
    /// Name of the account's holder; absent when masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_holder: Option<String>,
    /// Whether values are masked for the caller's role.
    masked: bool,
}

impl BankingView {
    fn new(banking: &Banking, clear: bool) -> Self {
        if clear {
            return Self {
                iban: banking.iban.clone(),
                bic: banking.bic.clone(),
                account_holder: Some(banking.account_holder.clone()),
                masked: false,
            };
        }
        // An IBAN is ASCII and has at least 15 characters.
        let (country, rest) = banking.iban.split_at_checked(2).unwrap_or_default();
        let last = rest.len().saturating_sub(4);
        Self {
            iban: format!("{country}{}{}", "*".repeat(last), rest.get(last..).unwrap_or_default()),
            bic: None,
            account_holder: None,
            masked: true,
        }
    }
}

/// An e-mail address as it is shown; masked, its first character and its `@`
/// only.
fn shown_email(email: &Email, clear: bool) -> String {
    if clear {
        return email.0.clone();
    }
    let shown = |(at, c): (usize, char)| if at == 0 || c == '@' { c } else { '*' };
    email.0.chars().enumerate().map(shown).collect()
}

/// What of a supplier is shown in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clear {
    /// Contact data.
    pub contact: bool,
    /// Banking metadata.
    pub banking: bool,
}

impl Clear {
    /// Nothing that is sealed.
    pub const NOTHING: Self = Self { contact: false, banking: false };
}

/// A supplier as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct SupplierView {
    /// Id.
    pub id: Id,
    /// Business name.
    pub name: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
    /// GS1 Global Location Number.
    pub gln: Option<String>,
    /// E-mail address of the contact; masked, its first character only.
    pub email: Option<String>,
    /// Whether contact data is masked for the caller's role.
    pub masked: bool,
    /// Where the supplier is paid.
    pub banking: Option<BankingView>,
    /// That the contact's data is stored and not used (GDPR Art. 18): what is
    /// sealed is masked for every role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restriction: Option<Restriction>,
    /// Version, as in the `ETag`.
    pub version: i64,
    /// When it was created.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub updated_at: Timestamp,
}

impl SupplierView {
    /// The view of `stored`, with what is `clear` in clear.
    ///
    /// # Errors
    /// [`CryptoError`] when what is sealed does not open.
    pub async fn new(
        tenant: &Tenant,
        stored: &Stored<Supplier>,
        clear: Clear,
    ) -> Result<Self, CryptoError> {
        let supplier = &stored.entity;
        let email = tenant.open_kept(email_place(stored.id), supplier.email.as_ref()).await?;
        let banking = tenant.open_kept(banking_place(stored.id), supplier.banking.as_ref()).await?;
        Ok(Self {
            id: stored.id,
            name: supplier.name.clone(),
            country: supplier.country.clone(),
            gln: supplier.gln.clone(),
            email: email.map(|email| shown_email(email.expose(), clear.contact)),
            masked: !clear.contact,
            banking: banking.map(|banking| BankingView::new(banking.expose(), clear.banking)),
            restriction: supplier.restriction.clone(),
            version: stored.version,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_address_shows_its_first_character_only() {
        let email = Email("office@hollow-farm.example".into());
        assert_eq!(shown_email(&email, false), "o*****@*******************");
        assert_eq!(shown_email(&email, true), "office@hollow-farm.example");
    }

    #[test]
    fn masked_banking_shows_country_and_last_four_only() {
        let banking = Banking {
            iban: "IE29AIBK93115212345678".into(),
            bic: Some("AIBKIE2D".into()),
            account_holder: "Hollow Farm Ltd".into(),
        };
        let masked = serde_json::to_value(BankingView::new(&banking, false)).unwrap();
        assert_eq!(masked, serde_json::json!({ "iban": "IE****************5678", "masked": true }));
        let clear = serde_json::to_value(BankingView::new(&banking, true)).unwrap();
        assert_eq!(clear["iban"], "IE29AIBK93115212345678");
        assert_eq!(clear["masked"], false);
    }
}
