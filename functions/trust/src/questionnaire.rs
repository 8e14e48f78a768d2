//! Security questionnaires: asked for by a tenant, or by somebody else through
//! an operator; answered from the catalogue and what its checks found last.
//!
//! The templates hold ids of CAIQ v4 and SIG Lite with what the question is
//! about in our own words: the questions' text is their publishers'. A
//! questionnaire of one's own (`bespoke`) brings its questions along, and an
//! operator says which controls each is about.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use keystone::audit::entry::at_text;
use keystone::cell::harmless;
use keystone::crypto::{Sealed, at_rest_option};
use keystone::tenant::{Entity, Filter, Id, Part, StoreError, Stored, Tenant, WriteTx, schema};
use keystone::{FieldError, Problem, business_days};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::control;
use crate::posture::{PostureView, Status};

const SOURCE: &str = include_str!("../questions.json");

/// Questionnaires of a tenant that a list names at most.
const LISTED: i64 = 1000;

/// Which questionnaire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "QuestionnaireKind")]
pub enum Kind {
    /// SIG Lite; due after 3 business days.
    Lite,
    /// CAIQ v4; due after 7 business days.
    Full,
    /// The asker's own questions; due after 7 business days.
    Bespoke,
}

impl Kind {
    /// The template's name; none where the asker brings the questions.
    const fn template(self) -> Option<&'static str> {
        match self {
            Self::Lite => Some("sig-lite"),
            Self::Full => Some("caiq-4"),
            Self::Bespoke => None,
        }
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
    /// Every control that the question is about is live.
    Yes,
    /// There is no such certificate, or it is not there yet.
    No,
    /// A control that it is about does not hold now, or was not seen to.
    NotConfirmed,
    /// Nobody has said yet which controls it is about.
    Open,
}

impl Reply {
    /// The answer in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Yes => "Yes",
            Self::No => "No",
            Self::NotConfirmed => "Not confirmed",
            Self::Open => "Open",
        }
    }
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
    /// Each control with its status, what was seen, and when.
    pub explanation: String,
    /// The controls that it is about.
    pub controls: Vec<String>,
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
    /// The answers that were given.
    pub answers: Vec<Answer>,
    /// When they were given.
    pub issued_at: Option<Timestamp>,
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
    template: String,
    id: String,
    domain: String,
    topic: String,
    controls: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Templates {
    version: String,
    questions: Vec<Question>,
}

// A test reads it too, so a build that was tested has it.
static TEMPLATES: LazyLock<Templates> =
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
        let received_on = irish_day(now);
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
            answers: Vec::new(),
            issued_at: None,
        }
    }
}

/// The day in Ireland; that of UTC where the zone is not known.
pub fn irish_day(now: Timestamp) -> Date {
    let zone = TimeZone::get("Europe/Dublin").unwrap_or(TimeZone::UTC);
    now.to_zoned_datetime(zone).date()
}

fn compiled(id: &str, topic: &str, controls: &[String], posture: &PostureView) -> Answer {
    let states: Vec<_> = controls.iter().filter_map(|id| posture.control(id)).collect();
    let any = |wanted: &[Status]| states.iter().any(|state| wanted.contains(&state.status));
    let answer = if states.is_empty() {
        Reply::Open
    } else if any(&[Status::NotCertified, Status::Planned, Status::InProgress]) {
        Reply::No
    } else if any(&[Status::Degraded, Status::Unverified]) || states.len() < controls.len() {
        // Of a control that the last posture did not have nothing was seen.
        Reply::NotConfirmed
    } else {
        Reply::Yes
    };
    let explained = states.iter().map(|state| {
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
    });
    Answer {
        question: id.to_owned(),
        topic: topic.to_owned(),
        answer,
        explanation: explained.collect::<Vec<_>>().join("\n"),
        controls: controls.to_vec(),
    }
}

