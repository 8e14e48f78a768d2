//! `GET /openapi.json`

use keystone::Problem;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec};

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "openapi",
        method: Method::Get,
        path: "/openapi.json",
        summary: "This document.",
        query: None,
        body: None,
        answer: Answer { status: 200, media_type: "application/json", schema: None, also: &[] },
    },
};

/// Generated from the routes by `make openapi`; a test fails when it is not
/// what the code says.
pub const DOCUMENT: &str = include_str!("../../openapi.json");

/// The handler.
#[expect(clippy::unused_async, reason = "a handler is asynchronous")]
pub async fn handle(_: PublicCall) -> Result<Reply, Problem> {
    Ok(Reply::document(DOCUMENT))
}
