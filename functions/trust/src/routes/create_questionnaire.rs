//! `POST /v1/questionnaires`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::posture::PostureView;
use crate::questionnaire::{NewQuestionnaire, QuestionnaireView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-questionnaire",
        method: Method::Post,
        path: "/v1/questionnaires",
        summary: "Asks for a completed security questionnaire; answers with the date and drafts.",
        query: None,
        body: Some(schema_of::<NewQuestionnaire>),
        answer: Answer::json(201, schema_of::<QuestionnaireView>),
    },
    permission: Permission::AskQuestionnaires,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let new: NewQuestionnaire = call.request().body()?;
    new.check("")?;
    let provider = call.platform().registry(call.now()).await?.provider(call.now()).await?;
    let posture = PostureView::read(&provider, call.now()).await?;
    let id = call.new_id()?;
    let name = call.tenant().profile().legal_name.clone();
    let questionnaire = new.received(name, None, call.now());
    call.audited("questionnaire.request", async |tx| {
        let stored = tx.insert(id, questionnaire.clone()).await?;
        let view = QuestionnaireView::new(&stored, &posture);
        Ok(Reply::created(format!("/v1/questionnaires/{id}"), &view)?.with_version(stored.version))
    })
    .await
}
