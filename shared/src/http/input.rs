//! Reading what a client sent: JSON bodies and query parameters, checked
//! against the schema that the API document shows, every wrong field at once.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, ValidationError, Validator};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use crate::{FieldError, Problem, formats};

/// How many wrong fields one answer names at most.
const ERRORS_SHOWN: usize = 100;

/// A type's schema and its compiled form.
struct Checked {
    schema: Value,
    validator: Validator,
}

fn checked<T: JsonSchema + 'static>() -> Result<Arc<Checked>, Problem> {
    static COMPILED: OnceLock<Mutex<HashMap<TypeId, Arc<Checked>>>> = OnceLock::new();
    let mut compiled =
        COMPILED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = compiled.get(&TypeId::of::<T>()) {
        return Ok(Arc::clone(found));
    }
    let schema = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    let validator = formats::register(jsonschema::options().with_draft(Draft::Draft202012))
        .should_validate_formats(true)
        .build(&schema)
        .map_err(|error| {
            tracing::error!(cause = %error, "a request schema does not compile");
            Problem::Internal
        })?;
    let entry = Arc::new(Checked { schema, validator });
    compiled.insert(TypeId::of::<T>(), Arc::clone(&entry));
    Ok(entry)
}

/// Reads a JSON body.
pub(super) fn body<T: DeserializeOwned + JsonSchema + 'static>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::Malformed("A JSON body is required.".into()));
    }
    let Distinct(value) = serde_json::from_slice(bytes).map_err(|error| {
        let what = if error.is_data() { "gives a member twice" } else { "is not valid JSON" };
        let (line, column) = (error.line(), error.column());
        Problem::Malformed(format!("The body {what} (line {line}, column {column})."))
    })?;
    self::value(value)
}

/// JSON whose objects have each member once: of two, readers disagree which
/// counts (RFC 8259 §4).
struct Distinct(Value);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(DistinctVisitor).map(Self)
    }
}

struct DistinctVisitor;

impl<'de> Visitor<'de> for DistinctVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(Distinct(item)) = items.next_element()? {
            found.push(item);
        }
        Ok(found.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some((name, Distinct(member))) = members.next_entry::<String, _>()? {
            if found.insert(name, member).is_some() {
                return Err(A::Error::custom("a member twice"));
            }
        }
        Ok(found.into())
    }
}

/// Reads a JSON value, checked against the schema of `T`.
///
/// # Errors
/// 422 naming every wrong field.
pub fn value<T: DeserializeOwned + JsonSchema + 'static>(value: Value) -> Result<T, Problem> {
    accept(&*checked::<T>()?, value)
}

/// Reads query parameters, each given at most once.
pub(super) fn query<T: DeserializeOwned + JsonSchema + 'static>(
    parameters: &BTreeMap<String, Vec<String>>,
) -> Result<T, Problem> {
    let checked = checked::<T>()?;
    let mut object = Map::new();
    let mut errors = Vec::new();
    for (name, values) in parameters {
        match values.as_slice() {
            [value] => {
                object.insert(name.clone(), typed(&checked.schema, name, value));
            }
            _ => errors.push(FieldError::new(name, "Give this parameter once.")),
        }
    }
    if !errors.is_empty() {
        return Err(Problem::Invalid(errors));
    }
    accept(&checked, Value::Object(object)).map_err(|problem| match problem {
        Problem::Invalid(errors) => Problem::Invalid(
            errors
                .into_iter()
                .map(|e| FieldError::new(e.field.trim_start_matches('/'), e.message))
                .collect(),
        ),
        other => other,
    })
}

/// A parameter is text; where the schema wants an integer and the text is
/// one, it becomes one.
fn typed(schema: &Value, name: &str, text: &str) -> Value {
    let wants = &schema["properties"][name]["type"];
    let integer = wants == "integer"
        || wants.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "integer"));
    match text.parse::<i64>() {
        Ok(number) if integer => Value::from(number),
        _ => Value::from(text),
    }
}

