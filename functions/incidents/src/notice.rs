//! Notices in a tenant's console: of breaches, and others that concern its
//! security; and who of the tenant acknowledged them.

use jiff::Timestamp;
use keystone::http::Call;
use keystone::tenant::{Entity, Id, Stored, WriteTx, schema};
use keystone::{Problem, http::Reply};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ConsoleNoticeKind")]
pub enum Kind {
    /// A breach of personal data that affects the tenant.
    Breach,
    /// More is known of such a breach.
    BreachUpdate,
    /// Anything else that concerns the tenant's security.
    Security,
}

/// A notice as it is stored. It was published when it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// What it is about.
    pub kind: Kind,
    /// Its title.
    pub title: String,
    /// Its text.
    pub paragraphs: Vec<String>,
    /// The incident that it is about.
    pub incident_id: Option<Id>,
    /// Who acknowledged it, each once.
    pub acknowledgements: Vec<Acknowledgement>,
}

/// That somebody acknowledged a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgement {
    /// Id of the user.
    pub by: Id,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

impl Entity for Notice {
    const COLLECTION: &'static schema::Collection = &schema::NOTICES;
    const RESOURCE: &'static str = "notice";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Notice {
    /// A notice that nobody has acknowledged.
    pub fn new(kind: Kind, title: &str, paragraphs: Vec<String>, incident: Option<Id>) -> Self {
        Self {
            kind,
            title: title.to_owned(),
            paragraphs,
            incident_id: incident,
            acknowledgements: Vec::new(),
        }
    }

    fn is_acknowledged_by(&self, user: Id) -> bool {
        self.acknowledgements.iter().any(|one| one.by == user)
    }
}

/// A notice as it is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ConsoleNotice")]
pub struct NoticeView {
    /// Id.
    id: Id,
    /// What it is about.
    kind: Kind,
    /// Its title.
    title: String,
    /// Its text.
    paragraphs: Vec<String>,
    /// The incident that it is about, for `/v1/incidents/{id}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    incident_id: Option<Id>,
    /// When it was published.
    #[schemars(with = "String", extend("format" = "date-time"))]
    published_at: Timestamp,
    /// Who acknowledged it, first come first.
    acknowledgements: Vec<Acknowledgement>,
}

impl From<&Stored<Notice>> for NoticeView {
    fn from(stored: &Stored<Notice>) -> Self {
        let Notice { kind, title, paragraphs, incident_id, acknowledgements } =
            stored.entity.clone();
        Self {
            id: stored.id,
            kind,
            title,
            paragraphs,
            incident_id,
            published_at: stored.created_at,
            acknowledgements,
        }
    }
}

/// Acknowledges the notice with this id in the caller's name. Doing it again
/// changes nothing and gives the same answer.
///
/// # Errors
/// 404 when there is no such notice; 503 when the database does not answer.
pub async fn acknowledge(call: &Call, id: Id) -> Result<Reply, Problem> {
    let user = call.principal().user();
    let mut known = call.tenant().get::<Notice>(id).await?.ok_or(Problem::NotFound)?;
    if known.entity.is_acknowledged_by(user) {
        return Reply::ok(&NoticeView::from(&known));
    }
    let mut done_before = false;
    let done = call
        .audited("notice.acknowledge", async |tx: &mut WriteTx<'_>| {
            known = tx.get::<Notice>(id).await?.ok_or(Problem::NotFound)?;
            done_before = known.entity.is_acknowledged_by(user);
            if done_before {
                return Err(Problem::Stale);
            }
            let mut after = known.entity.clone();
            after.acknowledgements.push(Acknowledgement { by: user, at: call.now() });
            Reply::ok(&NoticeView::from(&tx.replace(&known, after).await?))
        })
        .await;
    if done_before { Reply::ok(&NoticeView::from(&known)) } else { done }
}
