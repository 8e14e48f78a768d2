//! Every route of every crate.

use keystone::auth::Permission;
use keystone::http::{Assurance, PublicRoute, Route, Spec};
use serde_json::json;

use crate::{Answer, Client};

/// An id that nothing has.
const NOTHING: &str = "01890000-0000-7000-8000-000000000000";

/// A route with the crate that it belongs to.
#[derive(Clone, Copy)]
pub struct Listed {
    /// The bounded context: a folder of `functions/`.
    pub context: &'static str,
    /// What the route says of itself.
    pub spec: &'static Spec,
    /// What it needs; `None` for a public route.
    pub permission: Option<Permission>,
    /// What its session must have shown; `None` for a public route.
    pub assurance: Option<Assurance>,
    /// Whether it serves an operator who was granted access; never for a public
    /// route, which asks nobody.
    pub serves_operators: bool,
}

/// All routes, by path and method.
pub fn all() -> Vec<Listed> {
    let mut all = Vec::new();
    let mut guarded = |context, routes: &[&'static Route]| {
        all.extend(routes.iter().map(|route| Listed {
            context,
            spec: &route.spec,
            permission: Some(route.permission),
            assurance: Some(route.assurance),
            serves_operators: route.serves_operators(),
        }));
    };
    guarded("audit", &keystone_audit::routes::ROUTES);
    guarded("identity", &keystone_identity::routes::ROUTES);
    guarded("disclosure", &keystone_disclosure::routes::ROUTES);
    guarded("incidents", &keystone_incidents::routes::ROUTES);
    guarded("privacy", &keystone_privacy::routes::ROUTES);
    guarded("traceability", &keystone_traceability::routes::ROUTES);
    guarded("trust", &keystone_trust::routes::ROUTES);
    let mut public = |context, routes: &[&'static PublicRoute]| {
        all.extend(routes.iter().map(|route| Listed {
            context,
            spec: &route.spec,
            permission: None,
            assurance: None,
            serves_operators: false,
        }));
    };
    public("audit", &keystone_audit::routes::PUBLIC_ROUTES);
    public("disclosure", &keystone_disclosure::routes::PUBLIC_ROUTES);
    public("identity", &keystone_identity::routes::PUBLIC_ROUTES);
    public("operations", &keystone_operations::routes::ROUTES);
    public("trust", &keystone_trust::routes::PUBLIC_ROUTES);
    all.sort_by_key(|listed| (listed.spec.path, listed.spec.method.as_str()));
    all
}

/// The names of a path's parameters.
pub fn parameters(path: &str) -> Vec<&str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')))
        .collect()
}

/// The path with `value` for each of its parameters.
pub fn fill(path: &str, value: &str) -> String {
    parameters(path)
        .iter()
        .fold(path.to_owned(), |path, name| path.replace(&format!("{{{name}}}"), value))
}

/// A request that, where it is permitted, changes nothing but sessions.
pub async fn attempt(client: &Client, listed: &Listed) -> Answer {
    let id = if listed.spec.path.contains("{seq}") { "999999" } else { NOTHING };
    let path = fill(listed.spec.path, id);
    let request = client.request(listed.spec.method.as_str(), &path).header("if-match", "\"1\"");
    match listed.spec.body {
        Some(_) => request.json(&json!({})).send().await,
        None => request.send().await,
    }
}
