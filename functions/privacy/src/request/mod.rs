//! Requests of people about their data (GDPR Art. 15 to 21): what is asked,
//! by whom, by when it must be answered, and what came of it. The tenant is
//! the controller and answers; this keeps its clock and its evidence.
//! docs/adr/0027 has the reasons.

pub mod progress;
pub mod watch;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use keystone::crypto::{CryptoError, Place, Sealed, Subject, at_rest_option};
use keystone::erasure::Erasable;
use keystone::tenant::{Entity, Id, Stored, Tenant, schema};
use keystone::{FieldError, Problem, calendar, restriction};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use watch::Watch;

/// Months in which a request is answered (GDPR Art. 12(3)).
const MONTHS: u16 = 1;
/// The same where it is extended: two further months.
const MONTHS_EXTENDED: u16 = 3;
/// The day from which the GDPR applies; no request can be older.
const FIRST_DAY: Date = date(2018, 5, 25);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SubjectRequestKind")]
pub enum Kind {
    /// A copy of their data (Art. 15).
    Access,
    /// That wrong data is put right (Art. 16).
    Rectification,
    /// That their data is erased (Art. 17).
    Erasure,
    /// That their data is stored and not used (Art. 18).
    Restriction,
    /// Their data in a form that machines read (Art. 20).
    Portability,
    /// That their data is not used for a purpose (Art. 21).
    Objection,
}

impl Kind {
    /// Whether what is handed over is a bundle of the person's data.
    pub const fn wants_bundle(self) -> bool {
        matches!(self, Self::Access | Self::Portability)
    }

    /// Whether the use of the data may be restricted for it (Art. 18(1)).
    const fn may_restrict(self) -> bool {
        matches!(self, Self::Restriction | Self::Rectification | Self::Objection)
    }

    /// The kind in words, with its article.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Access => "access (GDPR Art. 15)",
            Self::Rectification => "rectification (GDPR Art. 16)",
            Self::Erasure => "erasure (GDPR Art. 17)",
            Self::Restriction => "restriction (GDPR Art. 18)",
            Self::Portability => "portability (GDPR Art. 20)",
            Self::Objection => "objection (GDPR Art. 21)",
        }
    }
}

/// How the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SubjectRequestChannel")]
pub enum Channel {
    /// By e-mail.
    Email,
    /// By letter.
    Letter,
    /// By telephone.
    Phone,
    /// In person.
    InPerson,
    /// Otherwise.
    Other,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SubjectRequestState")]
pub enum State {
    /// It was recorded.
    Open,
    /// Who asks is being found out (Art. 12(6)).
    IdentityCheck,
    /// It is being answered.
    InProgress,
    /// It was done.
    Fulfilled,
    /// It was refused, with reasons (Art. 12(4)).
    Refused,
}

impl State {
    /// The states in which the clock runs.
    pub const RUNNING: [Self; 3] = [Self::Open, Self::IdentityCheck, Self::InProgress];

    /// The state's name in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::IdentityCheck => "identity_check",
            Self::InProgress => "in_progress",
            Self::Fulfilled => "fulfilled",
            Self::Refused => "refused",
        }
    }

    /// Whether the request is answered.
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Fulfilled | Self::Refused)
    }

    /// Whether a request in this state may go to `next`.
    const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Open | Self::InProgress, Self::IdentityCheck)
            | (Self::Open | Self::IdentityCheck, Self::InProgress)
            | (Self::InProgress, Self::Fulfilled) => true,
            (from, Self::Refused) => !from.is_closed(),
            _ => false,
        }
    }
}

/// What a check of identity found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "IdentityResult")]
pub enum IdentityResult {
    /// They are who they say.
    Confirmed,
    /// There are reasonable doubts, and more was asked for (Art. 12(6)). The
    /// time to answer runs on.
    Doubtful,
}

/// How identity was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "IdentityMethod")]
pub enum IdentityMethod {
    /// They answered from an address or number that is on record.
    KnownContact,
    /// They were signed in to their account.
    SignedIn,
    /// They are known in person.
    KnownInPerson,
    /// They showed a document.
    Document,
    /// Otherwise.
    Other,
}

