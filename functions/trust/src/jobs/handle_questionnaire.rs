//! Questionnaires as an operator handles them; invoked through IAM only.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::Date;
use keystone::Problem;
use keystone::audit::entry::{ActorKind, Outcome, Resource};
use keystone::calendar;
use keystone::config::Setting;
use keystone::crypto::{Place, Subject};
use keystone::job::Job;
use keystone::tenant::{
    Attribution, Entity, Filter, Id, Page, Stored, Tenant, TenantId, Visit, WriteTx,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::posture::PostureView;
use crate::questionnaire::{
    Kind, NewQuestionnaire, NewStatement, Questionnaire, QuestionnaireView, State, find, open,
};
use crate::questionnaire_watch::record_miss;

/// What the job needs beyond what every function does.
pub const SETTINGS: [Setting; 3] =
    [Setting::MongodbSecret, Setting::DataKey, Setting::SubjectKeyTable];

/// Questionnaires of a tenant in one state that a list shows.
const LISTED: i64 = 100;

/// The event.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Name of the operator; enters the audit trail.
    #[schemars(length(min = 1, max = 100))]
    operator: String,
    /// What to do.
    action: Action,
}

/// What an operator does.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    /// Takes in what somebody asked for who is no customer.
    Take(Take),
    /// Records what the operator says to questions that no control answers.
    Answer(Statements),
    /// Gives the answers of now.
    Issue(Issue),
    /// Reads one, with its answers as tables.
    Read(Which),
    /// Names those that wait and those with answers that are wrong by now.
    List {},
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Take {
    /// Id of the questionnaire, which the operator makes up; the same again finds it.
    #[schemars(with = "String", extend("format" = "uuid"))]
    id: Id,
    /// The business that asks.
    #[schemars(length(min = 1, max = 200))]
    organisation: String,
    /// E-mail address that the answers go to.
    #[schemars(email, length(max = 254))]
    contact: String,
    /// What is asked.
    questionnaire: NewQuestionnaire,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// Slug of the tenant that asked; somebody else unless given.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "tenant"))]
    tenant: Option<String>,
    /// The questionnaire.
    #[schemars(with = "String", extend("format" = "uuid"))]
    id: Id,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Statements {
    /// Which one.
    questionnaire: Which,
    /// What is said. Again for a question replaces what was said before; the same
    /// again, by the same operator, changes nothing.
    #[schemars(length(min = 1, max = 300))]
    statements: Vec<NewStatement>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Issue {
    /// Which one.
    questionnaire: Which,
    /// The controls that each own question is about, by the question's id.
    #[serde(default)]
    controls: BTreeMap<String, Vec<String>>,
}

/// A questionnaire in a list.
#[derive(Debug, Serialize)]
pub struct Listed {
    tenant: TenantId,
    id: Id,
    kind: Kind,
    state: State,
    due_on: Date,
    late: bool,
    /// How many questions of one that waits are open.
    open: u64,
    outdated: Vec<String>,
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Done {
    /// One was taken in, answered in part, or its answers given.
    One {
        /// It.
        id: Id,
        /// When it is due.
        due_on: Date,
    },
    /// One was read.
    Read {
        /// It.
        questionnaire: Box<QuestionnaireView>,
        /// As a table.
        csv: String,
        /// As a workbook, base64.
        xlsx: String,
        /// E-mail address that the answers go to, of somebody who is no customer.
        #[serde(skip_serializing_if = "Option::is_none")]
        contact: Option<String>,
    },
    /// Those that want attention.
    List {
        /// They.
        questionnaires: Vec<Listed>,
    },
}

/// The job.
pub async fn handle(job: Job) -> Result<Done, Problem> {
    let input: Input = job.input()?;
    let by = job.attribution(ActorKind::Operator, &input.operator);
    let registry = job.registry().await?;
    let provider = registry.provider(job.now).await?;
    match input.action {
        Action::Take(new) => take(&provider, &by, new).await,
        Action::Answer(Statements { questionnaire: which, statements }) => {
            let tenant = tenant_of(&job, which.tenant.as_deref()).await?;
            let tenant = tenant.as_ref().unwrap_or(&provider);
            let mut said_before = None;
            let done = tenant
                .audited(&by, "questionnaire.answer", async |tx: &mut WriteTx<'_>| {
                    let before = find(tx, which.id).await?;
                    said_before =
                        before.entity.says(&statements, &input.operator).then(|| one(&before));
                    if said_before.is_some() {
                        return Err(Problem::Stale);
                    }
                    let new = statements.clone();
                    let answered =
                        before.entity.clone().with_statements(new, &input.operator, job.now)?;
                    Ok(one(&tx.replace(&before, answered).await?))
                })
                .await;
            said_before.map_or(done, Ok)
        }
        Action::Issue(Issue { questionnaire: which, controls }) => {
            let posture = PostureView::read(&provider, job.now).await?;
            let tenant = tenant_of(&job, which.tenant.as_deref()).await?;
            let tenant = tenant.as_ref().unwrap_or(&provider);
            let known = tenant.get::<Questionnaire>(which.id).await?.ok_or(Problem::NotFound)?;
            // What is refused records nothing. What is late is recorded before the
            // answers are given: a run that dies in between is begun again.
            known.entity.clone().issued(controls.clone(), &posture, job.now)?;
            record_miss(tenant, &by, &known).await?;
            tenant
                .audited(&by, "questionnaire.issue", async |tx: &mut WriteTx<'_>| {
                    let before = find(tx, which.id).await?;
                    let issued =
                        before.entity.clone().issued(controls.clone(), &posture, job.now)?;
                    Ok(one(&tx.replace(&before, issued).await?))
                })
                .await
        }
        Action::Read(which) => {
            let posture = PostureView::read(&provider, job.now).await?;
            let tenant = tenant_of(&job, which.tenant.as_deref()).await?;
            let tenant = tenant.as_ref().unwrap_or(&provider);
            let stored = tenant.get::<Questionnaire>(which.id).await?.ok_or(Problem::NotFound)?;
            let sealed = stored.entity.contact.as_ref();
            let contact = tenant.open_kept(contact_of(stored.id), sealed).await?;
            if contact.is_some() {
                let about =
                    Resource { kind: Questionnaire::RESOURCE.into(), id: stored.id.to_string() };
                let facts = json!({ "disclosed": ["contact"], "records": 1 });
                let action = "questionnaire.disclose";
                tenant.record(&by, action, about, Outcome::Success, facts).await?;
            }
            let view = QuestionnaireView::new(&stored, &posture);
            let (csv, xlsx) = (view.csv()?, STANDARD.encode(view.xlsx()?));
            let contact = contact.map(|contact| contact.expose().clone());
            Ok(Done::Read { questionnaire: Box::new(view), csv, xlsx, contact })
        }
        Action::List {} => {
            let posture = PostureView::read(&provider, job.now).await?;
            let mut questionnaires = Vec::new();
            for enrolled in registry.walk(Visit::Kept).await? {
                if enrolled.id().is_canary() {
                    continue;
                }
                let tenant = registry.for_job(enrolled, job.now).await?;
                questionnaires.extend(listed(&job, &tenant, &posture).await?);
            }
            Ok(Done::List { questionnaires })
        }
    }
}

/// What is answered about one.
fn one(stored: &Stored<Questionnaire>) -> Done {
    Done::One { id: stored.id, due_on: stored.entity.due_on }
}

/// Takes one in. The same call again finds it as it was taken in first: with the
/// date of that day, and however far it has come.
///
/// # Errors
/// 409 when the id is that of another questionnaire; 503 when a store does not
/// answer.
async fn take(provider: &Tenant, by: &Attribution, new: Take) -> Result<Done, Problem> {
    let Take { id, organisation, contact, questionnaire } = new;
    questionnaire.check("/action/take/questionnaire")?;
    let sealed = provider.seal(contact_of(id), Subject::Tenant, &contact).await?;
    let new = questionnaire.received(organisation, Some(sealed), by.now);
    let mut known = None;
    let done = provider
        .audited(by, "questionnaire.take", async |tx: &mut WriteTx<'_>| {
            known = tx.get::<Questionnaire>(id).await?;
            if known.is_some() {
                return Err(Problem::Stale);
            }
            Ok(one(&tx.insert(id, new.clone()).await?))
        })
        .await;
    let Some(known) = known else { return done };
    let to = provider.open_kept(contact_of(id), known.entity.contact.as_ref()).await?;
    let is_same = to.is_some_and(|to| *to.expose() == contact)
        && known.entity.organisation == new.organisation
        && known.entity.kind == new.kind
        && known.entity.questions == new.questions;
    if is_same {
        Ok(one(&known))
    } else {
        Err(Problem::Conflict("This id is that of another questionnaire.".into()))
    }
}

