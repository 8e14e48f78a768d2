//! `POST /v1/users/{id}/offboard`

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::session::SessionRecord;
use keystone::auth::user::{User, UserStatus};
use keystone::crypto::Subject;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};
use keystone::tenant::{Contact, Id, Stored, WriteTx};
use keystone::{letters, mail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::sign_in;
use crate::user::{Manager, UserView, offboarded};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "offboard-user",
        method: Method::Post,
        path: "/v1/users/{id}/offboard",
        summary: "Ends a user's access at once: account, sessions, open invitation.",
        query: None,
        body: Some(schema_of::<Offboarding>),
        answer: Answer::json(200, schema_of::<Offboarded>),
    },
    permission: Permission::ManageUsers,
    assurance: Assurance::FullRecent,
};

/// Why somebody leaves.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offboarding {
    /// For the audit trail.
    #[schemars(length(min = 1, max = 500))]
    reason: String,
    /// Id of the user who takes over what the leaver stands for; required
    /// when they are one of the tenant's contacts.
    #[serde(default)]
    #[schemars(with = "Id")]
    successor: Option<Id>,
}

/// What was ended.
#[derive(Serialize, JsonSchema)]
pub struct Offboarded {
    /// The user, deactivated.
    user: UserView,
    /// How many sessions ended.
    sessions_ended: usize,
    /// For how many of the tenant's contacts the successor stands in.
    contacts_passed_on: usize,
}

/// The handler. The transaction ends the access: from its commit on the
/// pipeline serves no request of the user's. Their session records, which are
/// then worth nothing, go afterwards.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let id: Id = call.request().path("id")?;
    let offboarding: Offboarding = call.request().body()?;
    let sessions = call.platform().sessions().await?;
    let reply = call
        .audited("user.offboard", async |tx| {
            let manager = Manager::of(tx, &call).await?;
            let before = tx.get::<User>(id).await?.ok_or(Problem::NotFound)?;
            manager.over(before.entity.role)?;
            if manager.is(id) {
                return Err(Problem::Forbidden);
            }
            if before.entity.status == UserStatus::Deactivated {
                return Err(offboarded());
            }
            let settings = tx.settings().await?.entity;
            let records = sessions.of_user(id, call.now()).await?;
            let alive = |session: &&SessionRecord| {
                before.entity.accepts(session) && settings.accept(session)
            };
            let sessions_ended = records.iter().filter(alive).count();
            let contacts_passed_on =
                pass_contacts_on(tx, call.now(), &manager, &before, &offboarding).await?;
            let facts = json!({ "reason": offboarding.reason, "sessions_ended": sessions_ended });
            tx.facts(&facts, &["/reason"])?;
            let after = tx.replace(&before, before.entity.clone().deactivated()).await?;
            let user = UserView::from(&after);
            let answer = Offboarded { user, sessions_ended, contacts_passed_on };
            Ok(Reply::ok(&answer)?.with_version(after.version))
        })
        .await?;
    sign_in::sweep(call.platform(), call.now(), id, None).await;
    Ok(reply)
}

/// Puts the successor in every place of the tenant's contacts where the
/// leaver stands, so that no notice goes to somebody who has gone, and tells
/// whoever stood there.
///
/// Contacts are the `super_admin`'s to decide, so nobody else offboards one.
/// Who never accepted an invitation does not stand there as a user: that an
/// address was invited makes nobody the contact's keeper. Passing on is no
/// word of the tenant's that the contacts are right, so their confirmation
/// stays as old as it is.
async fn pass_contacts_on(
    tx: &mut WriteTx<'_>,
    now: Timestamp,
    manager: &Manager,
    leaver: &Stored<User>,
    offboarding: &Offboarding,
) -> Result<usize, Problem> {
    let successor = match offboarding.successor {
        Some(id) => {
            let found = tx.get::<User>(id).await?.filter(|user| user.id != leaver.id);
            let active = found.filter(|user| user.entity.status == UserStatus::Active);
            let wrong = || Problem::invalid("/successor", "Must be another, active user.");
            Some(active.ok_or_else(wrong)?)
        }
        None => None,
    };
    if leaver.entity.status != UserStatus::Active {
        return Ok(0);
    }
    let before = tx.settings().await?;
    let mut after = before.entity.clone();
    let mut replaced = Vec::new();
    for (_, contact) in after.contacts.iter_mut() {
        if !contact.is(leaver) {
            continue;
        }
        if !manager.may(Permission::ManageTenant) {
            return Err(Problem::Conflict(
                "This user is one of your organisation's contacts: a super_admin must offboard \
                 them, or name another contact first (PATCH /v1/tenant)."
                    .into(),
            ));
        }
        let successor = successor.as_ref().ok_or_else(|| {
            let message = "Is required: the user is one of your organisation's contacts.";
            Problem::invalid("/successor", message)
        })?;
        let next = Contact {
            name: successor.entity.name.clone(),
            email: successor.entity.email.clone(),
            user: Some(successor.id),
        };
        replaced.push((std::mem::replace(contact, next.clone()), next));
    }
    if let Some((former, next)) = replaced.first() {
        let letter = letters::contact_replaced(tx.tenant().profile(), former, next)?;
        tx.replace(&before, after).await?;
        mail::enqueue(tx, now, Subject::User(leaver.id), &letter).await?;
    }
    Ok(replaced.len())
}
