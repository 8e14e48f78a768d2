//! `GET /v1/audit`

use std::net::IpAddr;

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::filter::FilterInput;
use crate::view::AuditEntryView;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-audit-entries",
        method: Method::Get,
        path: "/v1/audit",
        summary: "Queries the audit trail, newest first; ops_user sees own actions.",
        query: Some(schema_of::<Query>),
        body: None,
        answer: Answer::json(200, schema_of::<List<AuditEntryView>>),
    },
    permission: Permission::QueryAudit,
    assurance: Assurance::Full,
};

/// What to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Id of the actor.
    #[schemars(length(min = 1, max = 100))]
    actor: Option<String>,
    /// Action, such as `batch.create`.
    #[schemars(length(min = 1, max = 100))]
    action: Option<String>,
    /// Type of the resource, such as `batch`.
    #[schemars(length(min = 1, max = 100))]
    resource_type: Option<String>,
    /// Id of the resource.
    #[schemars(length(min = 1, max = 100))]
    resource_id: Option<String>,
    /// Not before this moment.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    from: Option<Timestamp>,
    /// Before this moment.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    to: Option<Timestamp>,
    /// Source address.
    #[schemars(with = "Option<String>", extend("format" = "ip"))]
    ip: Option<IpAddr>,
    /// At most this many; 50 unless given. Where an address or several filters
    /// are asked for, a page may hold fewer, or none, though it is not the last:
    /// the one without `next_cursor` is.
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
    let filter = FilterInput {
        actor: query.actor,
        action: query.action,
        resource_type: query.resource_type,
        resource_id: query.resource_id,
        from: query.from,
        to: query.to,
        ip: query.ip,
    }
    .for_principal(call.principal())?;
    let limit = page.limit();
    let found = call.tenant().audit_entries_where(&filter, page.after::<u64>()?, limit + 1).await?;
    let list = List::new(found.records, limit, |record| record.entry.seq).or_from(found.stopped);
    Reply::ok(&list.try_map(AuditEntryView::new)?)
}
