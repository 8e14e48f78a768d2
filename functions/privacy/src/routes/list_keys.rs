//! `GET /v1/keys`

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::{Id, KeyState, KeyUsage};
use schemars::JsonSchema;
use serde::Serialize;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-keys",
        method: Method::Get,
        path: "/v1/keys",
        summary: "Lists the tenant's data keys, newest first, with what each is in use for.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<Keys>),
    },
    permission: Permission::ReadKeys,
    assurance: Assurance::Full,
};

/// The tenant's data keys.
#[derive(Serialize, JsonSchema)]
pub struct Keys {
    /// When the key that seals was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    last_rotated_at: Option<Timestamp>,
    /// The keys, newest first.
    items: Vec<KeyView>,
}

/// A data key.
#[derive(Serialize, JsonSchema)]
pub struct KeyView {
    /// Id, as in the audit trail.
    id: Id,
    /// Ordinal, from 1.
    version: i64,
    /// `current` seals; `retiring` still opens data; `retired` opens nothing
    /// but personal values of older audit entries.
    state: KeyState,
    /// When it was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    created_at: Timestamp,
    /// Values in the tenant's data that it sealed.
    values: u64,
    /// The same by collection and field.
    sealed: Vec<SealedCount>,
    /// Audit entries whose personal values it sealed. Nobody may change these,
    /// so they open with it alone, for as long as the trail is kept.
    audit_entries: u64,
}

/// How many values of a field a key sealed.
#[derive(Serialize, JsonSchema)]
pub struct SealedCount {
    /// Collection.
    collection: &'static str,
    /// Field.
    field: &'static str,
    /// Values.
    values: u64,
}

impl From<KeyUsage> for KeyView {
    fn from(usage: KeyUsage) -> Self {
        let sealed: Vec<_> = usage
            .sealed
            .into_iter()
            .map(|(collection, field, values)| SealedCount { collection, field, values })
            .collect();
        Self {
            id: usage.id,
            version: usage.version,
            state: usage.state,
            created_at: usage.created_at,
            values: sealed.iter().map(|count| count.values).sum(),
            sealed,
            audit_entries: usage.audit_entries,
        }
    }
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let items: Vec<KeyView> =
        call.tenant().key_usage().await?.into_iter().map(KeyView::from).collect();
    let last_rotated_at = items.first().map(|key| key.created_at);
    Reply::ok(&Keys { last_rotated_at, items })
}
