//! `GET /v1/suppliers`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::crypto::Subject;
use keystone::formats::iban_of;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Filter;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::supplier::{Clear, Supplier, SupplierView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-suppliers",
        method: Method::Get,
        path: "/v1/suppliers",
        summary: "Lists suppliers, newest first, sealed data masked.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<List<SupplierView>>),
    },
    permission: Permission::ReadTraceability,
    assurance: Assurance::Full,
};

/// What to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Only suppliers that are paid to this IBAN; blanks and case do not count.
    #[schemars(length(max = 50), extend("format" = "iban-as-printed"))]
    iban: Option<String>,
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
    let page = match query.iban {
        Some(iban) => {
            let iban = iban_of(&iban).unwrap_or(iban);
            let clear = Permission::ReadSupplierBanking;
            let by = ("iban_index", iban.as_str());
            call.page_sealed::<Supplier>(clear, "supplier.search", by, &page).await?
        }
        None => call.page::<Supplier>(Filter::all(), &page).await?,
    };
    call.tenant().prefetch(page.items.iter().map(|stored| Subject::Supplier(stored.id))).await?;
    let view = async |stored: &_| SupplierView::new(call.tenant(), stored, Clear::NOTHING).await;
    Reply::ok(&page.try_map_async(view).await?)
}
