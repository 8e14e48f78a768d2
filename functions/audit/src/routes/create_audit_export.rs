//! `POST /v1/audit/exports`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::export;
use crate::filter::FilterInput;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-audit-export",
        method: Method::Post,
        path: "/v1/audit/exports",
        summary: "Exports up to 10,000 audit entries as a signed PDF.",
        query: None,
        body: Some(schema_of::<NewExport>),
        answer: Answer { status: 200, media_type: "application/pdf", schema: None },
    },
    permission: Permission::ExportAudit,
    assurance: Assurance::Full,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 2] = [Setting::ReportSigningKey, Setting::ReportCertificateSecret];

/// The form of an export.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// PAdES-signed PDF/A-3b with the entries attached.
    Pdf,
}

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

/// The handler. The export is recorded before it is handed out.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewExport = call.request().body()?;
    let Format::Pdf = new.format;
    let pdf = export::signed_pdf(&call, new.filter).await?;
    export::record(&call, &pdf).await?;
    let day = call.now().strftime("%Y-%m-%d");
    let name = format!("{}-audit-{day}.pdf", call.tenant().id());
    Ok(Reply::file("application/pdf", name, pdf.bytes))
}