fn accept<T: DeserializeOwned>(checked: &Checked, mut value: Value) -> Result<T, Problem> {
    let mut errors = Vec::new();
    for (name, member) in value.as_object_mut().into_iter().flatten() {
        // Passwords are of any composition and taken as they are.
        if checked.schema["properties"][name]["format"] != "password" {
            normalise(member, &pointer("", name), &mut errors);
        }
    }
    for error in checked.validator.iter_errors(&value) {
        describe(&error, &mut errors);
        if errors.len() >= ERRORS_SHOWN {
            break;
        }
    }
    if !errors.is_empty() {
        errors.truncate(ERRORS_SHOWN);
        return Err(Problem::Invalid(errors));
    }
    serde_json::from_value(value).map_err(|error| {
        // The schema is made from the type, so this is a value that the
        // schema cannot describe. The message may quote it; it stays here.
        tracing::warn!(kind = ?error.classify(), "a value passed its schema but not its type");
        Problem::invalid("", "A value cannot be accepted.")
    })
}

/// Brings all text to Unicode NFC, and refuses what cannot be seen or makes a
/// line look like another: text goes into mails and reports.
fn normalise(value: &mut Value, at: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(text) => {
            if text.chars().any(is_control) {
                errors.push(FieldError::new(at, "Must not contain control characters."));
            } else if !text.is_empty() && text.chars().all(is_blank) {
                errors.push(FieldError::new(at, "Must not be blank."));
            }
            if !unicode_normalization::is_nfc(text) {
                *text = text.nfc().collect();
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                normalise(item, &format!("{at}/{index}"), errors);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                normalise(member, &pointer(at, name), errors);
            }
        }
        _ => {}
    }
}

/// Control characters, line and paragraph separators, and what changes the
/// direction of text or is nothing to see (Unicode Technical Report 36 §2). Not
/// the two joiners (U+200C, U+200D), without which some scripts and pictures
/// cannot be written.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// What leaves a text without anything to see if there is nothing else in it:
/// white space, joiners, fillers of Hangul, the empty pattern of Braille, and
/// selectors of a variant of the character before.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '\u{34f}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200c}'..='\u{200d}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{ffa0}'
                | '\u{e0100}'..='\u{e01ef}'
        )
}

/// Appends a member's name to a JSON pointer (RFC 6901 §3).
fn pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Puts a schema error into plain words, without quoting the value.
fn describe(error: &ValidationError<'_>, errors: &mut Vec<FieldError>) {
    let at = error.instance_path().to_string();
    let message = match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            errors.push(FieldError::new(pointer(&at, name), "This field is required."));
            return;
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            for name in unexpected {
                errors.push(FieldError::new(pointer(&at, name), "There is no such field."));
            }
            return;
        }
        ValidationErrorKind::Type { kind } => match kind {
            jsonschema::error::TypeKind::Single(kind) => format!("Must be of type {kind}."),
            jsonschema::error::TypeKind::Multiple(_) => "Is of the wrong type.".into(),
        },
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> =
                options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            format!("Must be one of: {}.", options.join(", "))
        }
        ValidationErrorKind::Format { format } => {
            format!("Must be {}.", formats::in_words(format))
        }
        ValidationErrorKind::Pattern { pattern } => {
            format!("Must match the pattern {pattern}.")
        }
        ValidationErrorKind::MinLength { limit } => match limit {
            1 => "Must not be empty.".into(),
            limit => format!("Must have at least {limit} characters."),
        },
        ValidationErrorKind::MaxLength { limit } => {
            format!("Must have at most {limit} characters.")
        }
        ValidationErrorKind::Minimum { limit } => format!("Must be at least {limit}."),
        ValidationErrorKind::Maximum { limit } => format!("Must be at most {limit}."),
        ValidationErrorKind::MinItems { limit } => format!("Must have at least {limit} items."),
        ValidationErrorKind::MaxItems { limit } => format!("Must have at most {limit} items."),
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            // An enumeration is a choice of constants.
            let options: Vec<&str> = context
                .iter()
                .flatten()
                .filter_map(|inner| match inner.kind() {
                    ValidationErrorKind::Constant { expected_value } => expected_value.as_str(),
                    _ => None,
                })
                .collect();
            if !options.is_empty() {
                errors
                    .push(FieldError::new(at, format!("Must be one of: {}.", options.join(", "))));
                return;
            }
            // What is wrong with the branch that was meant is what the client
            // needs to know: of an action with what belongs to it, the one that
            // is wrong further down only. Else the first: an optional member is
            // `anyOf: [T, null]`.
            let meant = context.iter().find(|branch| {
                !branch.is_empty()
                    && branch.iter().all(|inner| inner.instance_path().as_str() != at)
            });
            if let Some(branch) = meant.or_else(|| context.first()) {
                for inner in branch {
                    describe(inner, errors);
                }
                if !branch.is_empty() {
                    return;
                }
            }
            "Is not one of the accepted forms.".into()
        }
        _ => "Cannot be accepted.".into(),
    };
    errors.push(FieldError::new(at, message));
}

