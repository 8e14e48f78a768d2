//! The collections of a tenant's database: indexes and validators, as data.
//!
//! Provisioning creates what stands here. The validators make the database
//! itself refuse a document of another tenant, and plaintext where a sealed
//! value belongs.

use mongodb::bson::{Document, doc};

use super::TenantId;
use crate::crypto::Normal;

/// An index. Every key is preceded by `tenant_id`.
#[derive(Debug, Clone, Copy)]
pub struct Index {
    /// Fields in order, 1 ascending, -1 descending.
    pub keys: &'static [(&'static str, i32)],
    /// Whether two documents of one tenant may share the values.
    pub unique: bool,
}

/// A blind index: what equality search compares in place of a sealed value.
#[derive(Debug, Clone, Copy)]
pub struct Blind {
    /// The field that holds it, which is no part of the entity.
    pub field: &'static str,
    /// The sealed field that it is made from.
    pub sealed: &'static str,
    /// JSON pointer to the value in what is sealed.
    pub pointer: &'static str,
    /// The form in which values are compared.
    pub normal: Normal,
}

/// A collection of entities.
#[derive(Debug)]
pub struct Collection {
    /// Its name.
    pub name: &'static str,
    /// Top-level fields that hold sealed values only.
    pub sealed: &'static [&'static str],
    /// Its blind indexes.
    pub blind: &'static [Blind],
    /// Its indexes beside the one on `_id`.
    pub indexes: &'static [Index],
    /// Seconds after `created_at` at which documents expire.
    pub expires_after: Option<u64>,
    /// Whether the documents are the tenant's own data, which it may take
    /// along, and which of their fields stay.
    pub portable: Portable,
    /// Whether it lies in the tenant's append-only database, where functions
    /// may find and insert, and nothing else.
    pub append_only: bool,
    /// Whom its documents are about; a test refuses a collection that does not
    /// say.
    pub people: Option<People>,
}

/// Where the documents of a collection lead to people, for whoever asks what
/// is held of them (GDPR Art. 15). What is sealed for a person is theirs in
/// any collection, and needs no mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct People {
    /// Fields that name people.
    pub references: &'static [Reference],
    /// What is not handed out, as dotted paths, beside what
    /// [`Portable::Without`] keeps: credentials, and copies of what stands
    /// elsewhere.
    pub withheld: &'static [&'static str],
}

/// A field that names a person, and what of the document is then theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// `user`, `supplier` or `customer`.
    pub kind: &'static str,
    /// Its dotted path, through lists.
    pub field: &'static str,
    /// How the person stands there.
    pub spelling: Spelling,
    /// What is theirs, as dotted paths; of a list the elements that name them.
    /// Everything if empty.
    pub theirs: &'static [&'static str],
}

/// How a field names a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// By id.
    Id,
    /// As `urn:uuid:` and the id.
    Urn,
    /// As [`crate::crypto::Subject`] writes it.
    Subject,
}

/// A collection that holds how far jobs came and nothing of a tenant's state, so
/// that it is written without audit entries ([`super::Work`]). Only this module
/// says which does: nobody else can make one.
#[derive(Debug)]
pub struct Runs {
    pub(super) collection: &'static Collection,
}

/// The document is the person's own record.
const fn own(kind: &'static str) -> Reference {
    by_id(kind, "_id", &[])
}

const fn by_id(
    kind: &'static str,
    field: &'static str,
    theirs: &'static [&'static str],
) -> Reference {
    Reference { kind, field, spelling: Spelling::Id, theirs }
}

const fn by_urn(kind: &'static str, field: &'static str) -> Reference {
    Reference { kind, field, spelling: Spelling::Urn, theirs: &[] }
}

const fn by_subject(kind: &'static str, field: &'static str) -> Reference {
    Reference { kind, field, spelling: Spelling::Subject, theirs: &[] }
}

const fn about(references: &'static [Reference]) -> People {
    People { references, withheld: &[] }
}

/// Nobody but for whom something is sealed.
const NOBODY: Option<People> = Some(about(&[]));

