//! `GET /v1/trust/posture`

use keystone::Problem;
use keystone::config::Setting;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};

use crate::posture::{PostureView, html};

const JSON: &str = "application/json";
const HTML: &str = "text/html";

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "get-posture",
        method: Method::Get,
        path: "/v1/trust/posture",
        summary: "Shows every control that is claimed and what was found when it was last looked \
                  at, as data or as a page.",
        query: None,
        body: None,
        answer: Answer {
            status: 200,
            media_type: JSON,
            schema: Some(schema_of::<PostureView>),
            also: &[HTML],
        },
    },
};

/// The handler.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let form = call.request().accepted(&[JSON, HTML])?;
    let now = call.request().now;
    let provider = call.platform().registry(now).await?.provider(now).await?;
    let posture = PostureView::read(&provider, now).await?;
    if form == HTML {
        return Ok(Reply::text("text/html; charset=utf-8", html(&posture)?));
    }
    Reply::ok(&posture)
}
