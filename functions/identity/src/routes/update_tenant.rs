//! `PATCH /v1/tenant`

use keystone::Problem;
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::contacts;
use crate::sign_in::Unasked;
use crate::tenant::{SettingsPatch, TenantView};

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "update-tenant",
        method: Method::Patch,
        path: "/v1/tenant",
        summary: "Changes the tenant's settings (JSON merge patch); needs If-Match.",
        query: None,
        body: Some(schema_of::<SettingsPatch>),
        answer: Answer::json(200, schema_of::<TenantView>),
    },
    permission: Permission::ManageTenant,
    assurance: Assurance::FullRecent,
};

/// What the function needs beyond what every guarded function does.
pub const SETTINGS: [Setting; 1] = [Setting::ThrottleTable];

/// The handler. Who must have a second factor acts on the very next request
/// of those who have none. Whoever is a contact no more is told, and so is
/// whoever takes their place.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let version = call.request().if_match()?;
    let patch: SettingsPatch = call.request().body()?;
    let user = call.principal().user();
    let mut unasked = Unasked::new(&call);
    let outcome = call
        .audited("settings.update", async |tx| {
            call.caller_with(tx, Permission::ManageTenant).await?;
            let before = tx.settings().await?.at_version(version)?;
            let mut after = patch.apply(&before.entity, user, call.now());
            patch.identify_contacts(tx, &before.entity, &mut after).await?;
            let after = tx.replace(&before, after).await?;
            let (former, next) = (&before.entity.contacts, &after.entity.contacts);
            contacts::tell(tx, call.now(), &mut unasked, former, next).await?;
            Ok(Reply::ok(&TenantView::new(call.tenant(), &after))?.with_version(after.version))
        })
        .await;
    unasked.settle(outcome).await
}
