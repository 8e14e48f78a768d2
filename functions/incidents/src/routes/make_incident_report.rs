//! `POST /v1/incidents/{id}/report`

use keystone::Problem;
use keystone::audit::entry::Resource;
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::Id;
use serde_json::json;

use crate::report::{MAKER_SETTINGS, Made, make};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "make-incident-report",
        method: Method::Post,
        path: "/v1/incidents/{id}/report",
        summary: "Makes the signed report of an incident as it is now, with a link of five minutes.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<Made>),
    },
    permission: Permission::ReadIncidents,
    assurance: Assurance::Full,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 3] = MAKER_SETTINGS;

/// The handler. The trail holds the digest of the file before its link is
/// handed out.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let incident: Id = call.request().path("id")?;
    let made = make(&call, incident).await?;
    call.audited("incident_report.create", async |tx| {
        tx.about(Resource { kind: "incident".into(), id: incident.to_string() });
        tx.facts(&json!({ "sha256": made.sha256() }), &[])?;
        Reply::ok(&made)
    })
    .await
}
