//! `POST /v1/audit/exports`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::WriteTx;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::exports::{Export, ExportView, Format, room_for_another, send};
use crate::filter::FilterInput;

/// The route. An export carries personal values out of the product, so it
/// asks for a recent sign-in.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-audit-export",
        method: Method::Post,
        path: "/v1/audit/exports",
        summary: "Asks for an export of the audit trail, of any size, to be fetched when it is done.",
        query: None,
        body: Some(schema_of::<NewExport>),
        answer: Answer::json(202, schema_of::<ExportView>),
    },
    permission: Permission::ExportAudit,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 1] = [Setting::ExportQueue];

/// What to export.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExport {
    /// The form.
    format: Format,
    /// Which entries; all unless given.
    #[serde(default)]
    #[schemars(with = "FilterInput")]
    filter: FilterInput,
}

/// The handler. A message that cannot be sent after the commit is sent by the
/// sweep.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewExport = call.request().body()?;
    new.filter.check_period("/filter/to")?;
    // Whoever may export may also query everything; the matrix decides, though.
    new.filter.clone().for_principal(call.principal())?;
    room_for_another(call.tenant()).await?;
    let id = call.new_id()?;
    let by = (call.principal().user(), call.principal().role().name());
    let now = call.now();
    let export = Export::new(call.tenant(), id, new.format, &new.filter, by, now).await?;
    let mut made = false;
    let reply = call
        .audited("audit_export.create", async |tx: &mut WriteTx<'_>| {
            let stored = tx.insert(id, export.clone()).await?;
            made = true;
            let view = ExportView::new(tx.tenant(), &stored).await?;
            Reply::accepted(format!("/v1/audit/exports/{id}"), &view)
        })
        .await?;
    if made && send(call.platform(), call.tenant().id(), id).await.is_err() {
        tracing::warn!(export = %id, "the message was not sent; the sweep will");
    }
    Ok(reply)
}
