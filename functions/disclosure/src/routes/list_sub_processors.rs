//! `GET /legal/sub-processors`

use keystone::Problem;
use keystone::config::Setting;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec, schema_of};
use schemars::JsonSchema;
use serde::Serialize;

use crate::page::{HTML, JSON, Page, html};
use crate::sub_processor::{Listed, State, list};

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "list-sub-processors",
        method: Method::Get,
        path: "/legal/sub-processors",
        summary: "Lists those who process customers' data for us, and changes to come, as data or \
                  as a page.",
        query: None,
        body: None,
        answer: Answer {
            status: 200,
            media_type: JSON,
            schema: Some(schema_of::<SubProcessors>),
            also: &[HTML],
        },
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// The sub-processors.
#[derive(Serialize, JsonSchema)]
pub struct SubProcessors {
    /// Those that are used, then those to come.
    items: Vec<Listed>,
}

/// The handler.
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let form = call.request().accepted(&[JSON, HTML])?;
    let now = call.request().now;
    let provider = call.platform().registry(now).await?.provider(now).await?;
    let items = list(&provider).await?;
    if form == JSON {
        return Reply::ok(&SubProcessors { items });
    }
    let row = |one: Listed| {
        let from = match (one.state, one.effective_on) {
            (State::Announced, Some(day)) => format!("announced, from {day} at the earliest"),
            _ if one.outside_eu => "in use, only with the customer's written consent".into(),
            _ => "in use".into(),
        };
        let of = one.description;
        let countries = of.countries.join(", ");
        vec![of.name, of.purpose, of.data, of.location, countries, of.safeguards, of.contact, from]
    };
    let page = Page {
        title: "Sub-processors",
        paragraphs: &["Material changes are announced to the primary contact of each customer \
                       at least 30 days before they take effect (GDPR Art. 28(2)). One that has \
                       data outside the EU may be used only for customers whose written consent is \
                       recorded."
            .into()],
        columns: &[
            "Name",
            "Purpose",
            "Data",
            "Location",
            "Countries",
            "Safeguards",
            "Contact",
            "State",
        ],
        rows: items.into_iter().map(row).collect(),
        empty: "There are none.",
    };
    Ok(Reply::text("text/html; charset=utf-8", html(&page)?))
}
