//! The isolation probe: an ordinary user of each of two canaries, tenants that are
//! made for this, tries every read route of the running API across the boundary
//! between them. docs/adr/0039 has the reasons.
//!
//! Which routes there are says the API document, which is made from the routes.
//! A route counts as kept apart only where its owner was shown what the other
//! was refused: else nothing was proved, and that is a result of its own.

mod property;
mod visitor;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use keystone::tenant::{ProbeUser, StoreError, TenantId};
use serde::Serialize;
use serde_json::Value;

use crate::api_document::{Operation, guarded};
use property::{KINDS, USERS, furnish};
use visitor::{Answer, Unanswered, Visitor};

/// The action under which the provider's trail has the result.
pub const PROBE: &str = "isolation.probe";

/// After so long the probe is given up; signing out comes after that.
const RUN_LIMIT: Duration = Duration::from_mins(5);
/// After so long an answer is given up: longer than any function takes.
const HTTP_LIMIT: Duration = Duration::from_secs(30);
/// Routes that are tried at once.
const PARALLEL: usize = 6;
/// An id that nothing has.
const NOTHING: &str = "01890000-0000-7000-8000-000000000000";

/// What the visitor's role may not read whoever owns it.
const REFUSED: [&str; 3] = ["/v1/tenant", "/v1/tenant/data", "/v1/tenant/data/{collection}"];
/// Routes that need a query.
const QUERIES: [(&str, &str); 1] = [("/v1/audit/consistency", "?from=0&to=1")];
/// Entries of the audit trail, and what is read with one. Every tenant's begin
/// at 0.
const NUMBERED: &str = "/v1/audit/{seq}";

/// How a read route reaches what a tenant owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// By the id of a thing in this collection.
    Owned(&'static str),
    /// By a number that every tenant has.
    Numbered,
    /// It shows what the session's tenant has.
    Listed,
    /// Not at all: the visitor's role may not.
    Refused,
}

/// How the read route with this path reaches what a tenant owns; `None` for one
/// that the probe does not know how to try.
pub fn reach(path: &str) -> Option<Reach> {
    if REFUSED.contains(&path) {
        return Some(Reach::Refused);
    }
    if path.strip_prefix(NUMBERED).is_some_and(|rest| !rest.contains('{')) {
        return Some(Reach::Numbered);
    }
    let Some((collection, rest)) = path.split_once("/{id}") else {
        return (!path.contains('{')).then_some(Reach::Listed);
    };
    let known = KINDS.iter().map(|kind| kind.at).chain([USERS]);
    let owned = known.into_iter().find(|at| *at == collection);
    owned.filter(|_| !rest.contains('{')).map(Reach::Owned)
}

/// What a run found.
#[derive(Debug, Default, Serialize)]
pub struct Probed {
    /// Read routes that were tried in both directions, those among them that the
    /// visitor's role may not read.
    routes: usize,
    /// Routes that showed what is another tenant's.
    pub crossed: BTreeSet<String>,
    /// Routes of which nothing was proved, and what kept the probe from trying.
    pub unproven: BTreeSet<String>,
}

impl Probed {
    /// Whether every route was tried, and none showed what is another tenant's.
    pub fn is_clean(&self) -> bool {
        self.routes > 0 && self.crossed.is_empty() && self.unproven.is_empty()
    }

    fn note(&mut self, name: &str, seen: Seen) {
        self.routes += 1;
        match seen {
            Seen::Apart => {}
            Seen::Crossed => {
                self.crossed.insert(name.to_owned());
            }
            Seen::Nothing => {
                self.unproven.insert(name.to_owned());
            }
        }
    }
}

/// What was seen of a route, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    /// Its owner is shown what the other is refused.
    Apart,
    /// Nothing that proves anything.
    Nothing,
    /// It shows what is another tenant's.
    Crossed,
}

