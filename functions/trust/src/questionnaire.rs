//! Security questionnaires: asked for by a tenant, or by somebody else through
//! an operator; answered from the catalogue and what its checks found last.
//!
//! The templates hold the ids of CAIQ v4, and lines by the domains of SIG Lite,
//! with what each is about in our own words: the questions' text is their
//! publishers'. A questionnaire of one's own (`bespoke`) brings its questions
//! along, and an operator says which controls each is about.
//!
//! A line is answered by controls, by the cloud provider where the data centre
//! is meant, or by a person where no control shows what is asked. What a person
//! has not answered is open, and nothing is issued with an open line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::Date;
use keystone::audit::entry::at_text;
use keystone::cell::harmless;
use keystone::crypto::{Sealed, at_rest_option};
use keystone::tenant::{Entity, Filter, Id, Part, StoreError, Stored, Tenant, WriteTx, schema};
use keystone::{FieldError, Problem, business_days, calendar};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::control;
use crate::posture::{ControlState, PostureView, Status};

const SOURCE: &str = include_str!("../questions.json");

/// Questionnaires of a tenant that a list names at most.
const LISTED: i64 = 1000;

/// Which questionnaire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "QuestionnaireKind")]
pub enum Kind {
    /// Lines by the domains of SIG Lite; due after 3 business days.
    Lite,
    /// All questions of CAIQ v4; due after 7 business days.
    Full,
    /// The asker's own questions; due after 7 business days.
    Bespoke,
}

impl Kind {
    /// The template; none where the asker brings the questions.
    fn template(self) -> Option<&'static Template> {
        let id = match self {
            Self::Lite => "sig-lite",
            Self::Full => "caiq-4",
            Self::Bespoke => return None,
        };
        TEMPLATES.templates.iter().find(|template| template.id == id)
    }

    /// When it is due (claim C20).
    pub fn due_on(self, received: Date) -> Date {
        business_days::after(received, if self == Self::Lite { 3 } else { 7 })
    }
}

/// Where a questionnaire stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "QuestionnaireState")]
pub enum State {
    /// Its answers are drafts.
    Received,
    /// Its answers were given.
    Issued,
}

/// A question of somebody's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnQuestion {
    /// The asker's number of it.
    #[schemars(length(min = 1, max = 40))]
    pub id: String,
    /// What is asked.
    #[schemars(length(min = 1, max = 2000))]
    pub text: String,
}

/// A questionnaire to be answered.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewQuestionnaire {
    /// Which questionnaire.
    pub kind: Kind,
    /// The questions, of a bespoke one and of no other.
    #[serde(default)]
    #[schemars(length(max = 300))]
    pub questions: Vec<OwnQuestion>,
}

/// What is said to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Every control that the question is about is live, or a person says so.
    Yes,
    /// There is no such certificate, it is not there yet, or a person says so.
    No,
    /// A control that it is about does not hold now, or was not seen to.
    NotConfirmed,
    /// A person says that what is asked does not apply.
    NotApplicable,
    /// The cloud provider does it, in the places and under the terms that the
    /// controls name.
    Provider,
    /// Waits for a person, or for the controls that an own question is about.
    Open,
}

impl Reply {
    /// The answer in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Yes => "Yes",
            Self::No => "No",
            Self::NotConfirmed => "Not confirmed",
            Self::NotApplicable => "Not applicable",
            Self::Provider => "By the cloud provider",
            Self::Open => "To be answered by a person",
        }
    }
}

/// What a person can say to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It is so; stands only while the controls that the line cites are live.
    Yes,
    /// It is not so.
    No,
    /// What is asked does not apply.
    NotApplicable,
}

/// What a person says to a question that no control answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStatement {
    /// The question's id.
    #[schemars(length(min = 1, max = 40))]
    pub question: String,
    /// The answer.
    pub answer: Said,
    /// What is so, or why it is not; the asker reads it.
    #[schemars(length(min = 1, max = 1000))]
    pub statement: String,
}

/// The same as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The question's id.
    pub question: String,
    /// The answer.
    pub answer: Said,
    /// What is so, or why it is not.
    pub statement: String,
    /// Name of the operator who said it.
    pub by: String,
    /// When it was said.
    pub at: Timestamp,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "QuestionnaireAnswer")]
