//! `GET /v1/incidents/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::incident::IncidentView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-incident",
        method: Method::Get,
        path: "/v1/incidents/{id}",
        summary: "Reads an incident: what happened, both deadlines, what was told when.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<IncidentView>),
    },
    permission: Permission::ReadIncidents,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    Reply::ok(&IncidentView::whole(call.tenant(), id, call.now()).await?)
}
