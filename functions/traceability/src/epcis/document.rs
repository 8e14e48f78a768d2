//! EPCIS documents: the envelope around events, and the JSON-LD context that
//! gives extension names their meaning.

use schemars::JsonSchema;

use super::event::{Event, EventType};
use super::json::{Json, write_items};
pub use super::read::{Errors, moment_of};
use super::read::{Extension, Members, items, pointer, text, time, uri};

/// The context of EPCIS 2.0.
pub const CONTEXT: &str = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld";

/// Most events of a document, and most things and parties that all of them name:
/// what one transaction records well within a request's time, also where the
/// database takes a few hundred events in a second (docs/benchmarks.md).
pub const EVENTS: usize = 1_000;
const NAMED: usize = 5_000;

/// Most contexts that hold for an event, and most bytes of their array without
/// blanks: each event is kept with all of them, its document's too.
const CONTEXTS: usize = 20;
const CONTEXT_BYTES: usize = 16 * 1024;

/// An event of a document, or what is wrong with it.
#[derive(Debug)]
pub struct Entry {
    /// The event, if it is one.
    pub event: Option<Event>,
    /// What is wrong with it.
    pub errors: Errors,
}

/// Reads a capture document. What is wrong with the envelope is in the second
/// part, what is wrong with an event beside it.
pub fn read(json: &Json) -> (Vec<Entry>, Errors) {
    let mut errors = Errors::default();
    let entries = envelope(json, &mut errors).unwrap_or_default();
    (entries, errors)
}

const MEMBERS: [&str; 10] = [
    "@context",
    "id",
    "type",
    "schemaVersion",
    "creationDate",
    "instanceIdentifier",
    "sender",
    "receiver",
    "epcisHeader",
    "epcisBody",
];

fn envelope(json: &Json, errors: &mut Errors) -> Option<Vec<Entry>> {
    if let Some(kind) = json.get("type").and_then(Json::text)
        && kind != "EPCISDocument"
    {
        errors.note("/type", "Must be EPCISDocument.");
        // The other members of a query document or master data would be judged
        // by the wrong rules.
        if kind.starts_with("EPCIS") {
            return None;
        }
    }
    let document = Members::of(json, "", &MEMBERS, Extension::Uris, errors)?;
    if let Some((kind, at)) = document.required("type", errors) {
        text(kind, &at, errors);
    }
    let context = document.required("@context", errors);
    let contexts = context.map(|(value, at)| context_list(value, &at, errors)).unwrap_or_default();
    document.optional("id", errors, uri);
    if let Some((version, at)) = document.required("schemaVersion", errors)
        && let Some(version) = text(version, &at, errors)
    {
        let numbers = version.split('.').all(|part| {
            !part.is_empty() && part.len() < 10 && part.bytes().all(|b| b.is_ascii_digit())
        });
        if !numbers || version.split('.').next() != Some("2") {
            errors.note(&at, "Must be a version of EPCIS 2, such as 2.0.");
        }
    }
    if let Some((created, at)) = document.required("creationDate", errors) {
        time(created, &at, errors);
    }
    for name in ["instanceIdentifier", "sender", "receiver"] {
        document.optional(name, errors, text);
    }
    if let Some((header, at)) = document.get("epcisHeader") {
        self::header(header, &at, errors);
    }
    let (body, at) = document.required("epcisBody", errors)?;
    let body = Members::of(body, &at, &["eventList"], Extension::Uris, errors)?;
    let (list, at) = body.required("eventList", errors)?;
    let list = items(list, &at, errors);
    if list.len() > EVENTS {
        errors.note(&at, format!("Must have at most {EVENTS} items: send several documents."));
        return None;
    }
    let entries: Vec<Entry> = list
        .iter()
        .enumerate()
        .map(|(index, event)| {
            let mut errors = Errors::default();
            let event = Event::read(event, &format!("{at}/{index}"), &contexts, &mut errors);
            Entry { event, errors }
        })
        .collect();
    if entries.iter().filter_map(|entry| entry.event.as_ref()).map(Event::named).sum::<usize>()
        > NAMED
    {
        let most = format!("{NAMED} things and parties in all: send several documents.");
        errors.note(&at, format!("Must name at most {most}"));
    }
    Some(entries)
}

/// Reads one bare event. One without a context is taken to have that of EPCIS.
pub fn read_bare(json: &Json) -> (Option<Event>, Errors) {
    let mut errors = Errors::default();
    let event = Event::read(json, "", &[], &mut errors);
    (event, errors)
}

/// The contexts that hold for an event, in the order in which they apply: those of
/// its document, then its own; that of EPCIS where there are none.
pub fn contexts_of(event: &Members<'_>, document: &[Json], errors: &mut Errors) -> Vec<Json> {
    let mut contexts = document.to_vec();
    if let Some((own, at)) = event.get("@context") {
        for context in context_list(own, &at, errors) {
            if !contexts.contains(&context) {
                contexts.push(context);
            }
        }
        if let Some(most) = bound_exceeded(&contexts) {
            errors.note(&at, format!("Must have at most {most}, with those of the document."));
        }
    }
    if contexts.is_empty() {
        contexts.push(Json::Text(CONTEXT.into()));
    }
    contexts
}

