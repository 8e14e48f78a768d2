//! `GET /v1/events`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::epcis::document::QueryDocumentSchema;
use crate::event::query_document;
use crate::event_query::EventQuery;

const EPCIS: &str = "application/ld+json";
const JSON: &str = "application/json";

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-events",
        method: Method::Get,
        path: "/v1/events",
        summary: "Queries events by the parameters of EPCIS 2.0.",
        query: Some(schema_of::<EventQuery>),
        body: None,
        answer: Answer {
            status: 200,
            media_type: EPCIS,
            schema: Some(schema_of::<QueryDocumentSchema>),
            also: &[JSON],
        },
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query = EventQuery::of(call.request())?;
    let form = call.request().accepted(&[EPCIS, JSON])?;
    let found = query.run(call.tenant()).await?;
    let reply = Reply::text(form, query_document(&found.events, call.now()));
    Ok(match found.next {
        Some(token) => {
            let query = call.request().query_with("nextPageToken", &token);
            reply.with_next(&format!("/v1/events{query}"))
        }
        None => reply,
    })
}