pub struct Answer {
    /// The question's id, such as `IAM-14.1`.
    pub question: String,
    /// What it is about.
    pub topic: String,
    /// The answer.
    pub answer: Reply,
    /// What a person said, when and who; each control with its status, what was
    /// seen, and when.
    pub explanation: String,
    /// The controls that it is about.
    pub controls: Vec<String>,
    /// Who has to answer, or did, where no control does: an owner of the
    /// catalogue, such as `founder`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A questionnaire as it is stored: in the database of the tenant that asked,
/// or the provider's where somebody else did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Questionnaire {
    /// Which one.
    pub kind: Kind,
    /// Version of the templates.
    pub templates: String,
    /// The business that asks.
    pub organisation: String,
    /// Whom the answers go to; for who is no customer.
    #[serde(default, with = "at_rest_option")]
    pub contact: Option<Sealed<String>>,
    /// The day on which it was received.
    pub received_on: Date,
    /// The last day on which it is in time.
    pub due_on: Date,
    /// Where it stands.
    pub state: State,
    /// The asker's own questions.
    pub questions: Vec<OwnQuestion>,
    /// Which controls own questions are about, by the question's id.
    pub controls: BTreeMap<String, Vec<String>>,
    /// What people said to questions that no control answers.
    #[serde(default)]
    pub statements: Vec<Statement>,
    /// The answers that were given.
    pub answers: Vec<Answer>,
    /// When they were given.
    pub issued_at: Option<Timestamp>,
    /// When our contact was reminded of its date.
    #[serde(default)]
    pub reminded_at: Option<Timestamp>,
    /// When it was recorded that its date had passed.
    #[serde(default)]
    pub missed_at: Option<Timestamp>,
}

impl Entity for Questionnaire {
    const COLLECTION: &'static schema::Collection = &schema::QUESTIONNAIRES;
    const RESOURCE: &'static str = "questionnaire";
    const PERSONAL: &'static [&'static str] = &[];
}

/// A question of a template.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    id: String,
    topic: String,
    /// What answers it; of what a person answers, what is shown beside.
    #[serde(default)]
    controls: Vec<String>,
    /// Who answers where the controls do not show all that is asked.
    #[serde(default)]
    owner: Option<String>,
    /// Whether it is about the data centre, which the cloud provider runs.
    #[serde(default)]
    provider: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    name: String,
    questions: Vec<Question>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    id: String,
    /// The questionnaire and its release, as it is shown.
    name: String,
    domains: Vec<Domain>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuestionFile {
    /// Always `keystone-questions/2`.
    #[serde(rename = "format")]
    _format: String,
    version: String,
    templates: Vec<Template>,
}

// A test reads it too, so a build that was tested has it.
static TEMPLATES: LazyLock<QuestionFile> =
    LazyLock::new(|| serde_json::from_str(SOURCE).unwrap_or_default());

impl NewQuestionnaire {
    /// Refuses questions where the template has them, and their absence where
    /// it has none.
    ///
    /// # Errors
    /// 422 naming every wrong field.
    pub fn check(&self, prefix: &str) -> Result<(), Problem> {
        let bespoke = self.kind == Kind::Bespoke;
        if bespoke == self.questions.is_empty() {
            let message = if bespoke {
                "Must hold the questions of a bespoke questionnaire."
            } else {
                "Only a bespoke questionnaire brings questions along."
            };
            return Err(Problem::invalid(format!("{prefix}/questions"), message));
        }
        let twice = |index: usize| {
            let id = &self.questions[index].id;
            self.questions[..index].iter().any(|earlier| earlier.id == *id)
        };
        let errors: Vec<FieldError> = (0..self.questions.len())
            .filter(|index| twice(*index))
            .map(|index| {
                FieldError::new(format!("{prefix}/questions/{index}/id"), "Stands there twice.")
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(Problem::Invalid(errors)) }
    }

    /// The questionnaire, received at `now` in Ireland.
    pub fn received(
        self,
        organisation: String,
        contact: Option<Sealed<String>>,
        now: Timestamp,
    ) -> Questionnaire {
        let received_on = calendar::day_of(now);
        Questionnaire {
            kind: self.kind,
            templates: TEMPLATES.version.clone(),
            organisation,
            contact,
            received_on,
            due_on: self.kind.due_on(received_on),
            state: State::Received,
            questions: self.questions,
            controls: BTreeMap::new(),
            statements: Vec::new(),
            answers: Vec::new(),
            issued_at: None,
            reminded_at: None,
            missed_at: None,
        }
    }
}

/// What the cloud provider does, said of each line that it answers.
const PROVIDER: &str = "The cloud provider's: AWS and, of the databases, MongoDB on AWS run the \
                        data centre and its machines as sub-processors, and answer for them in \
                        their own reports. Keystone runs no data centre.";

/// A question with all that answers it.
struct Line<'q> {
    id: &'q str,
    topic: String,
    controls: &'q [String],
    owner: Option<&'q String>,
    provider: bool,
    said: Option<&'q Statement>,
}