/// The bound that these contexts are beyond, in words.
fn bound_exceeded(contexts: &[Json]) -> Option<String> {
    if contexts.len() > CONTEXTS {
        return Some(format!("{CONTEXTS} items"));
    }
    let mut text = String::new();
    write_items(contexts, &mut text);
    (text.len() > CONTEXT_BYTES).then(|| format!("{CONTEXT_BYTES} bytes"))
}

/// The contexts of a document or an event, in the order in which they apply; none
/// of what has too many.
fn context_list(json: &Json, at: &str, errors: &mut Errors) -> Vec<Json> {
    let given = match json {
        Json::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    if let Some(most) = bound_exceeded(given) {
        errors.note(at, format!("Must have at most {most}."));
        return Vec::new();
    }
    let one = |json: &Json, at: &str, errors: &mut Errors| match json {
        Json::Object(_) => true,
        other => uri(other, at, errors).is_some(),
    };
    match json {
        Json::Array(list) => {
            let mut contexts: Vec<Json> = Vec::with_capacity(list.len());
            for (index, item) in list.iter().enumerate() {
                let at = format!("{at}/{index}");
                if contexts.contains(item) {
                    errors.note(&at, "Stands in the list twice.");
                } else if one(item, &at, errors) {
                    contexts.push(item.clone());
                }
            }
            contexts
        }
        other if one(other, at, errors) => vec![other.clone()],
        _ => Vec::new(),
    }
}

fn header(json: &Json, at: &str, errors: &mut Errors) {
    let header = Members::of(json, at, &["epcisMasterData"], Extension::Uris, errors);
    let Some((data, at)) = header.and_then(|header| header.get("epcisMasterData")) else { return };
    let Some(data) = Members::of(data, &at, &["vocabularyList"], Extension::Any, errors) else {
        return;
    };
    data.list("vocabularyList", errors, |vocabulary, at, errors| {
        let known = ["type", "vocabularyElementList"];
        let vocabulary = Members::of(vocabulary, at, &known, Extension::Any, errors)?;
        let (kind, at) = vocabulary.required("type", errors)?;
        uri(kind, &at, errors);
        vocabulary.list("vocabularyElementList", errors, element);
        Some(())
    });
}

fn element(json: &Json, at: &str, errors: &mut Errors) -> Option<()> {
    let element = Members::of(json, at, &["id", "attributes", "children"], Extension::Any, errors)?;
    if let Some((id, at)) = element.required("id", errors) {
        uri(id, &at, errors);
    }
    element.list("children", errors, uri);
    element.list("attributes", errors, |attribute, at, errors| {
        let attribute = Members::of(attribute, at, &["id", "attribute"], Extension::Any, errors)?;
        if let Some((id, at)) = attribute.required("id", errors) {
            uri(id, &at, errors);
        }
        let value = attribute.get("attribute").map(|(value, _)| value);
        if matches!(value, Some(Json::Null | Json::Bool(_) | Json::Array(_))) {
            errors.note(&pointer(at, "attribute"), "Must be a number, a string or an object.");
        }
        Some(())
    });
    Some(())
}

/// The schema that the API document shows of a capture document. What is
/// checked is more: see docs/adr/0017.
#[derive(JsonSchema)]
#[schemars(rename = "EpcisDocument", transform = open)]
pub struct DocumentSchema {
    /// JSON-LD contexts. At most 20 hold for an event, its own among them, with at
    /// most 16,384 bytes.
    #[schemars(rename = "@context")]
    pub context: serde_json::Value,
    /// `EPCISDocument`
    #[schemars(rename = "type")]
    pub kind: String,
    /// `2.0`
    #[schemars(rename = "schemaVersion")]
    pub schema_version: String,
    /// When the document was made.
    #[schemars(rename = "creationDate", with = "String", extend("format" = "date-time"))]
    pub creation_date: String,
    /// The events.
    #[schemars(rename = "epcisBody")]
    pub body: BodySchema,
}

/// The body of a capture document.
#[derive(JsonSchema)]
#[schemars(rename = "EpcisBody", transform = open)]
pub struct BodySchema {
    /// Events of the five kinds, which name at most 5,000 things and parties in
    /// all, and each at most 1,000 in one list.
    #[schemars(rename = "eventList", length(max = EVENTS))]
    pub events: Vec<EventSchema>,
}

/// An EPCIS 2.0 event (GS1 EPCIS 2.0 §7.4).
#[derive(JsonSchema)]
#[schemars(rename = "EpcisEvent", transform = open)]
pub struct EventSchema {
    /// Kind.
    #[schemars(rename = "type")]
    pub kind: EventType,
    /// When it happened.
    #[schemars(rename = "eventTime", with = "String", extend("format" = "date-time"))]
    pub time: String,
    /// Offset of the local time where it happened.
    #[schemars(rename = "eventTimeZoneOffset")]
    pub offset: String,
    /// Its name, a URI; one is given if it is absent.
    #[schemars(rename = "eventID", skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
}

/// The answer of an event query (GS1 EPCIS 2.0 §8.2.7).
#[derive(JsonSchema)]
#[schemars(rename = "EpcisQueryDocument", transform = open)]
pub struct QueryDocumentSchema {
    /// JSON-LD contexts.
    #[schemars(rename = "@context")]
    pub context: serde_json::Value,
    /// `EPCISQueryDocument`
    #[schemars(rename = "type")]
    pub kind: String,
    /// `queryResults.resultsBody.eventList` holds the events.
    #[schemars(rename = "epcisBody")]
    pub body: serde_json::Value,
}

/// Says that there are more members than the schema names.
fn open(schema: &mut schemars::Schema) {
    schema.insert("additionalProperties".into(), true.into());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(epcs: usize) -> Value {
        let epcs: Vec<String> =
            (0..epcs).map(|n| format!("urn:epc:id:sgtin:4012345.066666.{n}")).collect();
        json!({
            "type": "ObjectEvent", "action": "OBSERVE", "eventTime": "2026-03-01T08:00:00Z",
            "eventTimeZoneOffset": "+00:00", "epcList": epcs,
        })
    }

    /// The fields that are wrong in a document of these contexts and events.
    fn fields(context: &Value, events: &[Value]) -> Vec<String> {
        let document = json!({
            "@context": context, "type": "EPCISDocument", "schemaVersion": "2.0",
            "creationDate": "2026-03-01T08:00:00Z", "epcisBody": { "eventList": events },
        });
        let (entries, errors) = read(&Json::read(&document.to_string()).unwrap());
        let errors = entries.into_iter().flat_map(|entry| entry.errors.0).chain(errors.0);
        errors.map(|error| error.field).collect()
    }

    fn wrong(events: usize, epcs: usize) -> Vec<String> {
        fields(&json!(CONTEXT), &vec![event(epcs); events])
    }

    #[test]
    fn a_document_and_its_lists_have_an_end() {
        let none: [&str; 0] = [];
        assert_eq!(wrong(EVENTS, 1), none);
        assert_eq!(wrong(EVENTS + 1, 1), ["/epcisBody/eventList"]);
        assert_eq!(wrong(5, 1_000), none);
        assert_eq!(wrong(6, 1_000), ["/epcisBody/eventList"]);
        assert_eq!(wrong(1, 1_001), ["/epcisBody/eventList/0/epcList"]);
    }

    #[test]
    fn contexts_have_an_end() {
        let none: [&str; 0] = [];
        let (document, own) = (["/@context"], ["/epcisBody/eventList/0/@context"]);
        let uris = |of: &str, count: usize| -> Value {
            (0..count).map(|n| Value::from(format!("urn:x:{of}:{n}"))).collect()
        };
        // An object whose array has so many bytes.
        let long = |bytes: usize| json!({ "ex": "a".repeat(bytes - r#"[{"ex":""}]"#.len()) });
        let wrong = |of_document: &Value, of_event: Value| {
            let mut event = event(1);
            event["@context"] = of_event;
            fields(of_document, &[event])
        };
        let few = json!(CONTEXT);
        for (at_most, too_much) in [
            (uris("d", CONTEXTS), uris("d", CONTEXTS + 1)),
            (long(CONTEXT_BYTES), long(CONTEXT_BYTES + 1)),
            (json!([long(CONTEXT_BYTES)]), json!([long(CONTEXT_BYTES + 1)])),
        ] {
            assert_eq!(fields(&at_most, &[event(1)]), none);
            assert_eq!(fields(&too_much, &[event(1)]), document);
            assert_eq!(wrong(&at_most, at_most.clone()), none);
            assert_eq!(wrong(&few, at_most), own);
            assert_eq!(wrong(&few, too_much), own);
        }
        // Those of the document count for the event.
        assert_eq!(wrong(&uris("d", CONTEXTS / 2), uris("e", CONTEXTS / 2)), none);
        assert_eq!(wrong(&uris("d", CONTEXTS / 2), uris("e", CONTEXTS / 2 + 1)), own);
        // What an event is kept with can be said again of it alone.
        let bare = |context: Value| {
            let mut event = event(1);
            event["@context"] = context;
            read_bare(&Json::read(&event.to_string()).unwrap())
        };
        for at_most in [uris("e", CONTEXTS), long(CONTEXT_BYTES)] {
            let (event, errors) = bare(at_most);
            assert_eq!(errors.0, vec![]);
            let kept = serde_json::from_str(&event.unwrap().context).unwrap();
            assert_eq!(bare(kept).1.0, vec![]);
        }
    }

    #[test]
    fn of_a_prefix_that_is_given_twice_the_last_counts() {
        let digest = |context: Value| {
            let mut event = event(1);
            event["ex:note"] = "kept".into();
            event["@context"] = context;
            let (event, errors) = read_bare(&Json::read(&event.to_string()).unwrap());
            assert_eq!(errors.0, vec![]);
            event.unwrap().digest
        };
        let (one, other) = (json!({ "ex": "urn:x:1:" }), json!({ "ex": "urn:x:2:" }));
        assert_eq!(digest(json!([one, other])), digest(other.clone()));
        assert_ne!(digest(json!([one, other])), digest(one));
    }
}
