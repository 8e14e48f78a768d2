//! The collections of a tenant's database: indexes and validators, as data.
//!
//! Provisioning creates what stands here. The validators make the database
//! itself refuse a document of another tenant, and plaintext where a sealed
//! value belongs.

use mongodb::bson::{Document, doc};

use super::TenantId;

/// An index. Every key is preceded by `tenant_id`.
#[derive(Debug, Clone, Copy)]
pub struct Index {
    /// Fields in order, 1 ascending, -1 descending.
    pub keys: &'static [(&'static str, i32)],
    /// Whether two documents of one tenant may share the values.
    pub unique: bool,
}

/// A collection of entities.
#[derive(Debug)]
pub struct Collection {
    /// Its name.
    pub name: &'static str,
    /// Top-level fields that hold sealed values only.
    pub sealed: &'static [&'static str],
    /// Its indexes beside the one on `_id`.
    pub indexes: &'static [Index],
    /// Seconds after `created_at` at which documents expire.
    pub expires_after: Option<u64>,
}

const fn unique(keys: &'static [(&'static str, i32)]) -> Index {
    Index { keys, unique: true }
}

const fn plain(keys: &'static [(&'static str, i32)]) -> Index {
    Index { keys, unique: false }
}

/// Newest first: ids are `UUIDv7`.
const BY_AGE: Index = plain(&[("_id", -1)]);

const fn entities(
    name: &'static str,
    sealed: &'static [&'static str],
    indexes: &'static [Index],
) -> Collection {
    Collection { name, sealed, indexes, expires_after: None }
}

/// People who may sign in.
pub const USERS: Collection = entities(
    "users",
    &["totp_seed"],
    &[
        unique(&[("email", 1)]),
        plain(&[("invitation.token_hash", 1)]),
        plain(&[("password_reset.token_hash", 1)]),
        BY_AGE,
    ],
);
/// What the tenant decides for itself; one document.
pub const SETTINGS: Collection = entities("settings", &[], &[]);
/// Businesses that goods come from.
pub const SUPPLIERS: Collection = entities("suppliers", &["banking"], &[BY_AGE]);
/// Businesses that goods go to.
pub const CUSTOMERS: Collection = entities("customers", &["delivery_address", "phone"], &[BY_AGE]);
/// Trade items by GTIN.
pub const PRODUCTS: Collection = entities("products", &[], &[unique(&[("gtin", 1)]), BY_AGE]);
/// Lots.
pub const BATCHES: Collection = entities(
    "batches",
    &[],
    &[unique(&[("product_id", 1), ("lot_number", 1)]), plain(&[("lot_number", 1)]), BY_AGE],
);
/// Messages that leave the system after the transaction that wrote them.
pub const OUTBOX: Collection =
    entities("outbox", &["message"], &[plain(&[("state", 1), ("due_at", 1)]), BY_AGE]);
/// First answers to requests with an `Idempotency-Key`, for a day.
pub const IDEMPOTENCY: Collection = Collection {
    name: "idempotency",
    sealed: &["reply"],
    indexes: &[],
    expires_after: Some(24 * 60 * 60),
};

/// All collections of entities.
pub const COLLECTIONS: [&Collection; 8] =
    [&USERS, &SETTINGS, &SUPPLIERS, &CUSTOMERS, &PRODUCTS, &BATCHES, &OUTBOX, &IDEMPOTENCY];

/// The tenant's wrapped data keys, in a database of their own.
pub(super) const DATA_KEYS: &str = "data_keys";
/// The head of the tenant's audit tree; one document.
pub(super) const AUDIT_HEAD: &str = "audit_head";
/// Audit entries, in the tenant's append-only database.
pub(super) const AUDIT_ENTRIES: &str = "entries";

/// Indexes of the audit entries, one per filter, newest first.
pub(super) const AUDIT_INDEXES: [Index; 6] = [
    plain(&[("entry.actor.id", 1), ("_id", -1)]),
    plain(&[("entry.action", 1), ("_id", -1)]),
    plain(&[("entry.resource.type", 1), ("entry.resource.id", 1), ("_id", -1)]),
    plain(&[("at", 1), ("_id", -1)]),
    plain(&[("personal.path", 1), ("personal.value", 1), ("_id", -1)]),
    plain(&[("_id", -1)]),
];

/// The validator of `collection` in the database of `tenant`.
pub(super) fn validator(collection: &Collection, tenant: &TenantId) -> Document {
    let mut properties = tenant_property(tenant);
    for field in collection.sealed {
        properties.insert(
            *field,
            doc! {
                "bsonType": ["object", "null"],
                "required": ["v", "kid", "ct", "tag"],
                "additionalProperties": false,
                "properties": {
                    "v": { "bsonType": "int" },
                    "kid": { "bsonType": "string" },
                    "ct": { "bsonType": "binData" },
                    "tag": { "bsonType": "binData" },
                },
            },
        );
    }
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "tenant_id", "version", "created_at", "updated_at"],
        "properties": properties,
    } }
}

/// The validator of a collection that only has to belong to `tenant`.
pub(super) fn tenant_validator(tenant: &TenantId) -> Document {
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "tenant_id"],
        "properties": tenant_property(tenant),
    } }
}

/// The validator of the audit entries of `tenant`.
pub(super) fn audit_validator(tenant: &TenantId) -> Document {
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "tenant_id", "at", "entry", "leaf", "personal"],
        "properties": tenant_property(tenant),
    } }
}

fn tenant_property(tenant: &TenantId) -> Document {
    doc! { "tenant_id": { "enum": [tenant.as_str()] } }
}
