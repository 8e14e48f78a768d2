//! `GET /v1/events/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::epcis::document::EventSchema;
use crate::event::{find, to_json};

const EPCIS: &str = "application/ld+json";
const JSON: &str = "application/json";

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-event",
        method: Method::Get,
        path: "/v1/events/{id}",
        summary: "Reads an event by our id or its eventID; one with slashes is escaped twice.",
        query: None,
        body: None,
        answer: Answer {
            status: 200,
            media_type: EPCIS,
            schema: Some(schema_of::<EventSchema>),
            also: &[JSON],
        },
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id: String = call.request().path("id")?;
    let form = call.request().accepted(&[EPCIS, JSON])?;
    let stored = find(call.tenant(), &id).await?;
    let body = to_json(&stored, Some(&stored.entity.context));
    Ok(Reply::text(form, body).with_version(stored.version))
}
