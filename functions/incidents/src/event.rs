//! Events about breaches, as the security team puts them on the bus. Their
//! schemas are published in docs/events/.

use jiff::{SignedDuration, Timestamp};
use keystone::tenant::{Id, TenantId};
use keystone::{FieldError, Problem, http};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `source` of the events.
pub const SOURCE: &str = "keystone.security";
/// `detail-type` of [`Confirmed`].
pub const CONFIRMED: &str = "BreachConfirmed";
/// `detail-type` of [`Updated`].
pub const UPDATED: &str = "BreachUpdated";
/// `detail-type` of [`ToldByHand`].
pub const TOLD_BY_HAND: &str = "BreachToldByHand";

/// Tenants that one event may name: with all that is said of them it stays
/// within the 256 KiB of an event.
const TENANTS: u32 = 400;
/// How far the sender's clock may be ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// How long ago a breach may have been confirmed. What is older was mistyped, such
/// as the year, and would be recorded as missed for good.
const OLDEST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An event as `EventBridge` wraps it.
#[derive(Deserialize, JsonSchema)]
pub struct Envelope {
    /// Who sent it.
    source: String,
    /// What kind of event it is.
    #[serde(rename = "detail-type")]
    detail_type: String,
    /// What it says.
    detail: Value,
}

/// What an event says.
pub enum Event {
    /// A breach is confirmed.
    Confirmed(Confirmed),
    /// More is known of it.
    Updated(Updated),
    /// A tenant was told in another way than by mail.
    ToldByHand(ToldByHand),
}

/// A personal-data breach is confirmed: the content of Art. 33(3) GDPR. The
/// same incident may come again with further tenants; what it says of the
/// breach itself must then be the same.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmed {
    /// The incident, the same in every event about it.
    pub incident: Id,
    /// When it was confirmed, at most 30 days ago; our deadlines are counted from here.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub confirmed_at: Timestamp,
    /// What happened (Art. 33(3)(a)).
    #[schemars(length(min = 1, max = 2000))]
    pub nature: String,
    /// What is likely to come of it (Art. 33(3)(c)).
    #[schemars(length(min = 1, max = 2000))]
    pub consequences: String,
    /// What was done and is proposed, also to mitigate it (Art. 33(3)(d)).
    #[schemars(length(min = 1, max = 2000))]
    pub measures: String,
    /// Where more can be learnt (Art. 33(3)(b)).
    pub contact: Contact,
    /// Whose data is affected.
    #[schemars(length(min = 1, max = TENANTS))]
    pub tenants: Vec<AffectedTenant>,
}

/// The data protection lead, or whoever else answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IncidentContact")]
pub struct Contact {
    /// Name of the person.
    #[schemars(length(min = 1, max = 100), extend("format" = "person"))]
    pub name: String,
    /// E-mail address.
    #[schemars(email, length(max = 254))]
    pub email: String,
    /// Telephone number.
    #[serde(default)]
    #[schemars(extend("format" = "e164"))]
    pub phone: Option<String>,
}

/// An affected tenant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AffectedTenant {
    /// Slug.
    #[schemars(extend("format" = "tenant"))]
    pub tenant: String,
    /// What of its data is affected.
    pub affected: Affected,
}

/// What of a tenant's data is affected (Art. 33(3)(a)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Affected {
    /// Categories of people.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 200)))]
    pub subject_categories: Vec<String>,
    /// How many people, approximately; absent while nobody knows.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub subjects: Option<i64>,
    /// Categories of personal data records.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 200)))]
    pub record_categories: Vec<String>,
    /// How many records, approximately; absent while nobody knows.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub records: Option<i64>,
}

/// More is known of a breach: information in phases (Art. 33(4) GDPR).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Updated {
    /// The incident.
    pub incident: Id,
    /// Which phase, from 1 without gaps; they are told in this order.
    #[schemars(range(min = 1, max = 100))]
    pub sequence: i64,
    /// What is known now.
    #[schemars(length(min = 1, max = 4000))]
    pub text: String,
}