/// Tries every read route of the API at `base` between the canaries.
///
/// # Errors
/// [`StoreError::Defect`] when no client can be made; everything else is a
/// result.
pub async fn probe(base: &str, user: &ProbeUser) -> Result<Probed, StoreError> {
    let http = reqwest::Client::builder()
        .timeout(HTTP_LIMIT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("keystone-isolation-probe")
        .build()
        .map_err(StoreError::defect)?;
    let mut probed = Probed::default();
    let mut visitors = Vec::new();
    for tenant in TenantId::canaries() {
        match Visitor::sign_in(&http, base, &tenant, user).await {
            Ok(visitor) => visitors.push(visitor),
            Err(Unanswered(why)) => {
                tracing::error!(%tenant, why, "the probe could not sign in");
                probed.unproven.insert("login".into());
            }
        }
    }
    if let [one, other] = visitors.as_mut_slice() {
        let run = try_all(&http, base, (one, other), &mut probed);
        if tokio::time::timeout(RUN_LIMIT, run).await.is_err() {
            tracing::error!("the probe did not end in time");
            probed.unproven.insert("time".into());
        }
    }
    for visitor in &visitors {
        if let Err(Unanswered(why)) = visitor.sign_out().await {
            tracing::warn!(tenant = visitor.slug(), why, "the probe could not sign out");
        }
    }
    Ok(probed)
}

async fn try_all<'h>(
    http: &reqwest::Client,
    base: &str,
    (one, other): (&mut Visitor<'h>, &mut Visitor<'h>),
    probed: &mut Probed,
) {
    tokio::join!(furnish(&mut *one), furnish(&mut *other));
    let (one, other) = (&*one, &*other);
    let routes = match read_routes(http, base).await {
        Ok(routes) => routes,
        Err(error) => {
            tracing::error!(cause = %error.without_url(), "the API document could not be read");
            probed.unproven.insert("openapi".into());
            return;
        }
    };
    let tries = stream::iter(&routes).map(|route| async move {
        let mut seen = Seen::Apart;
        for (owner, stranger) in [(one, other), (other, one)] {
            match try_route(&route.path, owner, stranger).await {
                Ok(found) => {
                    if found != Seen::Apart {
                        let (route, tenant) = (&route.name, owner.slug());
                        tracing::error!(route, tenant, ?found, "isolation was not shown");
                    }
                    seen = seen.max(found);
                }
                Err(Unanswered(why)) => {
                    tracing::error!(route = route.name, why, "isolation was not shown");
                    seen = seen.max(Seen::Nothing);
                }
            }
        }
        (route.name.as_str(), seen)
    });
    let mut tries = tries.buffer_unordered(PARALLEL);
    while let Some((name, seen)) = tries.next().await {
        probed.note(name, seen);
    }
}

/// The guarded operations that read.
async fn read_routes(http: &reqwest::Client, base: &str) -> reqwest::Result<Vec<Operation>> {
    let document = http.get(format!("{base}/openapi.json")).send().await?.error_for_status()?;
    let document: Value = document.json().await?;
    Ok(guarded(&document).into_iter().filter(|one| one.method == "GET").collect())
}

/// Tries a route with what is the owner's.
async fn try_route(
    path: &str,
    owner: &Visitor<'_>,
    stranger: &Visitor<'_>,
) -> Result<Seen, Unanswered> {
    match reach(path) {
        None => Ok(Seen::Nothing),
        Some(Reach::Refused) => {
            let answer = owner.get(&path.replace("{collection}", "products")).await?;
            Ok(if answer.status == 403 { Seen::Apart } else { Seen::Nothing })
        }
        Some(Reach::Owned(collection)) => {
            let Some(id) = owner.owned(collection) else { return Ok(Seen::Nothing) };
            let own = path.replace("{id}", id);
            let shown = owner.get(&own).await?;
            let across = stranger.get(&own).await?;
            let nothing = stranger.get(&path.replace("{id}", NOTHING)).await?;
            Ok(of_owned(&shown, &across, &nothing).max(of_shown(&shown, stranger)))
        }
        Some(Reach::Numbered) => {
            Ok(of_shown(&owner.get(&path.replace("{seq}", "0")).await?, stranger))
        }
        Some(Reach::Listed) => {
            let query = QUERIES.iter().find(|(of, _)| *of == path).map_or("", |(_, query)| query);
            let shown = owner.get(&format!("{path}{query}")).await?;
            // A list that does not show what its owner has would prove nothing by
            // not showing what others have.
            let of_kind = KINDS.iter().any(|kind| kind.at == path) || path == USERS;
            let proves = !of_kind || owner.shows_in(&shown.body);
            let listed = if proves { Seen::Apart } else { Seen::Nothing };
            Ok(of_shown(&shown, stranger).max(listed))
        }
    }
}

/// What the answers to an id say: to its owner, to the stranger, and to the
/// stranger for an id that nothing has.
fn of_owned(shown: &Answer, across: &Answer, nothing: &Answer) -> Seen {
    if across.essence() != nothing.essence() {
        return Seen::Crossed;
    }
    if shown.status == 200 && nothing.status == 404 { Seen::Apart } else { Seen::Nothing }
}

