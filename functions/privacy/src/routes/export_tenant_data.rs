//! `GET /v1/tenant/data/{collection}`

use keystone::Problem;
use keystone::audit::entry::{Outcome, Resource};
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::{Id, Page, portable};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "export-tenant-data",
        method: Method::Get,
        path: "/v1/tenant/data/{collection}",
        summary: "Gives the documents of a collection in clear, newest first, to take along.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<DocumentView>>),
    },
    permission: Permission::ManageTenant,
    assurance: Assurance::FullRecent,
};

/// A document: all that is stored of it, but for credentials.
#[derive(Serialize, JsonSchema)]
pub struct DocumentView {
    /// Id.
    id: Id,
    /// Its fields; sealed values stand in clear, erased ones are null.
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// The handler. What is about to be disclosed is recorded first.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let limit = query.limit();
    let page = Page { after: query.after::<Id>()?, limit: limit + 1 };
    let name: String = call.request().path("collection")?;
    let collection = portable::collections().find(|one| one.name == name);
    let collection = collection.ok_or(Problem::NotFound)?;
    let found = call.tenant().portable(collection, page).await?;
    let list = List::new(found, limit, |document| document.id);
    let (newest, oldest) = (list.items.first(), list.items.last());
    let facts = json!({
        "collection": name,
        "documents": list.items.len(),
        "newest": newest.map(|document| document.id),
        "oldest": oldest.map(|document| document.id),
    });
    let tenant = Resource { kind: "tenant".into(), id: call.tenant().id().to_string() };
    let by = call.attribution()?;
    call.tenant().record(&by, "tenant.export_data", tenant, Outcome::Success, facts).await?;
    Reply::ok(
        &list.map(|document| DocumentView { id: document.id, fields: document.fields.clone() }),
    )
}
