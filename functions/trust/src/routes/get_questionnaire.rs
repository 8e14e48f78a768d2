//! `GET /v1/questionnaires/{id}`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, CSV, Call, Method, Reply, Route, Spec, schema_of};

use crate::posture::PostureView;
use crate::questionnaire::{Questionnaire, QuestionnaireView};

const JSON: &str = "application/json";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "get-questionnaire",
        method: Method::Get,
        path: "/v1/questionnaires/{id}",
        summary: "Reads a questionnaire with its answers and which of those are wrong by now, as \
                  data, table or workbook.",
        query: None,
        body: None,
        answer: Answer {
            status: 200,
            media_type: JSON,
            schema: Some(schema_of::<QuestionnaireView>),
            also: &[CSV, XLSX],
        },
    },
    permission: Permission::AskQuestionnaires,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let form = call.request().accepted(&[JSON, CSV, XLSX])?;
    let stored = call.tenant().get::<Questionnaire>(id).await?.ok_or(Problem::NotFound)?;
    let provider = call.platform().registry(call.now()).await?.provider(call.now()).await?;
    let posture = PostureView::read(&provider, call.now()).await?;
    let view = QuestionnaireView::new(&stored, &posture);
    Ok(match form {
        CSV => Reply::text("text/csv; charset=utf-8; header=present", view.csv()?),
        XLSX => Reply::binary(XLSX, view.xlsx()?),
        _ => Reply::ok(&view)?.with_version(stored.version),
    })
}
