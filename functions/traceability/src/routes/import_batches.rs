//! `POST /v1/imports/batches`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::import::{Batches, Body, Imported, Query, import};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "import-batches",
        method: Method::Post,
        path: "/v1/imports/batches",
        summary: "Records the batches of a table, all or none; a dry run only judges it.",
        query: Some(schema_of::<Query>),
        body: Some(schema_of::<Body<Batches>>),
        answer: Answer::json(200, schema_of::<Imported>),
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    import::<Batches>(&call).await
}