impl Line<'_> {
    fn answer(self, posture: &PostureView) -> Answer {
        let states: Vec<_> = self.controls.iter().filter_map(|id| posture.control(id)).collect();
        let held = self.held(&states);
        let answer = match self.said.map(|said| said.answer) {
            Some(Said::No) => Reply::No,
            Some(Said::NotApplicable) => Reply::NotApplicable,
            // What a person says does not make up for a control that does not hold.
            Some(Said::Yes) => held.unwrap_or(Reply::Yes),
            None if self.owner.is_some() => Reply::Open,
            None => match held {
                Some(Reply::Yes) if self.provider => Reply::Provider,
                held => held.unwrap_or(Reply::Open),
            },
        };
        Answer {
            question: self.id.to_owned(),
            answer,
            explanation: self.explanation(&states),
            controls: self.controls.to_vec(),
            owner: self.owner.cloned(),
            topic: self.topic,
        }
    }

    /// What the controls say; `None` where there are none.
    fn held(&self, states: &[&ControlState]) -> Option<Reply> {
        let any = |wanted: &[Status]| states.iter().any(|state| wanted.contains(&state.status));
        if self.controls.is_empty() {
            None
        } else if any(&[Status::NotCertified, Status::Planned, Status::InProgress]) {
            Some(Reply::No)
        } else if any(&[Status::Degraded, Status::Unverified]) || states.len() < self.controls.len()
        {
            // Of a control that the last posture did not have nothing was seen.
            Some(Reply::NotConfirmed)
        } else {
            Some(Reply::Yes)
        }
    }

    fn explanation(&self, states: &[&ControlState]) -> String {
        let mut parts = Vec::new();
        if let Some(Statement { statement, by, at, .. }) = self.said {
            let role = self.owner.map(|owner| format!(" for {owner}")).unwrap_or_default();
            parts.push(format!("{statement} [said by {by}{role} at {}]", at_text(*at)));
        } else if let Some(owner) = self.owner {
            parts.push(format!("Waits for an answer of a person: {owner}."));
        }
        if self.provider {
            parts.push(PROVIDER.to_owned());
        }
        parts.extend(states.iter().map(|state| explained(state)));
        parts.join("\n")
    }
}

/// A control with its status, what was seen, and when.
fn explained(state: &ControlState) -> String {
    let mut text = format!("{} ({}): {}", state.id, state.status.words(), state.claim);
    if let Some(target) = state.target_on {
        text.extend([" Due ", &target.to_string(), if state.late { ", late." } else { "." }]);
    }
    for result in &state.results {
        let (check, verdict) = (result.check.name(), result.result.words());
        let (at, evidence) = (&result.checked_at, &result.evidence);
        text.extend([" [", check, ": ", verdict, " at ", at, ": ", evidence, "]"]);
    }
    text
}

impl Questionnaire {
    /// What would be answered now.
    pub fn compile(&self, posture: &PostureView) -> Vec<Answer> {
        self.lines().map(|line| line.answer(posture)).collect()
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let said = |id: &str| self.statements.iter().find(|said| said.question == id);
        let domains = self.kind.template().into_iter().flat_map(|template| &template.domains);
        let of_template = domains.flat_map(move |domain| {
            domain.questions.iter().map(move |question| Line {
                id: &question.id,
                topic: format!("{}: {}", domain.name, question.topic),
                controls: &question.controls,
                owner: question.owner.as_ref(),
                provider: question.provider,
                said: said(&question.id),
            })
        });
        let own = self.questions.iter().map(move |question| Line {
            id: &question.id,
            topic: question.text.clone(),
            controls: self.controls.get(&question.id).map_or(&[][..], Vec::as_slice),
            owner: None,
            provider: false,
            said: said(&question.id),
        });
        of_template.chain(own)
    }

    /// Whether `by` has said all of this, and nobody anything else since.
    pub fn says(&self, statements: &[NewStatement], by: &str) -> bool {
        statements.iter().all(|new| {
            self.statements.iter().any(|said| {
                (&said.question, said.answer, &said.statement)
                    == (&new.question, new.answer, &new.statement)
                    && said.by == by
            })
        })
    }

