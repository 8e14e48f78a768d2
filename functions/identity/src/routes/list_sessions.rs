//! `GET /v1/auth/sessions`

use std::net::IpAddr;

use jiff::Timestamp;
use keystone::Problem;
use keystone::auth::Permission;
use keystone::auth::session::{IDLE_LIMIT, SessionRecord};
use keystone::http::{
    Answer, Assurance, Call, List, Method, PageQuery, Reply, Route, Spec, schema_of,
};
use keystone::tenant::Id;
use schemars::JsonSchema;
use serde::Serialize;

use crate::sign_in;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "list-sessions",
        method: Method::Get,
        path: "/v1/auth/sessions",
        summary: "Lists the caller's own living sessions, newest first.",
        query: Some(schema_of::<PageQuery>),
        body: None,
        answer: Answer::json(200, schema_of::<List<SessionView>>),
    },
    permission: Permission::OwnAccount,
    assurance: Assurance::Full,
};

/// A session as shown to its user.
#[derive(Serialize, JsonSchema)]
struct SessionView {
    id: Id,
    /// When the user signed in.
    #[schemars(with = "String", extend("format" = "date-time"))]
    created_at: Timestamp,
    /// When it was last used.
    #[schemars(with = "String", extend("format" = "date-time"))]
    last_seen: Timestamp,
    /// When it ends unless it is used again: 8 hours after its last use or 24
    /// after sign-in, whichever comes first.
    #[schemars(with = "String", extend("format" = "date-time"))]
    expires_at: Timestamp,
    /// The address of sign-in.
    #[schemars(with = "String")]
    source_ip: IpAddr,
    /// What the client called itself at sign-in.
    user_agent: Option<String>,
    /// Whether this request belongs to it.
    current: bool,
}

impl SessionView {
    fn new(session: SessionRecord, current: Id) -> Self {
        Self {
            id: session.sid,
            created_at: session.created_at,
            last_seen: session.last_seen,
            expires_at: session.expires_at.min(session.last_seen + IDLE_LIMIT),
            source_ip: session.source_ip,
            user_agent: session.user_agent,
            current: session.sid == current,
        }
    }
}

/// The handler.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let query: PageQuery = call.request().query()?;
    let after: Option<Id> = query.after()?;
    let (user, settings) = (sign_in::caller(&call).await?, call.tenant().settings().await?);
    let found =
        call.platform().sessions().await?.of_user(call.principal().user(), call.now()).await?;
    let rest = found
        .into_iter()
        .filter(|session| user.entity.accepts(session) && settings.entity.accept(session))
        .filter(|session| after.is_none_or(|after| session.sid < after))
        .map(|session| SessionView::new(session, call.principal().session()))
        .collect();
    Reply::ok(&List::new(rest, query.limit(), |session| session.id))
}
