//! `GET /v1/recalls/{id}/pack`

use keystone::Problem;
use keystone::audit::entry::{Outcome, Resource};
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::Entity;
use serde_json::json;

use crate::recall::pack::{Pack, PackView, newest};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-recall-pack",
        method: Method::Get,
        path: "/v1/recalls/{id}/pack",
        summary: "Reads the newest evidence pack of a recall, with a link of five minutes.",
        query: None,
        body: None,
        answer: Answer::json(200, schema_of::<PackView>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 1] = [Setting::ExportBucket];

/// The handler. A pack with contact data in clear is for roles that may read
/// it; a link is recorded before it is handed out.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let stored = newest(&call, call.request().path("id")?).await?;
    if stored.entity.contacts && !call.sees(Permission::ReadContactData) {
        return Err(Problem::Forbidden);
    }
    let view = PackView::with_link(&call, &stored).await?;
    if view.has_link() {
        let resource = Resource { kind: Pack::RESOURCE.into(), id: stored.id.to_string() };
        let facts = json!({
            "recall_id": stored.entity.recall_id, "contacts": stored.entity.contacts,
        });
        call.tenant()
            .record(&call.attribution()?, "recall_pack.fetch", resource, Outcome::Success, facts)
            .await?;
    }
    Reply::ok(&view)
}