/// The collection in which people of this kind have their own record.
pub(crate) fn records_of(kind: &str) -> Option<&'static Collection> {
    let is_own = |reference: &Reference| reference.kind == kind && reference.field == "_id";
    COLLECTIONS
        .into_iter()
        .find(|one| one.people.is_some_and(|people| people.references.iter().any(is_own)))
}

/// The field that restricts the use of a person's record ([`crate::restriction`]).
pub(crate) const RESTRICTION: &str = "restriction";

/// What a tenant may take along of a collection (GDPR Art. 20, Art. 28(3)(g)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portable {
    /// The documents, without these top-level fields: credentials, and what
    /// says nothing outside this system.
    Without(&'static [&'static str]),
    /// Nothing: bookkeeping of requests and jobs.
    Nothing,
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
    let portable = Portable::Without(&[]);
    Collection {
        name,
        sealed,
        blind: &[],
        indexes,
        expires_after: None,
        portable,
        append_only: false,
        people: None,
    }
}

/// People who may sign in.
pub const USERS: Collection = Collection {
    portable: Portable::Without(&[
        "password",
        "invitation",
        "password_reset",
        "second_factor",
        "totp_seed",
        "credentials",
    ]),
    people: Some(about(&[own("user")])),
    ..entities(
        "users",
        &["totp_seed"],
        &[unique(&[("email", 1)]), plain(&[("invitation.token_hash", 1)]), BY_AGE],
    )
};
/// Tokens that active users were mailed, for a day: by then all have expired.
pub const MAILED_TOKENS: Collection = Collection {
    portable: Portable::Nothing,
    expires_after: Some(24 * 60 * 60),
    people: Some(about(&[by_id("user", "user", &["purpose"])])),
    ..entities("mailed_tokens", &["new_email"], &[unique(&[("token.token_hash", 1)])])
};
/// What the tenant decides for itself; one document.
pub const SETTINGS: Collection = Collection {
    people: Some(about(&[
        by_id("user", "contacts.primary.user", &["contacts.primary"]),
        by_id("user", "contacts.security.user", &["contacts.security"]),
        by_id("user", "contacts.billing.user", &["contacts.billing"]),
        by_id("user", "cross_border_consent.recorded_by", &["cross_border_consent.recorded_at"]),
    ])),
    ..entities("settings", &[], &[])
};
/// Businesses that goods come from.
pub const SUPPLIERS: Collection = Collection {
    blind: &[Blind {
        field: "iban_index",
        sealed: "banking",
        pointer: "/iban",
        normal: Normal::Iban,
    }],
    people: Some(about(&[own("supplier")])),
    ..entities("suppliers", &["email", "banking"], &[plain(&[("gln", 1)]), BY_AGE])
};
/// Businesses that goods go to.
pub const CUSTOMERS: Collection = Collection {
    blind: &[Blind { field: "phone_index", sealed: "phone", pointer: "", normal: Normal::Phone }],
    people: Some(about(&[own("customer")])),
    ..entities("customers", &["delivery_address", "phone"], &[plain(&[("gln", 1)]), BY_AGE])
};
/// Trade items by GTIN.
pub const PRODUCTS: Collection =
    Collection { people: NOBODY, ..entities("products", &[], &[unique(&[("gtin", 1)]), BY_AGE]) };
/// Lots.
pub const BATCHES: Collection = Collection {
    people: Some(about(&[by_id("supplier", "supplier_id", &[])])),
    ..entities(
        "batches",
        &[],
        &[
            unique(&[("product_id", 1), ("lot_number", 1)]),
            plain(&[("lot_number", 1)]),
            plain(&[("supplier_id", 1)]),
            BY_AGE,
        ],
    )
};
/// Messages that leave the system after the transaction that wrote them.
pub const OUTBOX: Collection = Collection {
    portable: Portable::Nothing,
    // The text part says the same.
    people: Some(People { references: &[], withheld: &["message.html"] }),
    ..entities("outbox", &["message"], &[plain(&[("state", 1), ("due_at", 1)]), BY_AGE])
};
/// First answers to requests with an `Idempotency-Key`, for a day.
pub const IDEMPOTENCY: Collection = Collection {
    name: "idempotency",
    sealed: &["reply"],
    blind: &[],
    indexes: &[],
    expires_after: Some(24 * 60 * 60),
    portable: Portable::Nothing,
    append_only: false,
    // Answers may hold credentials; what else they say stands in its own place.
    people: Some(People { references: &[], withheld: &["reply"] }),
};