    /// The same with what a person, `by`, said to questions; what was said to
    /// one of them before is replaced.
    ///
    /// # Errors
    /// 422 naming questions that no person answers, and what stands there
    /// twice; 409 when the answers were given.
    pub fn with_statements(
        mut self,
        new: Vec<NewStatement>,
        by: &str,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        if self.state == State::Issued {
            return Err(Problem::Conflict("The answers were given already.".into()));
        }
        let mut errors = Vec::new();
        let own = |id: &str| self.questions.iter().any(|own| own.id == id);
        let mut seen = BTreeSet::new();
        let for_a_person: BTreeSet<&str> = self
            .lines()
            .filter(|line| line.owner.is_some() || own(line.id))
            .map(|line| line.id)
            .collect();
        for (index, NewStatement { question, .. }) in new.iter().enumerate() {
            let at = format!("/action/answer/statements/{index}/question");
            if !for_a_person.contains(question.as_str()) {
                errors.push(FieldError::new(at, "Must be a question that a person answers."));
            } else if !seen.insert(question) {
                errors.push(FieldError::new(at, "Stands there twice."));
            }
        }
        if !errors.is_empty() {
            return Err(Problem::Invalid(errors));
        }
        self.statements.retain(|old| !seen.contains(&old.question));
        self.statements.extend(new.into_iter().map(|one| Statement {
            question: one.question,
            answer: one.answer,
            statement: one.statement,
            by: by.to_owned(),
            at: now,
        }));
        Ok(self)
    }

    /// The questions whose answer that was given is wrong by now.
    pub fn outdated(&self, posture: &PostureView) -> Vec<String> {
        if self.state == State::Received {
            return Vec::new();
        }
        let now: BTreeMap<String, Reply> = self
            .compile(posture)
            .into_iter()
            .map(|answer| (answer.question, answer.answer))
            .collect();
        let wrong = |given: &&Answer| now.get(&given.question) != Some(&given.answer);
        self.answers.iter().filter(wrong).map(|given| given.question.clone()).collect()
    }

    /// The same with the answers of now, given; after its date with the miss, if
    /// that was not recorded yet.
    ///
    /// # Errors
    /// 422 naming own questions that are unknown, controls that are, and every
    /// question that is open; 409 when they were given.
    pub fn issued(
        self,
        controls: BTreeMap<String, Vec<String>>,
        posture: &PostureView,
        now: Timestamp,
    ) -> Result<Self, Problem> {
        if self.state == State::Issued {
            return Err(Problem::Conflict("The answers were given already.".into()));
        }
        let mut errors = Vec::new();
        for (question, named) in &controls {
            let at = format!("/action/issue/controls/{question}");
            if !self.questions.iter().any(|own| own.id == *question) {
                errors.push(FieldError::new(at.clone(), "There is no such question."));
            }
            for name in named.iter().filter(|name| control(name).is_none()) {
                errors.push(FieldError::new(at.clone(), format!("There is no control {name}.")));
            }
        }
        let late = calendar::day_of(now) > self.due_on;
        let mut issued = Self {
            templates: TEMPLATES.version.clone(),
            controls,
            state: State::Issued,
            issued_at: Some(now),
            missed_at: self.missed_at.or(late.then_some(now)),
            ..self
        };
        issued.answers = issued.compile(posture);
        errors.extend(issued.answers.iter().filter_map(Answer::why_open));
        if errors.is_empty() { Ok(issued) } else { Err(Problem::Invalid(errors)) }
    }
}

impl Answer {
    /// What has to be done before it can be given; `None` unless it is open.
    fn why_open(&self) -> Option<FieldError> {
        let question = &self.question;
        (self.answer == Reply::Open).then(|| match &self.owner {
            Some(owner) => FieldError::new(
                "/action/issue/questionnaire",
                format!("{question} waits for an answer of a person: {owner}."),
            ),
            None => FieldError::new(
                format!("/action/issue/controls/{question}"),
                "Must name the controls that it is about, unless a person answers it.",
            ),
        })
    }
}

/// A questionnaire as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Questionnaire")]
pub struct QuestionnaireView {
    /// Id.
    pub id: Id,
    /// Which one.
    pub kind: Kind,
    /// The questionnaire that the lines are of, with its release, and the
    /// version of the lines.
    pub template: Option<String>,
    /// The business that asks.
    pub organisation: String,
    /// The day on which it was received.
    #[schemars(with = "String", extend("format" = "date"))]
    pub received_on: Date,
    /// The last day on which it is in time, in business days of Ireland.
    #[schemars(with = "String", extend("format" = "date"))]
    pub due_on: Date,
    /// Where it stands; until it is `issued` the answers are drafts of now.
    pub state: State,
    /// When the answers were given.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub issued_at: Option<String>,
    /// How many questions are open; none is when the answers are given.
    pub open: u64,
    /// Questions whose answer that was given is wrong by now.
    pub outdated: Vec<String>,
    /// The answers.
    pub answers: Vec<Answer>,
}

