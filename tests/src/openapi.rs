//! The OpenAPI 3.1 document, made from the routes.

use keystone::auth::Role;
use keystone::problem::ProblemBody;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::routes::{self, Listed};

/// Where named schemas stand in the document.
const SCHEMAS: &str = "/components/schemas";
/// Routes whose path takes another identifier beside our own id.
const BY_IDENTIFIER: [&str; 6] = [
    "declare-event-error",
    "get-batch-evidence",
    "get-event",
    "get-event-history",
    "set-event-status",
    "trace-batch",
];

/// The problems that any route may answer with.
const ALWAYS: [&str; 2] = ["500", "503"];

/// Status, name and description of each problem answer.
const PROBLEMS: [(&str, &str, &str); 14] = [
    ("400", "Malformed", "The request is not well-formed."),
    ("401", "Unauthenticated", "No valid session, or wrong sign-in details."),
    ("403", "Forbidden", "The role does not permit this."),
    ("404", "NotFound", "There is no such thing in this tenant."),
    ("406", "NotAcceptable", "It cannot be had in the media type of Accept."),
    ("409", "Conflict", "The request contradicts the present state."),
    ("412", "Stale", "If-Match names a version that is no longer current."),
    ("413", "TooLarge", "The body has more than 1 MiB."),
    ("415", "UnsupportedMediaType", "The body is not of the media type that is taken."),
    ("422", "Invalid", "Values that cannot be accepted, all of them."),
    ("428", "PreconditionRequired", "If-Match is missing."),
    ("429", "TooManyRequests", "Throttled; Retry-After says for how long."),
    ("500", "Internal", "A defect; nothing was changed."),
    ("503", "Unavailable", "A store is unavailable; nothing was changed."),
];

/// The document.
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for listed in routes::all() {
        let operation = operation(&listed, &mut schemas);
        let method = listed.spec.method.as_str().to_lowercase();
        let path = paths.entry(listed.spec.path).or_insert_with(|| json!({}));
        path[method] = operation;
    }
    let problem = schema(schemas.answers.subschema_for::<ProblemBody>());
    let responses: Map<String, Value> = PROBLEMS
        .iter()
        .map(|(_, name, description)| {
            let content = json!({ "application/problem+json": { "schema": problem } });
            ((*name).to_owned(), json!({ "description": description, "content": content }))
        })
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Keystone",
            "description": "Food traceability: suppliers, customers, products, lots, and an \
                audit trail of everything that is done. Errors are problem details (RFC 9457); \
                updates need If-Match; lists are paged by cursor.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "security": [{ "session": [] }],
        "components": {
            "securitySchemes": {
                "session": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            },
            "responses": responses,
            "schemas": schemas.definitions(),
        },
    })
}

/// The named schemas: of what clients send, where a member with a default may
/// be absent, and of what they get, where it may not.
struct Schemas {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12()
            .with(|settings| settings.definitions_path = SCHEMAS.into());
        Self {
            requests: settings.clone().for_deserialize().into_generator(),
            answers: settings.for_serialize().into_generator(),
        }
    }

    /// All of them under one set of names.
    fn definitions(mut self) -> Value {
        let mut all = self.requests.take_definitions(true);
        for (name, schema) in self.answers.take_definitions(true) {
            if let Some(other) = all.insert(name.clone(), schema.clone()) {
                assert_eq!(schema, other, "{name} differs in requests and answers: rename one");
            }
        }
        let mut all = Value::Object(all);
        without_null_defaults(&mut all);
        all
    }
}

/// The document as the text that is served.
pub fn text() -> String {
    format!("{:#}\n", document())
}

fn operation(listed: &Listed, schemas: &mut Schemas) -> Value {
    let spec = listed.spec;
    let mut operation = json!({
        "operationId": spec.name,
        "summary": spec.summary,
        "tags": [listed.context],
    });
    let parameters = parameters(listed);
    if !parameters.is_empty() {
        operation["parameters"] = Value::Array(parameters);
    }
    if let Some(body) = spec.body {
        let body = schema(body(&mut schemas.requests));
        let media_type = spec.takes();
        operation["requestBody"] = json!({ "required": true, "content": { media_type.unwrap_or_default(): { "schema": body } } });
    }
    let mut answer = json!({ "description": description(spec.answer.status) });
    if let Some(body) = spec.answer.schema {
        let body = schema(body(&mut schemas.answers));
        answer["content"] = json!({ spec.answer.media_type: { "schema": body } });
    } else if !spec.answer.media_type.is_empty() {
        answer["content"] = json!({ spec.answer.media_type: {} });
    }
    for media_type in spec.answer.also {
        answer["content"][*media_type] = json!({});
    }
    let mut responses = json!({ spec.answer.status.to_string(): answer });
    for status in problems(listed) {
        if let Some((_, name, _)) = PROBLEMS.iter().find(|(known, _, _)| *known == status) {
            responses[status] = json!({ "$ref": format!("#/components/responses/{name}") });
        }
    }
    operation["responses"] = responses;
    match listed.permission {
        Some(permission) => {
            operation["x-permission"] = json!(permission);
            operation["x-grants"] = Role::ALL
                .iter()
                .map(|role| (role.name().to_owned(), json!(permission.grant(*role))))
                .collect::<Map<_, _>>()
                .into();
        }
        None => operation["security"] = json!([]),
    }
    operation
}

