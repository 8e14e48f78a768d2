//! Products: trade items by GTIN.

use jiff::Timestamp;
use keystone::tenant::{Entity, Id, Stored, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A product, as it is stored and as a client sends it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// GS1 Global Trade Item Number; unique within the tenant.
    #[schemars(extend("format" = "gtin"))]
    pub gtin: String,
    /// Name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Description, as Regulation (EU) No 931/2011 Art. 3(1)(a) asks for food
    /// of animal origin.
    #[schemars(length(min = 1, max = 1000))]
    pub description: Option<String>,
    /// Whether the food is of animal origin, so that Regulation (EU) No
    /// 931/2011 applies.
    pub animal_origin: bool,
}

impl Entity for Product {
    const COLLECTION: &'static schema::Collection = &schema::PRODUCTS;
    const RESOURCE: &'static str = "product";
    const PERSONAL: &'static [&'static str] = &[];
}

/// All ways to write a GTIN: with 8, 12, 13 or 14 digits, as far as it fits (GS1
/// General Specifications §3.3.2).
pub(crate) fn spellings(gtin: &str) -> Vec<String> {
    let digits = gtin.trim_start_matches('0');
    let fits = |length: &usize| *length >= digits.len();
    [8, 12, 13, 14].into_iter().filter(fits).map(|length| format!("{digits:0>length$}")).collect()
}

/// A product as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct ProductView {
    /// Id.
    pub id: Id,
    /// GS1 Global Trade Item Number.
    pub gtin: String,
    /// Name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Whether the food is of animal origin.
    pub animal_origin: bool,
    /// Version, as in the `ETag`.
    pub version: i64,
    /// When it was created.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
}

impl ProductView {
    /// The view of `stored`.
    pub fn new(stored: &Stored<Product>) -> Self {
        let product = stored.entity.clone();
        Self {
            id: stored.id,
            gtin: product.gtin,
            name: product.name,
            description: product.description,
            animal_origin: product.animal_origin,
            version: stored.version,
            created_at: stored.created_at,
        }
    }
}