/// Erasures of subjects, as evidence.
pub const ERASURES: Collection = Collection {
    portable: Portable::Without(&["secret_mark"]),
    people: Some(about(&[
        by_subject("user", "subject"),
        by_subject("supplier", "subject"),
        by_subject("customer", "subject"),
    ])),
    ..entities("erasures", &[], &[plain(&[("state", 1), ("subject", 1)]), BY_AGE])
};

/// The closing of the tenant, as its own trail tells of it.
pub const CLOSURES: Collection = Collection { people: NOBODY, ..entities("closures", &[], &[]) };

/// Exports of the audit trail that were asked for.
pub const AUDIT_EXPORTS: Collection = Collection {
    people: Some(about(&[
        by_id("user", "requested_by", &["format", "state", "filter", "role"]),
        by_id("user", "filter.actor", &["filter.actor"]),
    ])),
    ..entities(
        "audit_exports",
        &["ip", "seal"],
        &[plain(&[("state", 1), ("created_at", 1)]), BY_AGE],
    )
};
/// How far the making of each export came.
pub const AUDIT_EXPORT_RUNS: Collection = Collection {
    portable: Portable::Nothing,
    people: NOBODY,
    ..entities("audit_export_runs", &[], &[])
};
/// The runs that make exports.
pub const EXPORTING: Runs = Runs { collection: &AUDIT_EXPORT_RUNS };
/// Attested reviews of the audit trail.
pub const AUDIT_REVIEWS: Collection = Collection {
    people: Some(about(&[by_id("user", "reviewed_by", &[])])),
    ..entities("audit_reviews", &[], &[BY_AGE])
};
/// When the tenant was last reminded of what it owes to its own security.
pub const DUTY_REMINDERS: Collection = Collection {
    portable: Portable::Nothing,
    people: NOBODY,
    ..entities("duty_reminders", &[], &[])
};

/// EPCIS events. `keys` names all that an event is found by; see
/// docs/adr/0017.
pub const EVENTS: Collection = Collection {
    // Who recorded an event stands in the audit trail, which is searched by
    // person; whom goods came from or went to, in the ledger below.
    people: NOBODY,
    ..entities(
        "events",
        &[],
        &[
            unique(&[("identity", 1)]),
            plain(&[("keys", 1), ("event_time", 1), ("_id", 1)]),
            plain(&[("event_time", 1), ("_id", 1)]),
            BY_AGE,
        ],
    )
};
/// What events say of lots: how much of which lot went in, came out, arrived
/// or left.
pub const LOT_MOVEMENTS: Collection = Collection {
    people: Some(about(&[by_urn("supplier", "partner"), by_urn("customer", "partner")])),
    ..entities(
        "lot_movements",
        &[],
        &[
            plain(&[("lot", 1)]),
            plain(&[("event_id", 1)]),
            plain(&[("partner", 1)]),
            plain(&[("transformation", 1)]),
            BY_AGE,
        ],
    )
};
/// Places by GLN.
pub const SITES: Collection =
    Collection { people: NOBODY, ..entities("sites", &[], &[unique(&[("gln", 1)]), BY_AGE]) };
/// Captures of EPCIS documents, and what became of them.
pub const CAPTURES: Collection =
    Collection { people: NOBODY, ..entities("captures", &[], &[BY_AGE]) };
/// What became of an event's status: an own log of each event.
pub const EVENT_HISTORY: Collection = Collection {
    append_only: true,
    people: Some(about(&[by_id("user", "actor", &[])])),
    ..entities(
        "event_history",
        &[],
        &[unique(&[("event_id", 1), ("seq", 1)]), plain(&[("actor", 1)])],
    )
};

