//! `GET /v1/customers`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::crypto::Subject;
use keystone::formats::e164_of;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::customer::{Customer, CustomerView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-customers",
        method: Method::Get,
        path: "/v1/customers",
        summary: "Lists customers, newest first, sealed data masked.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<List<CustomerView>>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// What to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Only customers with this telephone number, in any spelling of E.164.
    #[schemars(length(max = 50), extend("format" = "phone"))]
    phone: Option<String>,
    /// At most this many; 50 unless given.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<i64>,
    /// Where the page before ended.
    #[schemars(length(min = 1, max = 200))]
    cursor: Option<String>,
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: Query = call.request().query()?;
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    let page = match query.phone {
        Some(phone) => {
            let phone = e164_of(&phone).unwrap_or(phone);
            let clear = Permission::ReadContactData;
            let by = ("phone_index", phone.as_str());
            call.page_sealed::<Customer>(clear, "customer.search", by, &page).await?
        }
        None => call.page::<Customer>(Filter::all(), &page).await?,
    };
    call.tenant().prefetch(page.items.iter().map(|stored| Subject::Customer(stored.id))).await?;
    let view = async |stored: &_| CustomerView::new(call.tenant(), stored, false).await;
    Reply::ok(&page.try_map_async(view).await?)
}