/// Keeps a null that is there apart from a member that is absent: for
/// `#[serde(default, deserialize_with = "present")]` on an
/// `Option<Option<T>>` of a merge patch (RFC 7396).
///
/// # Errors
/// As the value's own type.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(input).map(Some)
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[schemars(extend("format" = "iban"))]
        iban: String,
    }

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[schemars(length(min = 1, max = 5))]
        name: String,
        #[schemars(range(min = 1, max = 100))]
        limit: Option<i64>,
        inner: Option<Inner>,
        choice: Option<Choice>,
        deed: Option<Deed>,
    }

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        /// The first.
        This,
        /// The second.
        That,
    }

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(rename_all = "snake_case", deny_unknown_fields)]
    enum Deed {
        /// With nothing.
        Rest {},
        /// With something.
        Pay(Inner),
    }

    fn errors(text: &str) -> Vec<(String, String)> {
        match body::<Sample>(text.as_bytes()) {
            Err(Problem::Invalid(errors)) => {
                errors.into_iter().map(|e| (e.field, e.message)).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let found = errors(r#"{"name":"","limit":"x","inner":{"iban":"IE00"},"oops/~":1}"#);
        let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        for expected in ["/name", "/limit", "/inner/iban", "/oops~1~0"] {
            assert!(fields.contains(&expected), "{expected} is missing in {found:?}");
        }
        assert_eq!(errors("{}"), [("/name".into(), "This field is required.".into())]);
        assert_eq!(errors("[]")[0].1, "Must be of type object.");
    }

    #[test]
    fn a_choice_names_what_may_be_chosen() {
        for wrong in ["\"x\"", "7", "{}"] {
            assert_eq!(
                errors(&format!(r#"{{"name":"a","choice":{wrong}}}"#)),
                [("/choice".into(), "Must be one of: this, that.".into())]
            );
        }
    }

    #[test]
    fn what_belongs_to_a_choice_is_named_where_it_is_wrong() {
        let of = |deed: &str| {
            let found = errors(&format!(r#"{{"name":"a","deed":{deed}}}"#));
            found.into_iter().map(|(field, _)| field).collect::<Vec<_>>()
        };
        assert_eq!(of(r#"{"pay":{"iban":"IE00"}}"#), ["/deed/pay/iban"]);
        assert_eq!(of(r#"{"pay":{"iban":"IE00","to":1}}"#).len(), 2);
        let long = of(r#"{"rest":{"long":true}}"#);
        assert!(!long.is_empty() && long.iter().all(|field| field.starts_with("/deed/rest")));
        assert!(of(r#"{"sleep":{}}"#).contains(&"/deed/sleep".to_owned()));
    }

    #[test]
    fn messages_never_quote_the_value() {
        let secret = "hunter2-hunter2";
        for (_, message) in
            errors(&format!(r#"{{"name":"{secret}","inner":{{"iban":"{secret}"}}}}"#))
        {
            assert!(!message.contains(secret), "{message}");
        }
    }

    #[test]
    fn text_is_normalised_and_control_characters_are_refused() {
        let composed = body::<Sample>("{\"name\":\"e\u{301}\"}".as_bytes()).unwrap();
        assert_eq!(composed.name, "\u{e9}");
        for wrong in ["a\\u0000", "a\\nb", "a\u{202e}b", "\u{200b}", "\u{2028}", " ", "\u{3000}"] {
            let found = errors(&format!(r#"{{"name":"{wrong}"}}"#));
            assert_eq!(found[0].0, "/name", "{wrong:?}");
        }
        for unseen in ["\u{ad}", "\u{61c}", "\u{200e}", "\u{200f}", "\u{2060}", "\u{e0041}"] {
            let found = errors(&format!(r#"{{"name":"Ada{unseen}"}}"#));
            assert_eq!(found[0].1, "Must not contain control characters.", "{unseen:?}");
        }
        for nothing in ["\u{3164}", "\u{115f}\u{ffa0}", "\u{200d} \u{fe0f}", "\u{2800}"] {
            let found = errors(&format!(r#"{{"name":"{nothing}"}}"#));
            assert_eq!(found[0].1, "Must not be blank.", "{nothing:?}");
        }
        // Joiners are right between letters.
        let joined = "\u{645}\u{200c}\u{647}";
        let read = body::<Sample>(format!(r#"{{"name":"{joined}"}}"#).as_bytes()).unwrap();
        assert_eq!(read.name, joined);
    }

    #[test]
    fn a_password_is_taken_as_it_is() {
        #[derive(Debug, Deserialize, JsonSchema)]
        struct WithPassword {
            #[schemars(extend("format" = "password"))]
            password: String,
        }
        let odd = " e\u{301}\u{202e}\\n ";
        let read = body::<WithPassword>(format!(r#"{{"password":"{odd}"}}"#).as_bytes()).unwrap();
        assert_eq!(read.password, " e\u{301}\u{202e}\n ");
    }

    #[test]
    fn a_member_given_twice_is_refused() {
        for twice in [r#"{"name":"a","name":"a"}"#, r#"{"name":"a","inner":{"iban":"","iban":""}}"#]
        {
            match body::<Sample>(twice.as_bytes()) {
                Err(Problem::Malformed(detail)) => {
                    assert!(detail.starts_with("The body gives a member twice"), "{detail}");
                }
                other => panic!("{other:?}"),
            }
        }
        for wrong in ["{", "nul", "[1e400]", "{\"name\":\"a\"} x"] {
            match body::<Sample>(wrong.as_bytes()) {
                Err(Problem::Malformed(detail)) => {
                    assert!(detail.starts_with("The body is not valid JSON"), "{detail}");
                }
                other => panic!("{wrong}: {other:?}"),
            }
        }
    }

    #[test]
    fn broken_json_is_malformed_and_says_where() {
        for text in ["", "{", "{\"name\":1e999}", "\u{feff}{}", &"[".repeat(10_000)] {
            assert!(
                matches!(body::<Sample>(text.as_bytes()), Err(Problem::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn parameters_are_single_and_typed() {
        let parse = |pairs: &[(&str, &[&str])]| {
            query::<Sample>(
                &pairs
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), v.iter().map(|v| (*v).to_owned()).collect()))
                    .collect(),
            )
        };
        let good = parse(&[("name", &["ab"]), ("limit", &["7"])]).unwrap();
        assert_eq!(good.limit, Some(7));
        for bad in [&[("name", &["a", "b"][..])][..], &[("name", &["a"][..]), ("limit", &["7.5"])]]
        {
            assert!(matches!(parse(bad), Err(Problem::Invalid(_))));
        }
        assert_eq!(
            parse(&[("name", &["a"]), ("limit", &["0"])]),
            Err(Problem::invalid("limit", "Must be at least 1."))
        );
    }
}