/// Recalls and exercises.
pub const RECALLS: Collection = Collection {
    people: Some(about(&[
        by_id("user", "started_by", &["started_by", "kind", "hazard", "reason"]),
        by_id("user", "closed.by", &["closed"]),
    ])),
    ..entities("recalls", &[], &[BY_AGE])
};
/// What each recall found, under its id.
pub const RECALL_FINDINGS: Collection = Collection {
    append_only: true,
    people: Some(about(&[
        by_id("customer", "recipients.recipient", &["recipients"]),
        by_id("supplier", "lots.suppliers", &["lots"]),
    ])),
    ..entities("recall_findings", &[], &[])
};
/// What was said to those who got recalled goods, and by them.
pub const RECALL_NOTICES: Collection = Collection {
    people: Some(about(&[by_id("customer", "recipient", &[]), by_id("user", "by", &[])])),
    ..entities(
        "recall_notices",
        &["contact", "note"],
        &[plain(&[("recall_id", 1), ("recipient", 1)]), BY_AGE],
    )
};

/// Evidence packs that were made of recalls.
pub const RECALL_PACKS: Collection = Collection {
    append_only: true,
    people: Some(about(&[by_id("user", "made_by", &["made_by", "recall_id", "contacts"])])),
    ..entities("recall_packs", &[], &[plain(&[("recall_id", 1), ("_id", -1)])])
};

/// Security questionnaires that were asked for.
pub const QUESTIONNAIRES: Collection = Collection {
    people: NOBODY,
    ..entities("questionnaires", &["contact"], &[plain(&[("state", 1), ("due_on", 1)]), BY_AGE])
};

/// Published postures.
pub const POSTURES: Collection =
    Collection { append_only: true, ..entities("postures", &[], &[BY_AGE]) };
/// What operators vouched for.
pub const ATTESTATIONS: Collection =
    entities("attestations", &[], &[plain(&[("control", 1), ("_id", -1)])]);

/// Requests of people about their data (GDPR Art. 15 to 21).
pub const DATA_SUBJECT_REQUESTS: Collection = Collection {
    people: Some(about(&[
        by_subject("user", "subject"),
        by_subject("supplier", "subject"),
        by_subject("customer", "subject"),
        by_id("user", "opened_by", &["opened_by", "kind", "received_on"]),
    ])),
    ..entities(
        "data_subject_requests",
        &["requester", "description", "extension_reason", "answer"],
        &[plain(&[("state", 1), ("due_on", 1)]), BY_AGE],
    )
};

/// What the tenant was told of breaches that affect it (GDPR Art. 33(2)).
pub const INCIDENTS: Collection =
    Collection { people: NOBODY, ..entities("incidents", &[], &[BY_AGE]) };
/// Notices in the tenant's console, and who acknowledged them.
pub const NOTICES: Collection = Collection {
    people: Some(about(&[by_id("user", "acknowledgements.by", &["title", "acknowledgements"])])),
    ..entities("notices", &[], &[BY_AGE])
};

/// Changes of sub-processors that the tenant was told of (GDPR Art. 28(2)), and
/// its objections.
pub const SUB_PROCESSOR_NOTICES: Collection = Collection {
    people: Some(about(&[by_id("user", "objection.by", &["objection"])])),
    ..entities("sub_processor_notices", &[], &[BY_AGE])
};

/// Accesses of the provider's operators to the tenant.
pub const OPERATOR_ACCESSES: Collection = Collection {
    people: Some(about(&[by_id("user", "ended.by", &["ended"])])),
    ..entities("operator_accesses", &[], &[BY_AGE])
};