impl QuestionnaireView {
    /// The view of `stored`, compared with the posture of now.
    pub fn new(stored: &Stored<Questionnaire>, posture: &PostureView) -> Self {
        let of = &stored.entity;
        let draft = of.state == State::Received;
        let answers = if draft { of.compile(posture) } else { of.answers.clone() };
        let version = if draft { &TEMPLATES.version } else { &of.templates };
        Self {
            id: stored.id,
            kind: of.kind,
            template: of.kind.template().map(|one| format!("{} ({version})", one.name)),
            organisation: of.organisation.clone(),
            received_on: of.received_on,
            due_on: of.due_on,
            state: of.state,
            issued_at: of.issued_at.map(at_text),
            open: open(&answers),
            outdated: of.outdated(posture),
            answers,
        }
    }

    fn rows(&self) -> impl Iterator<Item = [String; COLUMNS.len()]> {
        self.answers.iter().map(|answer| {
            let outdated = self.outdated.contains(&answer.question);
            [
                answer.question.clone(),
                answer.topic.clone(),
                answer.answer.words().to_owned(),
                answer.explanation.clone(),
                answer.controls.join(" "),
                answer.owner.clone().unwrap_or_default(),
                if outdated { "outdated".to_owned() } else { String::new() },
            ]
        })
    }

    /// The answers as a table (RFC 4180).
    ///
    /// # Errors
    /// [`Problem::Internal`] when it cannot be written.
    pub fn csv(&self) -> Result<String, Problem> {
        let mut table =
            csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let failed = |error: csv::Error| internal(&error);
        table.write_record(COLUMNS).map_err(failed)?;
        for row in self.rows() {
            // A program that opens the table must not take text for a formula.
            table.write_record(row.map(|cell| harmless(&cell).into_owned())).map_err(failed)?;
        }
        let bytes = table.into_inner().map_err(|error| internal(&error))?;
        String::from_utf8(bytes).map_err(|error| internal(&error))
    }

    /// The answers as a workbook (ISO/IEC 29500).
    ///
    /// # Errors
    /// [`Problem::Internal`] when it cannot be written.
    pub fn xlsx(&self) -> Result<Vec<u8>, Problem> {
        let failed = |error: rust_xlsxwriter::XlsxError| internal(&error);
        let mut book = rust_xlsxwriter::Workbook::new();
        let sheet = book.add_worksheet();
        let bold = rust_xlsxwriter::Format::new().set_bold();
        let wrapped = rust_xlsxwriter::Format::new().set_text_wrap();
        for (column, (name, width)) in (0..).zip(COLUMNS.iter().zip(WIDTHS)) {
            sheet.set_column_width(column, width).map_err(failed)?;
            sheet.write_string_with_format(0, column, *name, &bold).map_err(failed)?;
        }
        for (row, cells) in (1..).zip(self.rows()) {
            for (column, cell) in (0..).zip(cells) {
                let cell: String = cell.chars().take(CELL).collect();
                sheet.write_string_with_format(row, column, cell, &wrapped).map_err(failed)?;
            }
        }
        sheet.set_freeze_panes(1, 0).map_err(failed)?;
        book.save_to_buffer().map_err(failed)
    }
}

const COLUMNS: [&str; 7] =
    ["question", "topic", "answer", "explanation", "controls", "owner", "remark"];
const WIDTHS: [f64; 7] = [12.0, 50.0, 26.0, 100.0, 16.0, 20.0, 12.0];

/// Most characters of a cell; a spreadsheet holds 32,767.
const CELL: usize = 32_000;

/// How many of the answers are open.
pub fn open(answers: &[Answer]) -> u64 {
    answers.iter().filter(|answer| answer.answer == Reply::Open).count() as u64
}

fn internal(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(cause = %error, "a table cannot be written");
    Problem::Internal
}

/// What says whether a questionnaire is in time.
#[derive(Deserialize)]
struct Due {
    due_on: Date,
}

impl Part for Due {
    type Of = Questionnaire;
    const FIELDS: &'static [&'static str] = &["due_on"];
}

/// How many questionnaires of a tenant wait for their answers, and how many of
/// those are over their date.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn overdue(tenant: &Tenant, today: Date) -> Result<(u64, u64), StoreError> {
    let waiting = tenant.parts::<Due>(Filter::all().eq("state", "received"), LISTED).await?;
    let late = waiting.iter().filter(|(_, due)| due.due_on < today).count();
    Ok((waiting.len() as u64, late as u64))
}

