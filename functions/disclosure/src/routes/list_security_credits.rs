//! `GET /security/credits`

use keystone::Problem;
use keystone::config::Setting;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use schemars::JsonSchema;
use serde::Serialize;

use crate::page::{HTML, JSON, Page, html};
use crate::vulnerability::{Credit, credits};

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "list-security-credits",
        method: Method::Get,
        path: "/security/credits",
        summary: "Thanks those who reported vulnerabilities and permitted to be named, as data or \
                  as a page.",
        query: None,
        body: None,
        answer: Answer {
            status: 200,
            media_type: JSON,
            schema: Some(schema_of::<Credits>),
            also: &[HTML],
        },
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// Those who are thanked.
#[derive(Serialize, JsonSchema)]
pub struct Credits {
    /// Latest first.
    items: Vec<Credit>,
}

/// The handler.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let form = call.request().accepted(&[JSON, HTML])?;
    let now = call.request().now;
    let provider = call.platform().registry(now).await?.provider(now).await?;
    let items = credits(&provider).await?;
    if form == JSON {
        return Reply::ok(&Credits { items });
    }
    let rows = items.into_iter().map(|credit| vec![credit.name, credit.resolved_on.to_string()]);
    let page = Page {
        title: "Thank you",
        paragraphs: &["They reported vulnerabilities in Keystone, which are resolved.".into()],
        columns: &["Name", "Resolved on"],
        rows: rows.collect(),
        empty: "Nobody is named here yet.",
    };
    Ok(Reply::text("text/html; charset=utf-8", html(&page)?))
}
