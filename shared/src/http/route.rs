//! What a route is, as data: the permission matrix, the OpenAPI document and
//! the tests that compare both with `template.yaml` read it.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::auth::{Grant, Permission};

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates or does.
    Post,
    /// Changes part of something (RFC 5789).
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// The method as it stands in a request line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Makes the JSON schema of a type; see [`schema_of`].
pub type SchemaFn = fn(&mut SchemaGenerator) -> Schema;

/// The schema of `T`, for a route's constant.
pub fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The answer of a successful request.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// Media type of the body.
    pub media_type: &'static str,
    /// Schema of a JSON body.
    pub schema: Option<SchemaFn>,
    /// Other media types in which a client may have it
    /// ([`super::Request::accepted`]).
    pub also: &'static [&'static str],
}

impl Answer {
    /// A JSON answer.
    pub const fn json(status: u16, schema: SchemaFn) -> Self {
        Self { status, media_type: "application/json", schema: Some(schema), also: &[] }
    }

    /// 204, without a body.
    pub const fn empty() -> Self {
        Self { status: 204, media_type: "", schema: None, also: &[] }
    }
}

/// What every route says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Name of the operation, which is the name of the binary.
    pub name: &'static str,
    /// Method.
    pub method: Method,
    /// Path with `{parameters}`, as in `template.yaml`.
    pub path: &'static str,
    /// One line for the API document.
    pub summary: &'static str,
    /// Schema of the query parameters.
    pub query: Option<SchemaFn>,
    /// Schema of the body: of its JSON, unless it names another media type
    /// ([`Spec::takes`]).
    pub body: Option<SchemaFn>,
    /// The answer of a successful request.
    pub answer: Answer,
}

/// The media type of tables (RFC 4180).
pub const CSV: &str = "text/csv";

impl Spec {
    /// The media type of the body: the `contentMediaType` of its schema (JSON
    /// Schema 2020-12, Validation §8.4), else JSON.
    pub fn takes(&self) -> Option<&'static str> {
        let schema = self.body?(&mut SchemaGenerator::default());
        let table = schema.get("contentMediaType").is_some_and(|named| named == CSV);
        Some(if table { CSV } else { "application/json" })
    }
}

/// What a session must have shown before a route serves it. A route that
/// could weaken an account or an authorisation asks for a recent sign-in, so
/// that a stolen token alone does not do it (OWASP ASVS 5.0, 7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assurance {
    /// Nothing but that it is alive: also serves those who must still set up
    /// a second factor.
    Alive,
    /// As `Alive`, and the sign-in is at most 15 minutes old.
    AliveRecent,
    /// Every factor that the tenant asks of the user's role.
    Full,
    /// As `Full`, and the sign-in is at most 15 minutes old.
    FullRecent,
}

impl Assurance {
    /// Whether a session without the second factor that the tenant asks for
    /// is served.
    pub const fn serves_enrolment(self) -> bool {
        matches!(self, Self::Alive | Self::AliveRecent)
    }

    /// Whether the sign-in must be recent.
    pub const fn needs_recent(self) -> bool {
        matches!(self, Self::AliveRecent | Self::FullRecent)
    }
}

/// A route that needs a session and a permission.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// What the route says of itself.
    pub spec: Spec,
    /// What the user's role must be granted, in full or in part.
    pub permission: Permission,
    /// What the session must have shown.
    pub assurance: Assurance,
}

impl Route {
    /// Whether it serves an operator who was granted access to the tenant: it
    /// reads, the matrix grants it to operators, and it asks for no recent
    /// sign-in, which they do not have.
    pub const fn serves_operators(&self) -> bool {
        matches!(self.spec.method, Method::Get)
            && !matches!(self.permission.grant_to_operator(), Grant::Denied)
            && !self.assurance.needs_recent()
    }
}

/// A route that anyone may call.
#[derive(Debug, Clone, Copy)]
pub struct PublicRoute {
    /// What the route says of itself.
    pub spec: Spec,
}
