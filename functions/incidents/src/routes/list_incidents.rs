//! `GET /v1/incidents`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;

use crate::incident::{Incident, IncidentView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-incidents",
        method: Method::Get,
        path: "/v1/incidents",
        summary: "Lists the breaches of personal data that affect the tenant, newest first.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<IncidentView>>),
    },
    permission: Permission::ReadIncidents,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let page = call.page::<Incident>(Filter::all(), &query).await?;
    let view = async |stored: &_| IncidentView::short(call.tenant(), stored, call.now()).await;
    Reply::ok(&page.try_map_async(view).await?)
}
