//! `POST /v1/recalls/{id}/pack`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::recall::pack::{MAKER_SETTINGS, NewPack, PackView};

/// The route. A pack carries data out of the product, so it asks for a recent
/// sign-in.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "make-recall-pack",
        method: Method::Post,
        path: "/v1/recalls/{id}/pack",
        summary: "Makes the signed evidence pack of a recall as it is now.",
        query: None,
        body: Some(schema_of::<NewPack>),
        answer: Answer::json(201, schema_of::<PackView>),
    },
    permission: Permission::RunRecalls,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 3] = MAKER_SETTINGS;

/// The handler. A file whose pack is not stored in the end is referred to by
/// nothing, and the bucket deletes it.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let recall = call.request().path("id")?;
    let new: NewPack = call.request().body()?;
    let id = call.new_id()?;
    let pack = new.make(&call, recall, id).await?;
    call.audited("recall_pack.create", async |tx| {
        let stored = tx.insert(id, pack.clone()).await?;
        let location = format!("/v1/recalls/{recall}/pack");
        Reply::created(location, &PackView::new(&call, &stored))
    })
    .await
}