fn parameters(listed: &Listed) -> Vec<Value> {
    let spec = listed.spec;
    let mut parameters: Vec<Value> = routes::parameters(spec.path)
        .into_iter()
        .map(|name| {
            let schema = match name {
                "seq" => json!({ "type": "integer", "minimum": 0 }),
                "collection" => json!({ "type": "string" }),
                "id" if BY_IDENTIFIER.contains(&spec.name) => json!({ "type": "string" }),
                _ => json!({ "type": "string", "format": "uuid" }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    if let Some(query) = spec.query {
        let query = schema_alone(query);
        for (name, property) in query["properties"].as_object().into_iter().flatten() {
            parameters.push(parameter("query", name, property.clone()));
        }
    }
    if spec.method.as_str() == "PATCH" {
        let mut parameter = parameter("header", "If-Match", json!({ "type": "string" }));
        parameter["description"] = json!("The ETag that was read.");
        parameter["required"] = json!(true);
        parameters.push(parameter);
    }
    if writes_state(listed) {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 255 });
        let mut parameter = parameter("header", "Idempotency-Key", schema);
        parameter["description"] =
            json!("The same request with the same key is done once within a day.");
        parameters.push(parameter);
    }
    parameters
}

/// A parameter with the description that its schema has, and without null: a
/// parameter that is not sent is absent.
fn parameter(place: &str, name: &str, mut schema: Value) -> Value {
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    if let Some(kinds) = schema["type"].as_array() {
        schema["type"] = kinds.iter().find(|kind| **kind != "null").cloned().unwrap_or_default();
    }
    let mut parameter = json!({ "name": name, "in": place });
    if let Some(description) = description {
        parameter["description"] = description;
    }
    parameter["schema"] = schema;
    parameter
}

/// Whether the route changes what the tenant has, under an idempotency key.
fn writes_state(listed: &Listed) -> bool {
    listed.permission.is_some()
        && listed.spec.body.is_some()
        && listed.spec.answer.media_type == "application/json"
}

/// The problems that the route may answer with.
fn problems(listed: &Listed) -> Vec<&'static str> {
    let spec = listed.spec;
    let mut problems = ALWAYS.to_vec();
    if spec.body.is_some() {
        problems.extend(["400", "413", "415", "422"]);
    } else if spec.query.is_some() {
        problems.push("422");
    }
    if listed.permission.is_some() {
        problems.extend(["401", "403"]);
    } else if spec.body.is_some() {
        problems.extend(["401", "429"]);
    }
    if !routes::parameters(spec.path).is_empty() {
        problems.push("404");
    }
    if !spec.answer.also.is_empty() {
        problems.push("406");
    }
    if writes_state(listed) {
        problems.push("409");
    }
    if spec.method.as_str() == "PATCH" {
        problems.extend(["412", "428"]);
    }
    problems.sort_unstable();
    problems
}

const fn description(status: u16) -> &'static str {
    match status {
        201 => "Created.",
        204 => "Done.",
        _ => "The answer.",
    }
}

fn schema(schema: schemars::Schema) -> Value {
    let mut schema = schema.to_value();
    without_null_defaults(&mut schema);
    schema
}

/// Serde's default for an optional member is null, but in a merge patch an
/// absent member and null are not the same.
fn without_null_defaults(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, member| !(name == "default" && member.is_null()));
            members.values_mut().for_each(without_null_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null_defaults),
        _ => {}
    }
}

/// The schema of `T` by itself, with everything that it refers to inside it.
pub fn schema_alone(made: fn(&mut SchemaGenerator) -> schemars::Schema) -> Value {
    let mut inline = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    schema(made(&mut inline))
}
