//! `GET /v1/sub-processors`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use schemars::JsonSchema;
use serde::Serialize;

use crate::sub_processor::{ForTenant, list_for};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-sub-processor-uses",
        method: Method::Get,
        path: "/v1/sub-processors",
        summary: "Lists the sub-processors, and whether each may be used for the tenant's data now.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<SubProcessorUses>),
    },
    permission: Permission::ReadNotices,
    assurance: Assurance::Full,
};

/// The sub-processors, as they concern the tenant.
#[derive(Serialize, JsonSchema)]
pub struct SubProcessorUses {
    /// Those that are used, then those to come.
    items: Vec<ForTenant>,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let provider = call.platform().registry(call.now()).await?.provider(call.now()).await?;
    let items = list_for(&provider, call.tenant()).await?;
    Reply::ok(&SubProcessorUses { items })
}