fn contact_of(id: Id) -> Place<'static> {
    Place { collection: Questionnaire::COLLECTION.name, document: id, field: "contact" }
}

/// The tenant with this slug; `None` for none given.
async fn tenant_of(job: &Job, slug: Option<&str>) -> Result<Option<Tenant>, Problem> {
    let Some(slug) = slug else { return Ok(None) };
    let registry = job.registry().await?;
    let enrolled = registry.find(Visit::Kept, slug).await?.ok_or(Problem::NotFound)?;
    Ok(Some(registry.for_job(enrolled, job.now).await?))
}

/// Those of a tenant that wait, or whose answers are wrong by now.
async fn listed(job: &Job, tenant: &Tenant, posture: &PostureView) -> Result<Vec<Listed>, Problem> {
    let in_state = async |state: &str| {
        let page = Page { after: None, limit: LISTED };
        tenant.list::<Questionnaire>(Filter::all().eq("state", state), page).await
    };
    let found = [in_state("received").await?, in_state("issued").await?];
    let listed = found.into_iter().flatten().filter_map(|stored| {
        let of = stored.entity;
        let outdated = of.outdated(posture);
        let waits = of.state == State::Received;
        (waits || !outdated.is_empty()).then(|| Listed {
            tenant: tenant.id().clone(),
            id: stored.id,
            kind: of.kind,
            state: of.state,
            due_on: of.due_on,
            late: waits && of.due_on < calendar::day_of(job.now),
            open: if waits { open(&of.compile(posture)) } else { 0 },
            outdated,
        })
    });
    Ok(listed.collect())
}