/// A check of identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityCheck {
    /// How it was checked.
    pub method: IdentityMethod,
    /// What was found.
    pub result: IdentityResult,
    /// On which day.
    #[schemars(with = "String", extend("format" = "date"))]
    pub on: Date,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalGround {
    /// It is manifestly unfounded (Art. 12(5)(b)).
    ManifestlyUnfounded,
    /// It is excessive (Art. 12(5)(b)).
    Excessive,
    /// Who asks could not be found out (Art. 11(2), 12(2)).
    IdentityNotEstablished,
    /// The law excepts it, as Art. 17(3), 20(4), 21(1) or a law under Art. 23
    /// does.
    LegalException,
}

/// That the time was extended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// The day on which the person was told, with the reasons.
    #[schemars(with = "String", extend("format" = "date"))]
    pub told_on: Date,
    /// When it was recorded.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

/// That the use of the person's data was restricted by this request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restricted {
    /// Why.
    pub ground: restriction::Ground,
    /// Since when.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
    /// Until when; absent while it stands.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub lifted_at: Option<Timestamp>,
    /// The day on which the person was told that it would be lifted (Art.
    /// 18(3)).
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub told_on: Option<Date>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// When it was recorded.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The day on which the person was told.
    #[schemars(with = "String", extend("format" = "date"))]
    pub told_on: Date,
    /// Why it was refused.
    pub refused: Option<RefusalGround>,
    /// The erasure that fulfilled it, as in the audit trail.
    pub erasure_id: Option<Id>,
    /// The user who recorded it.
    pub by: Id,
}

/// The last bundle that was made for a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LastBundle {
    /// Its id.
    pub id: Id,
    /// When it was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

/// Somebody who asks, as they say who they are. Sealed where it is stored.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requester {
    /// Their name.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// How they are reached: an address or a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300))]
    contact: Option<String>,
}

/// A person of whom the tenant has a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// What they are to the tenant.
    kind: PersonKind,
    /// Id of their record.
    id: Id,
}

/// What a person is to the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonKind {
    /// Somebody who may sign in, or could.
    User,
    /// The contact of a supplier.
    Supplier,
    /// The contact of a customer.
    Customer,
}

impl Person {
    /// The person as the crate names them.
    pub fn subject(self) -> Subject {
        match self.kind {
            PersonKind::User => Subject::User(self.id),
            PersonKind::Supplier => Subject::Supplier(self.id),
            PersonKind::Customer => Subject::Customer(self.id),
        }
    }

    fn of(subject: Subject) -> Option<Self> {
        let (kind, id) = match subject {
            Subject::User(id) => (PersonKind::User, id),
            Subject::Supplier(id) => (PersonKind::Supplier, id),
            Subject::Customer(id) => (PersonKind::Customer, id),
            Subject::Tenant | Subject::Request(_) => return None,
        };
        Some(Self { kind, id })
    }
}

/// A request as it is stored. What people said stands sealed with a secret of
/// its own, from before it is known whom it is about; the erasure of that person
/// destroys it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectRequest {
    /// What is asked for.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// The day on which it was received.
    pub received_on: Date,
    /// How it came.
    pub channel: Channel,
    /// Whom it is about, as [`Subject`] writes it.
    pub subject: Option<String>,
    /// Who asks.
    #[serde(with = "at_rest_option")]
    pub requester: Option<Sealed<Requester>>,
    /// What they said.
    #[serde(with = "at_rest_option")]
    pub description: Option<Sealed<String>>,
    /// The day on which the time to answer ends.
    pub due_on: Date,
    /// That the time was extended.
    pub extension: Option<Extension>,
    /// Why.
    #[serde(with = "at_rest_option")]
    pub extension_reason: Option<Sealed<String>>,
    /// The checks of identity, oldest first.
    pub identity: Vec<IdentityCheck>,
    /// That the use of the data was restricted.
    pub restricted: Option<Restricted>,
    /// Bundles that were made.
    pub bundles: i64,
    /// The last of them.
    pub last_bundle: Option<LastBundle>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// What the person was answered.
    #[serde(with = "at_rest_option")]
    pub answer: Option<Sealed<String>>,
    /// What the watch of deadlines did.
    pub watch: Watch,
    /// The user who recorded it.
    pub opened_by: Id,
}

impl Entity for SubjectRequest {
    const COLLECTION: &'static schema::Collection = &schema::DATA_SUBJECT_REQUESTS;
    const RESOURCE: &'static str = "data_subject_request";
    const PERSONAL: &'static [&'static str] = &[];
}