/// Collections that every tenant has.
pub const COLLECTIONS: [&Collection; 30] = [
    &USERS,
    &MAILED_TOKENS,
    &SETTINGS,
    &SUPPLIERS,
    &CUSTOMERS,
    &PRODUCTS,
    &BATCHES,
    &OUTBOX,
    &IDEMPOTENCY,
    &ERASURES,
    &CLOSURES,
    &AUDIT_EXPORTS,
    &AUDIT_EXPORT_RUNS,
    &AUDIT_REVIEWS,
    &DUTY_REMINDERS,
    &EVENTS,
    &LOT_MOVEMENTS,
    &SITES,
    &CAPTURES,
    &EVENT_HISTORY,
    &RECALLS,
    &RECALL_FINDINGS,
    &RECALL_NOTICES,
    &RECALL_PACKS,
    &DATA_SUBJECT_REQUESTS,
    &INCIDENTS,
    &NOTICES,
    &QUESTIONNAIRES,
    &SUB_PROCESSOR_NOTICES,
    &OPERATOR_ACCESSES,
];

/// Breaches of personal data that were confirmed.
pub const BREACHES: Collection = entities("breaches", &[], &[plain(&[("state", 1)]), BY_AGE]);
/// How far each affected tenant was told of a breach.
pub const BREACH_DELIVERIES: Collection =
    entities("breach_deliveries", &[], &[plain(&[("breach_id", 1), ("_id", -1)])]);
/// Notices that were published to tenants.
pub const ANNOUNCEMENTS: Collection = entities("announcements", &[], &[BY_AGE]);

/// Changes of sub-processors that were announced.
pub const SUB_PROCESSOR_CHANGES: Collection =
    entities("sub_processor_changes", &[], &[plain(&[("state", 1)]), BY_AGE]);
/// Reports of vulnerabilities.
pub const VULNERABILITY_REPORTS: Collection = entities(
    "vulnerability_reports",
    &["details", "reporter", "credited_as"],
    &[unique(&[("token_hash", 1)]), plain(&[("state", 1)]), BY_AGE],
);

/// Collections that only the provider has: the platform's own data.
pub const PROVIDER_COLLECTIONS: [&Collection; 7] = [
    &BREACHES,
    &BREACH_DELIVERIES,
    &ANNOUNCEMENTS,
    &POSTURES,
    &ATTESTATIONS,
    &SUB_PROCESSOR_CHANGES,
    &VULNERABILITY_REPORTS,
];

/// The collections of `tenant`.
pub fn collections_of(tenant: &TenantId) -> impl Iterator<Item = &'static Collection> {
    let own = if tenant.is_provider() { PROVIDER_COLLECTIONS.as_slice() } else { &[] };
    COLLECTIONS.into_iter().chain(own.iter().copied())
}

/// The tenant's wrapped data keys, in a database of their own.
pub(super) const DATA_KEYS: &str = "data_keys";
/// The head of the tenant's audit tree; one document.
pub(super) const AUDIT_HEAD: &str = "audit_head";
/// Audit entries, in the tenant's append-only database.
pub(super) const AUDIT_ENTRIES: &str = "entries";
/// Signed checkpoints of the audit tree, in the same database.
pub(super) const AUDIT_CHECKPOINTS: &str = "checkpoints";

/// Indexes of the checkpoints. Each extends another one, so that the chain of
/// them cannot fork.
pub(super) const CHECKPOINT_INDEXES: [Index; 2] =
    [unique(&[("previous", 1)]), plain(&[("_id", -1)])];

/// Indexes of the audit entries, one per filter and one by whose personal
/// values there are, newest first; and one by the data key that sealed these.
pub(super) const AUDIT_INDEXES: [Index; 9] = [
    plain(&[("entry.actor.id", 1), ("_id", -1)]),
    plain(&[("entry.action", 1), ("_id", -1)]),
    plain(&[("entry.resource.type", 1), ("_id", -1)]),
    plain(&[("entry.resource.id", 1), ("_id", -1)]),
    plain(&[("at", 1), ("_id", -1)]),
    plain(&[("ip", 1), ("_id", -1)]),
    plain(&[("personal.sub", 1), ("_id", -1)]),
    plain(&[("personal.kid", 1)]),
    plain(&[("_id", -1)]),
];

