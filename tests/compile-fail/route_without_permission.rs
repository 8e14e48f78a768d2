//! A guarded handler behind a public route.

use keystone::http::{Answer, Call, Method, PublicRoute, Reply, Spec};
use keystone::{Exit, Problem};

const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "list-secrets",
        method: Method::Get,
        path: "/v1/secrets",
        summary: "",
        query: None,
        body: None,
        answer: Answer::empty(),
    },
};

async fn handle(_: Call) -> Result<Reply, Problem> {
    Ok(Reply::empty())
}

pub async fn as_guarded() -> Exit {
    keystone::http::serve(&ROUTE, &[], handle).await //~ E0308
}

pub async fn as_public() -> Exit {
    keystone::http::serve_public(&ROUTE, &[], handle).await //~ E0631
}