/// A tenant was told of a breach in another way than by our mail, which did not
/// reach it: by telephone, in person. Where that was the notice, our clock ends there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldByHand {
    /// The incident.
    pub incident: Id,
    /// Slug of the tenant.
    #[schemars(extend("format" = "tenant"))]
    pub tenant: String,
    /// Of what: 0 for the notice, then the sequence of the further information.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub sequence: i64,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// How, by whom and to whom.
    #[schemars(length(min = 1, max = 500))]
    pub how: String,
}

impl Affected {
    /// Who is affected, in words.
    pub fn subjects_in_words(&self) -> String {
        in_words(self.subjects, &self.subject_categories)
    }

    /// Which records are affected, in words.
    pub fn records_in_words(&self) -> String {
        in_words(self.records, &self.record_categories)
    }
}

fn in_words(count: Option<i64>, categories: &[String]) -> String {
    let count = count.map_or("number not known yet".to_owned(), |count| format!("about {count}"));
    format!("{count} ({})", categories.join(", "))
}

impl Contact {
    /// All of it on one line.
    pub fn in_words(&self) -> String {
        let phone = self.phone.as_deref().map(|phone| format!(", {phone}"));
        format!("{}, {}{}", self.name, self.email, phone.unwrap_or_default())
    }
}

impl Envelope {
    /// The event inside, checked against its schema.
    ///
    /// # Errors
    /// 422 naming every wrong field; nothing else makes it right but another
    /// event.
    pub fn open(self, now: Timestamp) -> Result<Event, Problem> {
        match (self.source.as_str(), self.detail_type.as_str()) {
            (SOURCE, CONFIRMED) => Confirmed::read(self.detail, now).map(Event::Confirmed),
            (SOURCE, UPDATED) => http::read_value(self.detail).map(Event::Updated),
            (SOURCE, TOLD_BY_HAND) => match http::read_value::<ToldByHand>(self.detail)? {
                told if told.at > now + SKEW => {
                    Err(Problem::invalid("/at", "Must not be in the future."))
                }
                told => Ok(Event::ToldByHand(told)),
            },
            (source, detail_type) => {
                tracing::error!(source, detail_type, "an event that is none about a breach");
                Err(if source == SOURCE {
                    Problem::invalid("/detail-type", "There is no such event here.")
                } else {
                    Problem::invalid("/source", "Nobody else tells of breaches here.")
                })
            }
        }
    }
}

impl Confirmed {
    fn read(detail: Value, now: Timestamp) -> Result<Self, Problem> {
        let event: Self = http::read_value(detail)?;
        let mut errors = Vec::new();
        if event.confirmed_at > now + SKEW {
            errors.push(FieldError::new("/confirmed_at", "Must not be in the future."));
        }
        if event.confirmed_at < now - OLDEST {
            errors.push(FieldError::new("/confirmed_at", "Must not be over 30 days ago."));
        }
        for (index, one) in event.tenants.iter().enumerate() {
            let wrong = |message| FieldError::new(format!("/tenants/{index}/tenant"), message);
            if event.tenants.iter().take(index).any(|earlier| earlier.tenant == one.tenant) {
                errors.push(wrong("Stands in the list twice."));
            } else if one.id().is_none_or(|id| id.is_provider()) {
                errors.push(wrong("Must be a tenant's short name."));
            }
        }
        if errors.is_empty() { Ok(event) } else { Err(Problem::Invalid(errors)) }
    }
}

impl AffectedTenant {
    /// The slug, which the schema has checked.
    pub fn id(&self) -> Option<TenantId> {
        TenantId::parse(&self.tenant)
    }
}

