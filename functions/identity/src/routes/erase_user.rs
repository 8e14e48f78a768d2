//! `POST /v1/users/{id}/erase`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::user::{User, UserStatus};
use keystone::config::Setting;
use keystone::erasure::{Erased, NewErasure, erase};
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::{Stored, WriteTx};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "erase-user",
        method: Method::Post,
        path: "/v1/users/{id}/erase",
        summary: "Erases a former user's data; the account's actions keep its id.",
        query: None,
        body: Some(schema_of::<NewErasure>),
        answer: Answer::json(200, schema_of::<Erased>),
    },
    permission: Permission::EraseSubject,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does: bundles that
/// were made of the data lie there.
pub const SETTINGS: [Setting; 1] = [Setting::ExportBucket];

/// The handler. Whoever may still sign in is offboarded first, and whoever is a
/// contact of the tenant replaced.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id = call.request().path("id")?;
    let NewErasure { ground } = call.request().body()?;
    let gone = async |tx: &mut WriteTx<'_>, user: &Stored<User>| {
        if user.entity.status != UserStatus::Deactivated {
            return Err(Problem::Conflict("Offboard the user before you erase them.".into()));
        }
        if tx.is_contact(user).await? {
            return Err(Problem::Conflict(
                "This user is one of your organisation's contacts: name another contact first \
                 (PATCH /v1/tenant)."
                    .into(),
            ));
        }
        Ok(())
    };
    Reply::ok(&erase(&call, id, "user.erase", ground, gone).await?)
}
