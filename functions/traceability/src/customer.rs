//! Customers: the businesses that goods go to (Art. 18(3) of Regulation (EC)
//! No 178/2002, one step forward). Delivery address and phone are sealed.

use jiff::Timestamp;
use keystone::Problem;
use keystone::crypto::{CryptoError, Place, Sealed, Subject, at_rest_option};
use keystone::erasure::Erasable;
use keystone::http::present;
use keystone::restriction::Restriction;
use keystone::tenant::{Entity, Id, Stored, Tenant, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A customer as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Customer {
    /// Business name.
    pub name: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
    /// GS1 Global Location Number.
    pub gln: Option<String>,
    /// Where goods are delivered.
    #[serde(with = "at_rest_option")]
    pub delivery_address: Option<Sealed<Address>>,
    /// Telephone of the contact, E.164.
    #[serde(with = "at_rest_option")]
    pub phone: Option<Sealed<Phone>>,
    /// That the contact's data is stored and not used (GDPR Art. 18).
    #[serde(default)]
    pub restriction: Option<Restriction>,
}

impl Entity for Customer {
    const COLLECTION: &'static schema::Collection = &schema::CUSTOMERS;
    const RESOURCE: &'static str = "customer";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Erasable for Customer {
    fn subject(id: Id) -> Subject {
        Subject::Customer(id)
    }

    /// The business stays: whom goods went to must be known for years
    /// (Art. 18(3) of Regulation (EC) No 178/2002).
    fn erased(&self, _: Id) -> Self {
        Self { delivery_address: None, phone: None, ..self.clone() }
    }
}

/// A postal address in clear. Neither printable nor part of any answer.
#[derive(Serialize, Deserialize)]
pub struct Address {
    line1: String,
    line2: Option<String>,
    town: String,
    postcode: Option<String>,
    country: String,
}

/// A telephone number in clear. Neither printable nor part of any answer.
#[derive(Serialize, Deserialize)]
pub struct Phone(String);

/// An address as a client sends it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddressInput {
    /// First line.
    #[schemars(length(min = 1, max = 200))]
    line1: String,
    /// Second line.
    #[schemars(length(min = 1, max = 200))]
    line2: Option<String>,
    /// Town or city.
    #[schemars(length(min = 1, max = 100))]
    town: String,
    /// Postcode.
    #[schemars(length(min = 1, max = 16))]
    postcode: Option<String>,
    /// ISO 3166-1 alpha-2 code.
    #[schemars(extend("format" = "country"))]
    country: String,
}

impl AddressInput {
    async fn seal(&self, tenant: &Tenant, id: Id) -> Result<Sealed<Address>, Problem> {
        let address = Address {
            line1: self.line1.clone(),
            line2: self.line2.clone(),
            town: self.town.clone(),
            postcode: self.postcode.clone(),
            country: self.country.clone(),
        };
        Ok(tenant.seal(address_place(id), Subject::Customer(id), &address).await?)
    }
}

async fn seal_phone(phone: &str, tenant: &Tenant, id: Id) -> Result<Sealed<Phone>, Problem> {
    Ok(tenant.seal(phone_place(id), Subject::Customer(id), &Phone(phone.to_owned())).await?)
}

fn address_place(id: Id) -> Place<'static> {
    Place { collection: schema::CUSTOMERS.name, document: id, field: "delivery_address" }
}

fn phone_place(id: Id) -> Place<'static> {
    Place { collection: schema::CUSTOMERS.name, document: id, field: "phone" }
}

/// A customer to be created.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCustomer {
    /// Business name.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// ISO 3166-1 alpha-2 code.
    #[schemars(extend("format" = "country"))]
    country: String,
    /// GS1 Global Location Number, by which events name it; no other customer may
    /// have it.
    #[schemars(extend("format" = "gln"))]
    gln: Option<String>,
    /// Where goods are delivered; stored encrypted.
    delivery_address: Option<AddressInput>,
    /// Telephone of the contact, E.164; stored encrypted.
    #[schemars(extend("format" = "e164"))]
    phone: Option<String>,
}

impl NewCustomer {
    /// The customer with this id, its contact data sealed.
    ///
    /// # Errors
    /// [`Problem::Internal`] when the tenant's key cannot be used.
    pub async fn into_customer(self, tenant: &Tenant, id: Id) -> Result<Customer, Problem> {
        Ok(Customer {
            delivery_address: match &self.delivery_address {
                Some(address) => Some(address.seal(tenant, id).await?),
                None => None,
            },
            phone: match &self.phone {
                Some(phone) => Some(seal_phone(phone, tenant, id).await?),
                None => None,
            },
            name: self.name,
            country: self.country,
            gln: self.gln,
            restriction: None,
        })
    }
}