/// The schemas of the events, each with the name of its file in docs/events/.
pub fn schemas() -> [(&'static str, Value); 3] {
    fn schema<T: JsonSchema>() -> Value {
        let generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
        generator.into_root_schema_for::<T>().to_value()
    }
    [
        ("breach-confirmed.json", schema::<Confirmed>()),
        ("breach-updated.json", schema::<Updated>()),
        ("breach-told-by-hand.json", schema::<ToldByHand>()),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    fn detail() -> Value {
        json!({
            "incident": "01890000-0000-7000-8000-000000000001",
            "confirmed_at": "2026-03-01T08:00:00Z",
            "nature": "A backup was copied",
            "consequences": "Unwanted calls",
            "measures": "Keys were replaced",
            "contact": { "name": "Una Daly", "email": "dpl@keystone.example" },
            "tenants": [{ "tenant": "acme", "affected": {
                "subject_categories": ["customers"], "subjects": 40,
                "record_categories": ["addresses", "telephone numbers"],
            }}],
        })
    }

    fn opened(detail_type: &str, detail: &Value) -> Result<Event, Problem> {
        opened_of(SOURCE, detail_type, detail)
    }

    fn opened_of(source: &str, detail_type: &str, detail: &Value) -> Result<Event, Problem> {
        let now = "2026-03-01T09:00:00Z".parse().unwrap();
        let envelope = json!({
            "version": "0", "source": source, "detail-type": detail_type, "detail": detail,
        });
        http::read_value::<Envelope>(envelope).unwrap().open(now)
    }

    fn fields(opened: Result<Event, Problem>) -> Vec<String> {
        let Err(Problem::Invalid(errors)) = opened else { panic!("it is taken") };
        errors.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn what_is_wrong_with_an_event_is_named() {
        assert!(matches!(opened(CONFIRMED, &detail()), Ok(Event::Confirmed(_))));
        let mut wrong = detail();
        wrong["tenants"][0]["affected"]["subjects"] = json!(-1);
        wrong["contact"]["email"] = json!("nobody");
        wrong["nature"] = json!("");
        wrong["colour"] = json!("red");
        let mut named = fields(opened(CONFIRMED, &wrong));
        named.sort_unstable();
        let expected = ["/colour", "/contact/email", "/nature", "/tenants/0/affected/subjects"];
        assert_eq!(named, expected);

        let mut wrong = detail();
        wrong["confirmed_at"] = json!("2026-03-01T09:05:01Z");
        let one = wrong["tenants"][0].clone();
        let mut provider = one.clone();
        provider["tenant"] = json!("keystone");
        wrong["tenants"] = json!([one, one, provider]);
        let expected = ["/confirmed_at", "/tenants/1/tenant", "/tenants/2/tenant"];
        assert_eq!(fields(opened(CONFIRMED, &wrong)), expected);

        let mut old = detail();
        old["confirmed_at"] = json!("2026-01-30T09:00:00Z");
        assert!(matches!(opened(CONFIRMED, &old), Ok(Event::Confirmed(_))));
        for wrong in ["2026-01-30T08:59:59Z", "2025-03-01T08:00:00Z", "0001-01-01T00:00:00Z"] {
            old["confirmed_at"] = json!(wrong);
            assert_eq!(fields(opened(CONFIRMED, &old)), ["/confirmed_at"], "{wrong}");
        }

        // The rule lets all through, so a name that was mistyped comes as far as here.
        for mistyped in ["BreachForgotten", "Breach Confirmed", "breachconfirmed", ""] {
            assert_eq!(fields(opened(mistyped, &detail())), ["/detail-type"], "{mistyped}");
        }
        for mistyped in ["keystone.securty", "Keystone.Security", "aws.events", ""] {
            let found = opened_of(mistyped, CONFIRMED, &detail());
            assert_eq!(fields(found), ["/source"], "{mistyped}");
        }
        let update = json!({ "incident": detail()["incident"], "sequence": 0, "text": "More" });
        assert_eq!(fields(opened(UPDATED, &update)), ["/sequence"]);
        let told = json!({
            "incident": detail()["incident"], "tenant": "acme", "at": "2026-03-01T09:06:00Z",
            "how": "Una telephoned Orla",
        });
        assert_eq!(fields(opened(TOLD_BY_HAND, &told)), ["/at"]);
        let mut told = told;
        told["at"] = json!("2026-03-01T09:00:00Z");
        let Ok(Event::ToldByHand(event)) = opened(TOLD_BY_HAND, &told) else { panic!("taken") };
        assert_eq!(event.sequence, 0, "the notice, unless it says otherwise");
        told["sequence"] = json!(-1);
        assert_eq!(fields(opened(TOLD_BY_HAND, &told)), ["/sequence"]);
    }

    #[test]
    fn numbers_are_said_in_words() {
        let Ok(Event::Confirmed(event)) = opened(CONFIRMED, &detail()) else { panic!("taken") };
        let affected = &event.tenants[0].affected;
        assert_eq!(affected.subjects_in_words(), "about 40 (customers)");
        let records = "number not known yet (addresses, telephone numbers)";
        assert_eq!(affected.records_in_words(), records);
    }
}
