//! Errors as the client sees them: RFC 9457 problem details.
//!
//! Domain errors convert into [`Problem`] in one place per crate; what a store
//! or the driver said goes to the log and never into the body.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

/// One wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body, or the parameter's name.
    pub field: String,
    /// What the field must be, in plain words; never the value that was sent.
    pub message: String,
}

impl FieldError {
    /// A field and what is wrong with it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// An outcome other than success, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// 400: the request is not well-formed.
    Malformed(String),
    /// 401: no valid session.
    Unauthenticated,
    /// 401 at sign-in: wrong tenant, account or password, never said which.
    InvalidCredentials,
    /// 401: this needs a sign-in that is only minutes old.
    SignInTooOld,
    /// 403: the user's role may not do this.
    Forbidden,
    /// 403: the tenant asks for a second factor, and the session has none.
    SecondFactorRequired,
    /// 403: the tenant is being closed, and takes no new data.
    TenantClosing,
    /// 404: there is no such thing in this tenant.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 406: none of the media types that there are, which these are.
    NotAcceptable(&'static [&'static str]),
    /// 409: the request contradicts the present state.
    Conflict(String),
    /// 412: `If-Match` names a version that is no longer current.
    Stale,
    /// 413: the body is over the route's limit, in bytes.
    TooLarge(usize),
    /// 415: the body is not of the media type that the route takes, this one.
    UnsupportedMediaType(&'static str),
    /// 422: values that cannot be accepted, all of them.
    Invalid(Vec<FieldError>),
    /// 422: the answer would be larger than a function may give.
    AnswerTooLarge,
    /// 428: an update without `If-Match` (RFC 6585 §3).
    PreconditionRequired,
    /// 429: locked or throttled, for this many seconds.
    TooManyRequests(u64),
    /// 503: a store did not answer. Nothing is half-written; whether a commit
    /// whose answer was lost took place, a repetition with the same
    /// `Idempotency-Key` tells.
    Unavailable,
    /// 500: a defect of ours. The cause is in the log under the request id.
    Internal,
}

/// Seconds after which a client may try again when a store is down.
const RETRY_AFTER_UNAVAILABLE: u64 = 5;

/// The body of a problem answer (RFC 9457 §3.1).
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct ProblemBody {
    /// URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// HTTP status code.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Id of the request, to quote to support.
    pub request_id: String,
    /// Every wrong field, for 422.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A 422 for a single field.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// HTTP status code.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Unauthenticated | Self::InvalidCredentials | Self::SignInTooOld => 401,
            Self::Forbidden | Self::SecondFactorRequired | Self::TenantClosing => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable(_) => 406,
            Self::Conflict(_) => 409,
            Self::Stale => 412,
            Self::TooLarge(_) => 413,
            Self::UnsupportedMediaType(_) => 415,
            Self::Invalid(_) | Self::AnswerTooLarge => 422,
            Self::PreconditionRequired => 428,
            Self::TooManyRequests(_) => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// Seconds for the `Retry-After` header, where the answer has one.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests(seconds) => Some(*seconds),
            Self::Unavailable => Some(RETRY_AFTER_UNAVAILABLE),
            _ => None,
        }
    }

    fn slug_and_title(&self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed(_) => ("malformed", "Malformed request"),
            Self::Unauthenticated => ("unauthenticated", "Authentication required"),
            Self::InvalidCredentials => ("invalid-credentials", "Invalid credentials"),
            Self::SignInTooOld => ("reauthentication-required", "Sign in again"),
            Self::Forbidden => ("forbidden", "Not permitted"),
            Self::SecondFactorRequired => ("second-factor-required", "Second factor required"),
            Self::TenantClosing => ("tenant-closing", "Tenant is being closed"),
            Self::NotFound => ("not-found", "Not found"),
            Self::MethodNotAllowed => ("method-not-allowed", "Method not allowed"),
            Self::NotAcceptable(_) => ("not-acceptable", "Not in that media type"),
            Self::Conflict(_) => ("conflict", "Conflict"),
            Self::Stale => ("stale", "Changed meanwhile"),
            Self::TooLarge(_) => ("too-large", "Body too large"),
            Self::UnsupportedMediaType(_) => ("unsupported-media-type", "Unsupported media type"),
            Self::Invalid(_) => ("invalid-values", "Invalid values"),
            Self::AnswerTooLarge => ("answer-too-large", "Answer too large"),
            Self::PreconditionRequired => ("precondition-required", "If-Match required"),
            Self::TooManyRequests(_) => ("too-many-requests", "Too many attempts"),
            Self::Internal => ("internal", "Internal error"),
            Self::Unavailable => ("unavailable", "Temporarily unavailable"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Malformed(detail) | Self::Conflict(detail) => detail.clone(),
            Self::Unauthenticated => {
                "Sign in and send the token as 'Authorization: Bearer <token>'.".into()
            }
            Self::InvalidCredentials => "The sign-in details are not correct.".into(),
            Self::SignInTooOld => {
                "This needs a sign-in of the last 15 minutes: use POST /v1/auth/reauthenticate."
                    .into()
            }
            Self::Forbidden => "Your role does not permit this.".into(),
            Self::SecondFactorRequired => {
                "Your organisation asks for a second factor: set one up with POST /v1/mfa/totp."
                    .into()
            }
            Self::TenantClosing => {
                "Your organisation is leaving Keystone: data can be read and exported, not added."
                    .into()
            }
            Self::NotFound => "There is nothing here with that id.".into(),
            Self::MethodNotAllowed => "This path does not take that method.".into(),
            Self::NotAcceptable(offered) => {
                format!("It can be had as one of: {}.", offered.join(", "))
            }
            Self::Stale => "It was changed after you read it. Read it again and retry.".into(),
            Self::TooLarge(limit) => format!("The body may have at most {limit} bytes."),
            Self::UnsupportedMediaType(taken) => format!("Send 'Content-Type: {taken}'."),
            Self::Invalid(errors) => match errors.len() {
                1 => "One value cannot be accepted.".into(),
                n => format!("{n} values cannot be accepted."),
            },
            Self::AnswerTooLarge => {
                "The answer would have more than 6 MB: ask for less, such as a page or fewer steps."
                    .into()
            }
            Self::PreconditionRequired => {
                "Send If-Match with the ETag that you read, so that no change is lost.".into()
            }
            Self::TooManyRequests(_) => {
                "Too many attempts. Wait for the time in Retry-After.".into()
            }
            Self::Internal => "Something went wrong on our side. Nothing was changed.".into(),
            Self::Unavailable => {
                "A store did not answer. Try again; with an Idempotency-Key nothing is done twice."
                    .into()
            }
        }
    }

    /// The body to send for the request `request_id`.
    pub fn body(&self, request_id: &str) -> ProblemBody {
        let (slug, title) = self.slug_and_title();
        ProblemBody {
            kind: format!("urn:keystone:problem:{slug}"),
            title,
            status: self.status(),
            detail: self.detail(),
            request_id: request_id.to_owned(),
            errors: match self {
                Self::Invalid(errors) => errors.clone(),
                _ => Vec::new(),
            },
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug_and_title().0)
    }
}

impl std::error::Error for Problem {}

impl From<crate::random::Unavailable> for Problem {
    fn from(_: crate::random::Unavailable) -> Self {
        Self::Unavailable
    }
}