/// What was said is erased by itself where it is about nobody whom the tenant
/// knows: no erasure of a person would reach it.
impl Erasable for SubjectRequest {
    fn subject(id: Id) -> Subject {
        Subject::Request(id)
    }

    fn erased(&self, _: Id) -> Self {
        Self {
            requester: None,
            description: None,
            extension_reason: None,
            answer: None,
            ..self.clone()
        }
    }
}

fn place(id: Id, field: &'static str) -> Place<'static> {
    Place { collection: schema::DATA_SUBJECT_REQUESTS.name, document: id, field }
}

impl SubjectRequest {
    /// Whom it is about, once that is known.
    pub fn person(&self) -> Option<Subject> {
        self.subject.as_deref().and_then(|name| name.parse().ok())
    }

    /// Whether what was said in it is kept for longer than since `limit`: it is
    /// answered, and about nobody whom the tenant knows.
    pub fn has_lapsed(&self, limit: Timestamp) -> bool {
        let answered = self.ending.as_ref().is_some_and(|ending| ending.at < limit);
        let said = self.requester.is_some() || self.description.is_some() || self.answer.is_some();
        answered && said && self.subject.is_none()
    }

    /// What the last check of identity found.
    pub fn identity(&self) -> Option<IdentityResult> {
        self.identity.last().map(|check| check.result)
    }

    /// Refuses what needs to know that the person is who they say.
    ///
    /// # Errors
    /// 409 when no check confirmed it, or a later one raised doubts.
    pub fn must_be_identified(&self) -> Result<(), Problem> {
        if self.identity() == Some(IdentityResult::Confirmed) {
            return Ok(());
        }
        Err(Problem::Conflict("Confirm first that the person is who they say (identity).".into()))
    }
}

/// A request to be recorded.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSubjectRequest")]
pub struct NewRequest {
    /// What is asked for.
    kind: Kind,
    /// The day on which it was received, at the latest today.
    #[schemars(with = "String", extend("format" = "date"))]
    received_on: Date,
    /// How it came.
    channel: Channel,
    /// Whom it is about, if that is known; else say who asks.
    subject: Option<Person>,
    /// Who asks, as they say; stored encrypted.
    requester: Option<Requester>,
    /// What they said; stored encrypted.
    #[schemars(length(min = 1, max = 4000))]
    description: Option<String>,
}

impl NewRequest {
    /// The request with this id, recorded by `by` at `now`.
    ///
    /// # Errors
    /// 422 naming every wrong field; 503 when a store does not answer.
    pub async fn open(
        self,
        tenant: &Tenant,
        id: Id,
        by: Id,
        now: Timestamp,
    ) -> Result<SubjectRequest, Problem> {
        let mut errors = Vec::new();
        errors.extend(wrong_day("/received_on", self.received_on, FIRST_DAY, now));
        if self.subject.is_none() && self.requester.is_none() {
            let message = "Name the person whom it is about, or say who asks (requester).";
            errors.push(FieldError::new("/subject", message));
        }
        let subject = self.subject.map(Person::subject);
        if let Some(subject) = subject
            && !tenant.knows(subject).await?
        {
            errors.push(FieldError::new("/subject/id", "There is no such person."));
        }
        if !errors.is_empty() {
            return Err(Problem::Invalid(errors));
        }
        Ok(SubjectRequest {
            kind: self.kind,
            state: State::Open,
            received_on: self.received_on,
            channel: self.channel,
            subject: subject.map(|subject| subject.to_string()),
            requester: seal(tenant, id, "requester", self.requester.as_ref()).await?,
            description: seal(tenant, id, "description", self.description.as_ref()).await?,
            due_on: calendar::months_after(self.received_on, MONTHS),
            extension: None,
            extension_reason: None,
            identity: Vec::new(),
            restricted: None,
            bundles: 0,
            last_bundle: None,
            ending: None,
            answer: None,
            watch: Watch::default(),
            opened_by: by,
        })
    }
}

async fn seal<T: Serialize + DeserializeOwned>(
    tenant: &Tenant,
    id: Id,
    field: &'static str,
    value: Option<&T>,
) -> Result<Option<Sealed<T>>, CryptoError> {
    match value {
        Some(value) => Ok(Some(tenant.seal(place(id, field), Subject::Request(id), value).await?)),
        None => Ok(None),
    }
}

/// What is wrong with a day that must lie between `first` and today.
fn wrong_day(field: &str, day: Date, first: Date, now: Timestamp) -> Option<FieldError> {
    if day > calendar::day_of(now) {
        Some(FieldError::new(field, "Must not be in the future."))
    } else if day < first {
        Some(FieldError::new(field, format!("Must not be before {first}.")))
    } else {
        None
    }
}

/// A request as it is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubjectRequest")]
pub struct RequestView {
    /// Id.
    pub id: Id,
    /// What is asked for.
    pub kind: Kind,
    /// Where it stands.
    pub state: State,
    /// The day on which it was received.
    #[schemars(with = "String", extend("format" = "date"))]
    pub received_on: Date,
    /// How it came.
    pub channel: Channel,
    /// Whom it is about, once that is known.
    pub subject: Option<Person>,
    /// The day on which the time to answer ends.
    #[schemars(with = "String", extend("format" = "date"))]
    pub due_on: Date,
    /// Days until then, negative when it is over; absent once it is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<i64>,
    /// That the time was extended by two months.
    pub extension: Option<Extension>,
    /// The checks of identity, oldest first.
    pub identity: Vec<IdentityCheck>,
    /// That the use of the person's data was restricted.
    pub restricted: Option<Restricted>,
    /// Bundles of the person's data that were made.
    pub bundles: i64,
    /// The last of them.
    pub last_bundle: Option<LastBundle>,
    /// How it ended.
    pub ending: Option<Ending>,
    /// Reminders that were sent, and whether the time passed.
    pub watch: Watch,
    /// The user who recorded it.
    pub opened_by: Id,
    /// What people said; only in the answer about a single request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub words: Option<Words>,
    /// Version, as in the `ETag`.
    pub version: i64,
    /// When it was recorded.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub updated_at: Timestamp,
}

/// What people said in a request; null where it was erased.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubjectRequestWords")]
pub struct Words {
    /// Who asks, as they say.
    requester: Option<Requester>,
    /// What they said.
    description: Option<String>,
    /// Why the time was extended.
    extension_reason: Option<String>,
    /// What they were answered.
    answer: Option<String>,
}

impl RequestView {
    /// The view of `stored` at `now`, without what people said.
    pub fn new(stored: &Stored<SubjectRequest>, now: Timestamp) -> Self {
        let request = stored.entity.clone();
        let left = calendar::days_between(calendar::day_of(now), request.due_on);
        Self {
            id: stored.id,
            kind: request.kind,
            state: request.state,
            received_on: request.received_on,
            channel: request.channel,
            subject: request.person().and_then(Person::of),
            due_on: request.due_on,
            days_left: (!request.state.is_closed()).then_some(left),
            extension: request.extension,
            identity: request.identity,
            restricted: request.restricted,
            bundles: request.bundles,
            last_bundle: request.last_bundle,
            ending: request.ending,
            watch: request.watch,
            opened_by: request.opened_by,
            words: None,
            version: stored.version,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        }
    }

    /// The same with what people said. Whoever shows it records that first.
    ///
    /// # Errors
    /// [`CryptoError`] when it does not open.
    pub async fn with_words(
        tenant: &Tenant,
        stored: &Stored<SubjectRequest>,
        now: Timestamp,
    ) -> Result<Self, CryptoError> {
        let (id, request) = (stored.id, &stored.entity);
        let words = Words {
            requester: opened(tenant, id, "requester", request.requester.as_ref()).await?,
            description: opened(tenant, id, "description", request.description.as_ref()).await?,
            extension_reason: {
                let reason = request.extension_reason.as_ref();
                opened(tenant, id, "extension_reason", reason).await?
            },
            answer: opened(tenant, id, "answer", request.answer.as_ref()).await?,
        };
        Ok(Self { words: Some(words), ..Self::new(stored, now) })
    }
}

async fn opened<T: Serialize + DeserializeOwned + Clone>(
    tenant: &Tenant,
    id: Id,
    field: &'static str,
    sealed: Option<&Sealed<T>>,
) -> Result<Option<T>, CryptoError> {
    let plain = tenant.open_kept(place(id, field), sealed).await?;
    Ok(plain.map(|plain| plain.expose().clone()))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A request of this kind and state, received on 31 January 2026.
    pub(crate) fn request(kind: Kind, state: State) -> SubjectRequest {
        let received_on = date(2026, 1, 31);
        SubjectRequest {
            kind,
            state,
            received_on,
            channel: Channel::Letter,
            subject: None,
            requester: None,
            description: None,
            due_on: calendar::months_after(received_on, MONTHS),
            extension: None,
            extension_reason: None,
            identity: vec![],
            restricted: None,
            bundles: 0,
            last_bundle: None,
            ending: None,
            answer: None,
            watch: Watch::default(),
            opened_by: Id::from_u128(1),
        }
    }

    /// A value as it is stored, of which nothing opens.
    fn sealed() -> Sealed<String> {
        #[derive(Deserialize)]
        struct Holder {
            #[serde(with = "keystone::crypto::at_rest")]
            value: Sealed<String>,
        }
        let id = Id::from_u128(7).to_string();
        let nothing = json!({ "$binary": { "base64": "", "subType": "00" } });
        let envelope = json!({ "v": 1, "kid": id, "sub": format!("request:{id}"), "ct": nothing });
        let holder: Holder = serde_json::from_value(json!({ "value": envelope })).unwrap();
        holder.value
    }

    #[test]
    fn a_request_goes_forward_and_ends_once() {
        let all = [State::RUNNING.as_slice(), &[State::Fulfilled, State::Refused]].concat();
        for (from, expected) in [
            (State::Open, vec![State::IdentityCheck, State::InProgress, State::Refused]),
            (State::IdentityCheck, vec![State::InProgress, State::Refused]),
            (State::InProgress, vec![State::IdentityCheck, State::Fulfilled, State::Refused]),
            (State::Fulfilled, vec![]),
            (State::Refused, vec![]),
        ] {
            let next: Vec<State> =
                all.iter().copied().filter(|next| from.may_become(*next)).collect();
            assert_eq!(next, expected, "{from:?}");
            assert_eq!(from.is_closed(), expected.is_empty());
            assert_eq!(serde_json::to_value(from).unwrap(), from.name());
        }
    }

    #[test]
    fn the_last_check_of_identity_counts() {
        let mut asked = request(Kind::Access, State::InProgress);
        assert!(asked.must_be_identified().is_err());
        for (result, identified) in [
            (IdentityResult::Doubtful, false),
            (IdentityResult::Confirmed, true),
            (IdentityResult::Doubtful, false),
        ] {
            let on = date(2026, 2, 1);
            asked.identity.push(IdentityCheck { method: IdentityMethod::Document, result, on });
            assert_eq!(asked.must_be_identified().is_ok(), identified);
        }
    }

    #[test]
    fn what_a_stranger_said_lapses_and_nothing_else() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let limit = at("2026-03-01T00:00:00Z");
        let mut asked = request(Kind::Access, State::Refused);
        asked.ending = Some(Ending {
            at: at("2026-02-01T00:00:00Z"),
            told_on: date(2026, 2, 1),
            refused: Some(RefusalGround::IdentityNotEstablished),
            erasure_id: None,
            by: Id::from_u128(1),
        });
        assert!(!asked.has_lapsed(limit), "nothing was said, or it is erased already");
        asked.answer = Some(sealed());
        assert!(asked.has_lapsed(limit));
        assert!(!asked.has_lapsed(at("2026-02-01T00:00:00Z")), "kept until then");
        let id = Id::from_u128(7);
        assert!(!asked.erased(id).has_lapsed(limit));
        let linked = SubjectRequest { subject: Some(format!("user:{id}")), ..asked.clone() };
        assert!(!linked.has_lapsed(limit), "that person's erasure reaches it");
        let running = SubjectRequest { ending: None, ..asked };
        assert!(!running.has_lapsed(limit));
    }

    #[test]
    fn days_are_neither_in_the_future_nor_before_the_law() {
        let now = "2026-03-01T23:30:00Z".parse().unwrap();
        let wrong = |day| wrong_day("/on", day, FIRST_DAY, now).map(|error| error.message);
        assert_eq!(wrong(date(2026, 3, 1)), None);
        assert_eq!(wrong(FIRST_DAY), None);
        assert_eq!(wrong(date(2026, 3, 2)).unwrap(), "Must not be in the future.");
        assert_eq!(wrong(date(2018, 5, 24)).unwrap(), "Must not be before 2018-05-25.");
    }
}