/// The validator of `collection` in the database of `tenant`.
pub(super) fn validator(collection: &Collection, tenant: &TenantId) -> Document {
    let mut properties = tenant_property(tenant);
    for field in collection.sealed {
        properties.insert(*field, envelope(&["object", "null"]));
    }
    for blind in collection.blind {
        properties.insert(blind.field, doc! { "bsonType": ["binData", "null"] });
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
    let mut properties = tenant_property(tenant);
    properties.insert("personal", doc! { "bsonType": "array", "items": envelope(&["object"]) });
    properties.insert("ip", doc! { "bsonType": ["binData", "null"] });
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "tenant_id", "at", "entry", "leaf", "personal"],
        "properties": properties,
    } }
}

/// The validator of the checkpoints of `tenant`. A checkpoint extends a smaller
/// one, and the first the empty tree.
pub(super) fn checkpoint_validator(tenant: &TenantId) -> Document {
    let mut properties = tenant_property(tenant);
    properties.extend(doc! {
        "_id": { "bsonType": "long", "minimum": 0 },
        "at": { "bsonType": "date" },
        "format": { "bsonType": "string" },
        "checkpoint": { "bsonType": "string" },
        "previous": { "bsonType": "long", "minimum": 0 },
        "consistency": { "bsonType": "array", "items": { "bsonType": "string" } },
    });
    doc! { "$jsonSchema": {
        "bsonType": "object",
        "required": ["_id", "tenant_id", "at", "format", "checkpoint", "previous", "consistency"],
        "additionalProperties": false,
        "properties": properties,
    } }
}

const UUID: &str = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";

/// What the database takes for a sealed value.
fn envelope(types: &[&str]) -> Document {
    doc! {
        "bsonType": types,
        "required": ["v", "kid", "sub", "ct"],
        "additionalProperties": false,
        "properties": {
            "v": { "bsonType": "int", "enum": [1] },
            // Names and nothing else: no text could hide in their place.
            "kid": { "bsonType": "string", "pattern": format!("^{UUID}$") },
            "sub": { "bsonType": "string", "pattern": format!("^(tenant|[a-z]{{1,20}}:{UUID})$") },
            "ct": { "bsonType": "binData" },
        },
    }
}

impl Collection {
    /// The keys of every index with whether it is unique: those declared, one
    /// for each blind index, and two for each sealed field: by data key, by
    /// which values are found that are to be sealed anew, and by whose it is.
    pub(super) fn all_indexes(&self) -> Vec<(Vec<(String, i32)>, bool)> {
        let declared = self.indexes.iter().map(Index::keys_and_uniqueness);
        let by_key = self.sealed.iter().flat_map(|field| {
            ["kid", "sub"].map(|member| (vec![(format!("{field}.{member}"), 1)], false))
        });
        let blind = self
            .blind
            .iter()
            .map(|blind| (vec![(blind.field.to_owned(), 1), ("_id".to_owned(), -1)], false));
        declared.chain(by_key).chain(blind).collect()
    }
}

impl Index {
    pub(super) fn keys_and_uniqueness(&self) -> (Vec<(String, i32)>, bool) {
        (
            self.keys.iter().map(|(field, order)| ((*field).to_owned(), *order)).collect(),
            self.unique,
        )
    }
}

fn tenant_property(tenant: &TenantId) -> Document {
    doc! { "tenant_id": { "enum": [tenant.as_str()] } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Subject;
    use crate::tenant::Id;

    #[test]
    fn every_collection_says_whom_its_documents_are_about() {
        for collection in COLLECTIONS {
            assert!(
                collection.people.is_some(),
                "{}: say where it names people (Collection::people), or that it names none, \
                 so that nothing is forgotten when somebody asks for their data",
                collection.name
            );
        }
    }

    #[test]
    fn everybody_has_a_record_of_their_own() {
        let id = Id::from_u128(7);
        for subject in [Subject::User(id), Subject::Supplier(id), Subject::Customer(id)] {
            let collection = records_of(subject.kind()).expect("a collection");
            assert_eq!(collection.name, format!("{}s", subject.kind()));
        }
        for nobody in [Subject::Tenant, Subject::Request(id)] {
            assert!(records_of(nobody.kind()).is_none());
        }
    }
}
