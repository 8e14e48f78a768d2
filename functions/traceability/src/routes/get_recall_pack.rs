//! `GET /v1/recalls/{id}/pack`

use keystone::Problem;
use keystone::audit::entry::{Outcome, Resource};
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::Entity;
use serde_json::json;

use crate::recall::pack::{Pack, PackQuery, PackView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-recall-pack",
        method: Method::Get,
        path: "/v1/recalls/{id}/pack",
        summary: "Reads the newest evidence pack of a recall that the caller may read, with a link \
                  of five minutes.",
        query: Some(schema_of::<PackQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<PackView>),
    },
    permission: Permission::FetchRecallPacks,
    assurance: Assurance::Full,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 1] = [Setting::ExportBucket];

/// The handler. A pack with contact data in clear is for roles that may read
/// it, and hides none of the others; a link is recorded before it is handed out.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PackQuery = call.request().query()?;
    let clear = call.sees(Permission::ReadContactData);
    let stored = query.newest(&call, call.request().path("id")?, clear).await?;
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