/// The questionnaire with this id, as a transaction sees it.
///
/// # Errors
/// 404 when there is none.
pub async fn find(tx: &mut WriteTx<'_>, id: Id) -> Result<Stored<Questionnaire>, Problem> {
    tx.get::<Questionnaire>(id).await?.ok_or(Problem::NotFound)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::catalogue::controls;
    use crate::checks::Verdict;
    use crate::posture::tests::view;

    const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

    fn asked(kind: Kind, questions: Vec<OwnQuestion>) -> Questionnaire {
        NewQuestionnaire { kind, questions }.received("Buyer Ltd".into(), None, NOW)
    }

    /// The same, with every question that a person answers answered.
    fn filled(kind: Kind, statement: &str) -> Questionnaire {
        let asked = asked(kind, vec![]);
        let new = asked.lines().filter(|line| line.owner.is_some()).map(|line| NewStatement {
            question: line.id.to_owned(),
            answer: Said::Yes,
            statement: statement.to_owned(),
        });
        let new: Vec<_> = new.collect();
        asked.with_statements(new, "N. N.", NOW).unwrap()
    }

    fn stored(entity: Questionnaire) -> Stored<Questionnaire> {
        Stored { id: Id::from_u128(7), version: 1, created_at: NOW, updated_at: NOW, entity }
    }

    fn view_of(entity: Questionnaire, posture: &PostureView) -> QuestionnaireView {
        QuestionnaireView::new(&stored(entity), posture)
    }

    #[test]
    fn a_questionnaire_is_received_on_the_day_that_it_is_in_ireland() {
        // Half past midnight in Dublin, in summer.
        let now: Timestamp = "2026-07-31T23:30:00Z".parse().unwrap();
        let new = NewQuestionnaire { kind: Kind::Lite, questions: vec![] };
        let received = new.received("Buyer Ltd".into(), None, now);
        assert_eq!(received.received_on, date(2026, 8, 1));
    }

    #[test]
    fn every_question_has_what_answers_it() {
        let read: QuestionFile = serde_json::from_str(SOURCE).unwrap();
        let domains = || read.templates.iter().flat_map(|template| &template.domains);
        let mut ids = BTreeSet::new();
        for question in domains().flat_map(|domain| &domain.questions) {
            let id = &question.id;
            assert!(ids.insert(id), "{id} stands there twice");
            assert!(!question.topic.is_empty() && question.topic.len() < 90, "{id}");
            // What no control answers has a person, one of those who answer for controls.
            match &question.owner {
                None => assert!(!question.controls.is_empty(), "{id}"),
                Some(owner) => {
                    assert!(controls().iter().any(|control| control.owner == *owner), "{id}");
                    assert!(!question.provider, "{id}");
                }
            }
            for name in &question.controls {
                assert!(control(name).is_some(), "{id}: {name}");
            }
        }
    }

    #[test]
    fn caiq_is_whole() {
        // Domains of CAIQ v4.0.3 with their controls in CCM v4 and their questions.
        let published = [
            ("A&A", 6, 8),
            ("AIS", 7, 11),
            ("BCR", 11, 18),
            ("CCC", 9, 11),
            ("CEK", 21, 23),
            ("DCS", 15, 23),
            ("DSP", 19, 24),
            ("GRC", 8, 9),
            ("HRS", 13, 20),
            ("IAM", 16, 21),
            ("IPY", 4, 8),
            ("IVS", 9, 14),
            ("LOG", 13, 18),
            ("SEF", 8, 11),
            ("STA", 14, 15),
            ("TVM", 10, 12),
            ("UEM", 14, 15),
        ];
        assert_eq!(published.iter().map(|(_, controls, _)| controls).sum::<usize>(), 197);
        assert_eq!(published.iter().map(|(.., questions)| questions).sum::<usize>(), 261);
        let template = Kind::Full.template().unwrap();
        assert_eq!(template.domains.len(), published.len());
        for (domain, (prefix, controls, questions)) in template.domains.iter().zip(published) {
            assert_eq!(domain.questions.len(), questions, "{prefix}");
            // Controls count from 01, and the questions of each from 1.
            let (mut control, mut question) = (0, 0);
            for one in &domain.questions {
                let next = format!("{prefix}-{control:02}.{}", question + 1);
                (control, question) =
                    if one.id == next { (control, question + 1) } else { (control + 1, 1) };
                assert_eq!(one.id, format!("{prefix}-{control:02}.{question}"));
            }
            assert_eq!(control, controls, "{prefix}");
        }
    }

    #[test]
    fn sig_lite_has_a_line_for_each_domain() {
        let template = Kind::Lite.template().unwrap();
        let mut letters = String::new();
        for domain in &template.domains {
            let letter = domain.questions[0].id.chars().nth(4).unwrap();
            for (number, question) in (1..).zip(&domain.questions) {
                assert_eq!(question.id, format!("SIG-{letter}-{number}"));
            }
            letters.push(letter);
        }
        assert_eq!(letters, "ABCDEFGHIJKLMNOPRSTUV");
    }

    #[test]
    fn what_no_control_shows_waits_for_a_person() {
        let posture = view(Verdict::Pass);
        let draft = asked(Kind::Full, vec![]);
        let shown = view_of(draft.clone(), &posture);
        let waiting = |answer: &&Answer| answer.owner.is_some();
        assert_eq!(shown.open, shown.answers.iter().filter(waiting).count() as u64);
        let of = |id: &str| shown.answers.iter().find(|answer| answer.question == id).unwrap();
        assert_eq!((of("HRS-01.1").answer, of("CEK-03.1").answer), (Reply::Open, Reply::Open));
        assert_eq!(of("HRS-01.1").owner.as_deref(), Some("founder"));
        assert!(of("CEK-03.1").explanation.contains("C3.1 (Live)"), "shown beside");
        assert_eq!(of("DCS-10.1").answer, Reply::Provider);
        assert!(of("DCS-10.1").explanation.contains("AWS"));
        let csv = shown.csv().unwrap();
        let lines = csv.matches(",To be answered by a person,").count();
        assert_eq!(lines as u64, shown.open);

        let refused = draft.clone().issued(BTreeMap::new(), &posture, NOW);
        let Err(Problem::Invalid(errors)) = refused else { panic!("it was issued") };
        assert_eq!(errors.len() as u64, shown.open, "each open line is named");
        assert!(errors.iter().any(|error| error.message.starts_with("HRS-01.1 waits")));

        let said = |question: &str, answer| NewStatement {
            question: question.into(),
            answer,
            statement: "As of today.".into(),
        };
        // Controls answer the first, and nobody asked the second.
        for foreign in ["A&A-02.1", "DCS-10.1", "HRS-99.1"] {
            let new = vec![said(foreign, Said::Yes)];
            let refused = draft.clone().with_statements(new, "N. N.", NOW);
            assert!(matches!(refused, Err(Problem::Invalid(errors)) if errors.len() == 1));
        }
        let twice = vec![said("HRS-01.1", Said::Yes), said("HRS-01.1", Said::No)];
        assert!(draft.clone().with_statements(twice, "N. N.", NOW).is_err());
        let half = draft.with_statements(vec![said("HRS-01.1", Said::Yes)], "N. N.", NOW).unwrap();
        let corrected = vec![said("HRS-01.1", Said::NotApplicable)];
        assert!(!half.says(&corrected, "N. N."));
        let half = half.with_statements(corrected.clone(), "M. M.", NOW).unwrap();
        assert!(half.says(&corrected, "M. M.") && !half.says(&corrected, "N. N."));
        let now = view_of(half, &posture);
        assert_eq!(now.open, shown.open - 1);
        let of = now.answers.iter().find(|answer| answer.question == "HRS-01.1").unwrap();
        assert_eq!(of.answer, Reply::NotApplicable);
        assert!(of.explanation.contains("As of today. [said by M. M. for founder at 2026-11-18T"));
    }

    #[test]
    fn what_a_person_says_does_not_outlast_the_controls() {
        let issued = filled(Kind::Full, "It is so.")
            .issued(BTreeMap::new(), &view(Verdict::Pass), NOW)
            .unwrap();
        let of = |id: &str| issued.answers.iter().find(|answer| answer.question == id).unwrap();
        assert_eq!((of("CEK-03.1").answer, of("HRS-01.1").answer), (Reply::Yes, Reply::Yes));
        let outdated = issued.outdated(&view(Verdict::Fail));
        assert!(outdated.contains(&"CEK-03.1".to_owned()));
        assert!(!outdated.contains(&"HRS-01.1".to_owned()), "no control is cited");
        let again = issued.with_statements(vec![], "N. N.", NOW);
        assert!(matches!(again, Err(Problem::Conflict(_))));
    }

    #[test]
    fn tables_hold_the_whole_at_its_longest() {
        // Three bytes each, so that the text is long in bytes too; and a formula.
        let statement = format!("={}", "€".repeat(999));
        let posture = view(Verdict::Pass);
        let shown = view_of(filled(Kind::Full, &statement), &posture);
        assert_eq!((shown.open, shown.answers.len()), (0, 261));
        assert!(shown.rows().flatten().all(|cell| cell.chars().count() < CELL), "none is cut");
        let csv = shown.csv().unwrap();
        let mut table = csv::Reader::from_reader(csv.as_bytes());
        let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 261);
        assert!(rows.iter().all(|row| row.len() == COLUMNS.len()));
        assert!(rows.iter().flatten().all(|cell| !cell.starts_with('=')));
        let book = shown.xlsx().unwrap();
        assert!(book.starts_with(b"PK"));
        // An operator reads all three at once, the book in Base64; a function
        // answers with 6 MB at most.
        let json = serde_json::to_vec(&shown).unwrap().len();
        let all = json + csv.len() + book.len().div_ceil(3) * 4;
        assert!(all < 3_000_000, "{all} bytes");
    }

    #[test]
    fn due_dates_are_business_days() {
        let friday = date(2026, 11, 27);
        assert_eq!(Kind::Lite.due_on(friday), date(2026, 12, 2));
        assert_eq!(Kind::Full.due_on(friday), date(2026, 12, 8));
    }

    #[test]
    fn the_honest_list_answers_no_whatever_is_checked() {
        let answers = asked(Kind::Full, vec![]).compile(&view(Verdict::Pass));
        let of = |id: &str| answers.iter().find(|answer| answer.question == id).unwrap();
        assert_eq!(of("A&A-02.1").answer, Reply::No);
        assert_eq!(of("IAM-14.1").answer, Reply::No);
        assert!(of("IAM-14.1").explanation.contains("late"));
        let encrypted = of("CEK-12.1");
        assert_eq!(encrypted.answer, Reply::Yes);
        assert!(encrypted.explanation.contains("C3.1 (Live)"), "{}", encrypted.explanation);
        assert!(encrypted.explanation.contains("pass at 2026-11-18T"));
        let failing = asked(Kind::Full, vec![]).compile(&view(Verdict::Fail));
        assert!(failing.iter().all(|answer| answer.answer != Reply::Yes));
    }

    #[test]
    fn answers_that_became_wrong_are_named() {
        let issued = filled(Kind::Lite, "It is so.")
            .issued(BTreeMap::new(), &view(Verdict::Pass), NOW)
            .unwrap();
        assert_eq!(issued.outdated(&view(Verdict::Pass)), Vec::<String>::new());
        let outdated = issued.outdated(&view(Verdict::Fail));
        assert!(outdated.contains(&"SIG-D-2".to_owned()));
        assert!(!outdated.contains(&"SIG-L-1".to_owned()));
        let again = issued.issued(BTreeMap::new(), &view(Verdict::Pass), NOW);
        assert!(matches!(again, Err(Problem::Conflict(_))));
    }

    #[test]
    fn what_is_issued_after_its_date_has_missed_it() {
        let issued = |missed_at: Option<Timestamp>, days: i64| {
            let asked = Questionnaire { missed_at, ..filled(Kind::Lite, "It is so.") };
            let due = calendar::end_of(asked.due_on).unwrap();
            let now = due + jiff::SignedDuration::from_hours(24 * days - 1);
            (asked.issued(BTreeMap::new(), &view(Verdict::Pass), now).unwrap().missed_at, now)
        };
        assert_eq!(issued(None, 0).0, None, "its last day is in time");
        let (missed_at, now) = issued(None, 1);
        assert_eq!(missed_at, Some(now));
        assert_eq!(issued(Some(NOW), 1).0, Some(NOW), "it was recorded before");
    }

    #[test]
    fn own_questions_need_their_controls() {
        let own = OwnQuestion { id: "7b".into(), text: "=Is it encrypted?".into() };
        let asked = asked(Kind::Bespoke, vec![own]);
        let posture = view(Verdict::Pass);
        assert_eq!(asked.compile(&posture)[0].answer, Reply::Open);
        let without = asked.clone().issued(BTreeMap::new(), &posture, NOW);
        assert!(matches!(without, Err(Problem::Invalid(errors)) if errors.len() == 1));
        let named = |name: &str| BTreeMap::from([("7b".to_owned(), vec![name.to_owned()])]);
        assert!(asked.clone().issued(named("C99"), &posture, NOW).is_err());
        // A person can answer instead.
        let said =
            NewStatement { question: "7b".into(), answer: Said::No, statement: "Not yet.".into() };
        let said = asked.clone().with_statements(vec![said], "N. N.", NOW).unwrap();
        let said = said.issued(BTreeMap::new(), &posture, NOW).unwrap();
        assert_eq!(said.answers[0].answer, Reply::No);
        let issued = asked.issued(named("C3.1"), &posture, NOW).unwrap();
        assert_eq!(issued.answers[0].answer, Reply::Yes);
        let shown = view_of(issued, &posture);
        assert!(shown.csv().unwrap().contains("'=Is it encrypted?"));
        assert!(shown.xlsx().unwrap().starts_with(b"PK"));
    }

    #[test]
    fn questions_come_with_bespoke_ones_only() {
        let own = OwnQuestion { id: "1".into(), text: "?".into() };
        let new = |kind, questions| NewQuestionnaire { kind, questions };
        assert!(new(Kind::Lite, vec![]).check("").is_ok());
        assert!(new(Kind::Lite, vec![own.clone()]).check("").is_err());
        assert!(new(Kind::Bespoke, vec![]).check("").is_err());
        assert!(new(Kind::Bespoke, vec![own.clone(), own]).check("").is_err());
    }
}