/// What an answer to somebody who asked for their own says.
fn of_shown(shown: &Answer, stranger: &Visitor<'_>) -> Seen {
    if stranger.shows_in(&shown.body) {
        return Seen::Crossed;
    }
    if shown.status == 200 { Seen::Apart } else { Seen::Nothing }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_routes() -> Vec<Operation> {
        let document = include_str!("../../../operations/openapi.json");
        let document: Value = serde_json::from_str(document).unwrap();
        guarded(&document).into_iter().filter(|one| one.method == "GET").collect()
    }

    /// Whoever adds a read route with a parameter adds here what it reads.
    #[test]
    fn every_read_route_is_tried() {
        let routes = read_routes();
        assert!(routes.len() > 40, "{}", routes.len());
        for Operation { name, path, .. } in &routes {
            assert!(reach(path).is_some(), "the probe does not know how to try {name}: {path}");
        }
    }

    #[test]
    fn nothing_is_made_that_no_route_reads() {
        let routes = read_routes();
        let is_read = |at: &str| {
            let by_id = format!("{at}/{{id}}");
            routes.iter().any(|one| one.path == at || one.path.starts_with(&by_id))
        };
        for kind in &KINDS {
            assert!(is_read(kind.at), "{}", kind.at);
        }
        for (path, _) in QUERIES {
            assert!(is_read(path), "{path}");
        }
        for path in REFUSED {
            assert!(routes.iter().any(|one| one.path == path), "{path}");
        }
    }

    #[test]
    fn a_path_says_how_to_try_it() {
        for (path, expected) in [
            ("/v1/products", Some(Reach::Listed)),
            ("/v1/products/{id}", Some(Reach::Owned("/v1/products"))),
            ("/v1/batches/{id}/trace", Some(Reach::Owned("/v1/batches"))),
            ("/v1/users/{id}", Some(Reach::Owned("/v1/users"))),
            ("/v1/audit/exports/{id}", Some(Reach::Owned("/v1/audit/exports"))),
            ("/v1/audit/{seq}/proof", Some(Reach::Numbered)),
            ("/v1/tenant", Some(Reach::Refused)),
            ("/v1/gadgets/{id}", None),
            ("/v1/batches/{id}/notes/{note}", None),
            ("/v1/audit/{seq}/{part}", None),
            ("/v1/lots/{lot}", None),
        ] {
            assert_eq!(reach(path), expected, "{path}");
        }
    }

    fn answer(status: u16, body: &Value) -> Answer {
        Answer { status, body: body.to_string() }
    }

    #[test]
    fn only_what_its_owner_is_shown_and_the_other_is_not_is_kept_apart() {
        let http = reqwest::Client::new();
        let mut stranger = Visitor::unsigned(&http, "canary-two");
        stranger.own("/v1/products", "0189-their-product".into());
        let shown = answer(200, &json!({ "id": "0189-ours", "tenant_id": "canary-one" }));
        let not_found =
            |request: &str| answer(404, &json!({ "title": "Not found", "request_id": request }));
        let seen = |shown: &Answer, across: &Answer| {
            of_owned(shown, across, &not_found("c")).max(of_shown(shown, &stranger))
        };
        assert_eq!(seen(&shown, &not_found("b")), Seen::Apart);
        // It is shown, or told apart from what is not there.
        assert_eq!(seen(&shown, &shown), Seen::Crossed);
        assert_eq!(seen(&shown, &answer(403, &json!({}))), Seen::Crossed);
        assert_eq!(seen(&shown, &answer(404, &json!({ "title": "Theirs" }))), Seen::Crossed);
        // Nobody is shown anything.
        assert_eq!(seen(&not_found("a"), &not_found("b")), Seen::Nothing);
        let forbidden = answer(403, &json!({}));
        assert_eq!(of_owned(&shown, &forbidden, &forbidden), Seen::Nothing);
        // What is asked for as one's own has something of another's in it.
        for theirs in ["canary-two", "0189-their-product"] {
            let mixed = answer(200, &json!({ "items": [{ "id": "0189-ours" }, theirs] }));
            assert_eq!(seen(&mixed, &not_found("b")), Seen::Crossed);
        }
    }

    #[test]
    fn a_run_is_clean_when_every_route_was_and_there_were_any() {
        let mut probed = Probed::default();
        assert!(!probed.is_clean());
        probed.note("get-product", Seen::Apart);
        assert!(probed.is_clean());
        probed.note("get-batch", Seen::Nothing);
        assert!(!probed.is_clean());
        let mut probed = Probed::default();
        probed.note("get-product", Seen::Crossed);
        assert!(!probed.is_clean());
        assert_eq!(json!(probed)["crossed"], json!(["get-product"]));
    }
}