impl Questionnaire {
    /// What would be answered now.
    pub fn compile(&self, posture: &PostureView) -> Vec<Answer> {
        let template = self.kind.template();
        let of_template =
            TEMPLATES.questions.iter().filter(|one| Some(one.template.as_str()) == template);
        let of_template = of_template.map(|question| {
            let topic = format!("{}: {}", question.domain, question.topic);
            compiled(&question.id, &topic, &question.controls, posture)
        });
        let own = self.questions.iter().map(|question| {
            let controls = self.controls.get(&question.id).map_or(&[][..], Vec::as_slice);
            compiled(&question.id, &question.text, controls, posture)
        });
        of_template.chain(own).collect()
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

    /// The same with the answers of now, given.
    ///
    /// # Errors
    /// 422 naming own questions that are unknown, controls that are, and own
    /// questions that nobody has said the controls of; 409 when they were given.
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
        for own in &self.questions {
            if controls.get(&own.id).is_none_or(Vec::is_empty) {
                let at = format!("/action/issue/controls/{}", own.id);
                errors.push(FieldError::new(at, "Must name the controls that it is about."));
            }
        }
        if !errors.is_empty() {
            return Err(Problem::Invalid(errors));
        }
        let mut issued = Self { controls, state: State::Issued, issued_at: Some(now), ..self };
        issued.answers = issued.compile(posture);
        Ok(issued)
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
        Self {
            id: stored.id,
            kind: of.kind,
            organisation: of.organisation.clone(),
            received_on: of.received_on,
            due_on: of.due_on,
            state: of.state,
            issued_at: of.issued_at.map(at_text),
            outdated: of.outdated(posture),
            answers: if draft { of.compile(posture) } else { of.answers.clone() },
        }
    }

    fn rows(&self) -> impl Iterator<Item = [String; 6]> {
        self.answers.iter().map(|answer| {
            let outdated = self.outdated.contains(&answer.question);
            [
                answer.question.clone(),
                answer.topic.clone(),
                answer.answer.words().to_owned(),
                answer.explanation.clone(),
                answer.controls.join(" "),
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
                // Most text that a cell holds.
                let cell: String = cell.chars().take(32_000).collect();
                sheet.write_string_with_format(row, column, cell, &wrapped).map_err(failed)?;
            }
        }
        sheet.set_freeze_panes(1, 0).map_err(failed)?;
        book.save_to_buffer().map_err(failed)
    }
}

const COLUMNS: [&str; 6] = ["question", "topic", "answer", "explanation", "controls", "remark"];
const WIDTHS: [f64; 6] = [12.0, 50.0, 14.0, 100.0, 16.0, 12.0];

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
    use crate::checks::Verdict;
    use crate::posture::tests::view;

    const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

    fn asked(kind: Kind, questions: Vec<OwnQuestion>) -> Questionnaire {
        NewQuestionnaire { kind, questions }.received("Buyer Ltd".into(), None, NOW)
    }

    #[test]
    fn every_question_is_about_controls_that_there_are() {
        let read: Templates = serde_json::from_str(SOURCE).unwrap();
        assert!(read.questions.len() >= 40);
        for question in &read.questions {
            assert!(!question.controls.is_empty(), "{}", question.id);
            for name in &question.controls {
                assert!(control(name).is_some(), "{}: {name}", question.id);
            }
        }
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
        let encrypted = of("CEK-03.1");
        assert_eq!(encrypted.answer, Reply::Yes);
        assert!(encrypted.explanation.contains("C3.1 (Live)"), "{}", encrypted.explanation);
        assert!(encrypted.explanation.contains("pass at 2026-11-18T"));
        let failing = asked(Kind::Full, vec![]).compile(&view(Verdict::Fail));
        assert!(failing.iter().all(|answer| answer.answer != Reply::Yes));
    }

    #[test]
    fn answers_that_became_wrong_are_named() {
        let issued =
            asked(Kind::Lite, vec![]).issued(BTreeMap::new(), &view(Verdict::Pass), NOW).unwrap();
        assert_eq!(issued.outdated(&view(Verdict::Pass)), Vec::<String>::new());
        let outdated = issued.outdated(&view(Verdict::Fail));
        assert!(outdated.contains(&"D.2".to_owned()) && !outdated.contains(&"L.1".to_owned()));
        let again = issued.issued(BTreeMap::new(), &view(Verdict::Pass), NOW);
        assert!(matches!(again, Err(Problem::Conflict(_))));
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
        let issued = asked.issued(named("C3.1"), &posture, NOW).unwrap();
        assert_eq!(issued.answers[0].answer, Reply::Yes);
        let stored = Stored {
            id: Id::from_u128(7),
            version: 1,
            created_at: NOW,
            updated_at: NOW,
            entity: issued,
        };
        let shown = QuestionnaireView::new(&stored, &posture);
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