/// Changes to a customer (RFC 7396): absent members stay, null removes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomerPatch {
    /// Business name.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 200))]
    name: Option<String>,
    /// ISO 3166-1 alpha-2 code.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "country"))]
    country: Option<String>,
    /// GS1 Global Location Number, by which events name it; no other customer may
    /// have it.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("format" = "gln"))]
    gln: Option<Option<String>>,
    /// Where goods are delivered.
    #[serde(default, deserialize_with = "present")]
    delivery_address: Option<Option<AddressInput>>,
    /// Telephone of the contact, E.164.
    #[serde(default, deserialize_with = "present")]
    #[schemars(extend("format" = "e164"))]
    phone: Option<Option<String>>,
}

impl CustomerPatch {
    /// The customer after the changes.
    ///
    /// # Errors
    /// [`Problem::Internal`] when the tenant's key cannot be used.
    pub async fn apply(
        &self,
        tenant: &Tenant,
        before: &Stored<Customer>,
    ) -> Result<Customer, Problem> {
        let mut customer = before.entity.clone();
        if let Some(name) = &self.name {
            customer.name.clone_from(name);
        }
        if let Some(country) = &self.country {
            customer.country.clone_from(country);
        }
        if let Some(gln) = &self.gln {
            customer.gln.clone_from(gln);
        }
        if let Some(address) = &self.delivery_address {
            customer.delivery_address = match address {
                Some(address) => Some(address.seal(tenant, before.id).await?),
                None => None,
            };
        }
        if let Some(phone) = &self.phone {
            customer.phone = match phone {
                Some(phone) => Some(seal_phone(phone, tenant, before.id).await?),
                None => None,
            };
        }
        Ok(customer)
    }
}

/// An address as it is shown; masked, the country only.
#[derive(Serialize, JsonSchema)]
pub struct AddressView {
    #[serde(skip_serializing_if = "Option::is_none")]
    line1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    town: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postcode: Option<String>,
    country: String,
}

impl AddressView {
    fn new(address: &Address, clear: bool) -> Self {
        let shown = |text: &String| clear.then(|| text.clone());
        Self {
            line1: shown(&address.line1),
            line2: address.line2.as_ref().and_then(shown),
            town: shown(&address.town),
            postcode: address.postcode.as_ref().and_then(shown),
            country: address.country.clone(),
        }
    }
}

impl AddressView {
    /// The address on one line, for reports.
    pub fn words(&self) -> String {
        let parts = [&self.line1, &self.line2, &self.postcode, &self.town];
        let parts = parts.into_iter().flatten().chain([&self.country]);
        parts.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// A phone number as it is shown; masked, its last two digits only.
fn shown_phone(phone: &Phone, clear: bool) -> String {
    if clear {
        return phone.0.clone();
    }
    let hidden = phone.0.len().saturating_sub(2);
    format!("{}{}", "*".repeat(hidden), phone.0.get(hidden..).unwrap_or_default())
}

/// A customer as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct CustomerView {
    /// Id.
    pub id: Id,
    /// Business name.
    pub name: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
    /// GS1 Global Location Number.
    pub gln: Option<String>,
    /// Where goods are delivered.
    pub delivery_address: Option<AddressView>,
    /// Telephone of the contact, E.164.
    pub phone: Option<String>,
    /// Whether contact data is masked for the caller's role.
    pub masked: bool,
    /// That the contact's data is stored and not used (GDPR Art. 18): what is
    /// sealed is masked for every role, but in recalls and before authorities.
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

impl CustomerView {
    /// The view of `stored`, with contact data in clear if `clear`.
    ///
    /// # Errors
    /// [`CryptoError`] when contact data does not open.
    pub async fn new(
        tenant: &Tenant,
        stored: &Stored<Customer>,
        clear: bool,
    ) -> Result<Self, CryptoError> {
        let customer = &stored.entity;
        let address = customer.delivery_address.as_ref();
        let address = tenant.open_kept(address_place(stored.id), address).await?;
        let phone = tenant.open_kept(phone_place(stored.id), customer.phone.as_ref()).await?;
        Ok(Self {
            id: stored.id,
            name: customer.name.clone(),
            country: customer.country.clone(),
            gln: customer.gln.clone(),
            delivery_address: address.map(|plain| AddressView::new(plain.expose(), clear)),
            phone: phone.map(|plain| shown_phone(plain.expose(), clear)),
            masked: !clear,
            restriction: customer.restriction.clone(),
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
    fn masked_contact_data_shows_next_to_nothing() {
        assert_eq!(shown_phone(&Phone("+353861234567".into()), false), "***********67");
        let address = Address {
            line1: "1 Quay St".into(),
            line2: None,
            town: "Cork".into(),
            postcode: Some("T12".into()),
            country: "IE".into(),
        };
        assert_eq!(
            serde_json::to_value(AddressView::new(&address, false)).unwrap(),
            serde_json::json!({ "country": "IE" })
        );
    }
}
