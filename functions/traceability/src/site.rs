//! Sites: the business's own places, by GLN.

use jiff::Timestamp;
use keystone::tenant::{Entity, Id, Stored, schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A site, as it is stored and as a client sends it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// GS1 Global Location Number; unique within the tenant.
    #[schemars(extend("format" = "gln"))]
    pub gln: String,
    /// Name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// ISO 3166-1 alpha-2 code.
    #[schemars(extend("format" = "country"))]
    pub country: String,
}

impl Entity for Site {
    const COLLECTION: &'static schema::Collection = &schema::SITES;
    const RESOURCE: &'static str = "site";
    const PERSONAL: &'static [&'static str] = &[];
}

/// Changes to a site (RFC 7396): absent members stay. Its GLN does not change:
/// events name the place by it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SitePatch {
    /// Name.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 200))]
    name: Option<String>,
    /// ISO 3166-1 alpha-2 code.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "country"))]
    country: Option<String>,
}

impl SitePatch {
    /// The site after the changes.
    pub fn apply(&self, before: &Site) -> Site {
        Site {
            gln: before.gln.clone(),
            name: self.name.as_ref().unwrap_or(&before.name).clone(),
            country: self.country.as_ref().unwrap_or(&before.country).clone(),
        }
    }
}

/// A site as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct SiteView {
    /// Id.
    pub id: Id,
    /// GS1 Global Location Number.
    pub gln: String,
    /// Name.
    pub name: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
    /// Version, as in the `ETag`.
    pub version: i64,
    /// When it was created.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
}

impl SiteView {
    /// The view of `stored`.
    pub fn new(stored: &Stored<Site>) -> Self {
        let site = stored.entity.clone();
        Self {
            id: stored.id,
            gln: site.gln,
            name: site.name,
            country: site.country,
            version: stored.version,
            created_at: stored.created_at,
        }
    }
}
