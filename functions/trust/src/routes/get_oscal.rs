//! `GET /v1/trust/oscal`

use keystone::Problem;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::oscal::{Model, OscalDocument, assessment_results, component_definition};
use crate::posture::PostureView;

pub use super::get_posture::SETTINGS;

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "get-oscal",
        method: Method::Get,
        path: "/v1/trust/oscal",
        summary: "Gives the controls and what was found of them as OSCAL 1.1.3.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<OscalDocument>),
    },
};

/// Which document.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Which model of OSCAL; `assessment-results` unless given.
    model: Option<Model>,
}

/// The handler.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let now = call.request().now;
    let provider = call.platform().registry(now).await?.provider(now).await?;
    let posture = PostureView::read(&provider, now).await?;
    Reply::ok(&match query.model.unwrap_or(Model::AssessmentResults) {
        Model::ComponentDefinition => component_definition(&posture, now),
        Model::AssessmentResults => assessment_results(&posture, now),
    })
}
