//! Answers, with the headers that every one of them carries.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;

/// Headers of every response, errors included (claim C4 and OWASP ASVS 5.0
/// V3.4). The API serves no pages, so nothing may be loaded, framed or cached.
const ALWAYS: [(&str, &str); 6] = [
    ("Strict-Transport-Security", "max-age=63072000; includeSubDomains; preload"),
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];

/// Most bytes of an answer as the function sends it, a body of text escaped and
/// one of bytes in Base64: Lambda takes 6 MB with the headers (AWS Lambda quotas,
/// synchronous invocation), and gives a 502 in place of more.
const LIMIT: usize = 6_000_000;

/// The answer of a handler.
///
/// A JSON body needs a type with a schema, so that what is sent stands in the
/// API document; stored types have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    status: u16,
    media_type: String,
    etag: Option<String>,
    location: Option<String>,
    #[serde(default)]
    link: Option<String>,
    body: Vec<u8>,
}

impl Reply {
    /// 200 with a JSON body.
    ///
    /// # Errors
    /// [`Problem::Internal`] when the body cannot be written as JSON.
    pub fn ok<T: Serialize + JsonSchema>(body: &T) -> Result<Self, Problem> {
        Self::json(200, body)
    }

    /// 201 with a JSON body and the path of what was created.
    ///
    /// # Errors
    /// As [`Reply::ok`].
    pub fn created<T: Serialize + JsonSchema>(location: String, body: &T) -> Result<Self, Problem> {
        Ok(Self { location: Some(location), ..Self::json(201, body)? })
    }

    /// 202 with a JSON body and the path of what will be finished later.
    ///
    /// # Errors
    /// As [`Reply::ok`].
    pub fn accepted<T: Serialize + JsonSchema>(
        location: String,
        body: &T,
    ) -> Result<Self, Problem> {
        Ok(Self { location: Some(location), ..Self::json(202, body)? })
    }

    /// A JSON-LD document that is kept as text: 201 with the path of what was
    /// created, else 200.
    pub fn linked_data(created: Option<String>, body: String) -> Self {
        Self {
            status: if created.is_some() { 201 } else { 200 },
            media_type: "application/ld+json".into(),
            location: created,
            body: body.into_bytes(),
            ..Self::empty()
        }
    }

    /// 200 with a text of this media type.
    pub fn text(media_type: &str, body: String) -> Self {
        Self {
            status: 200,
            media_type: media_type.into(),
            body: body.into_bytes(),
            ..Self::empty()
        }
    }

    /// 200 with bytes of this media type.
    pub fn binary(media_type: &str, body: Vec<u8>) -> Self {
        Self { status: 200, media_type: media_type.into(), body, ..Self::empty() }
    }

    /// The same answer with the path of the next page (RFC 8288).
    #[must_use]
    pub fn with_next(self, path: &str) -> Self {
        Self { link: Some(format!("<{path}>; rel=\"next\"")), ..self }
    }

    /// 204.
    pub fn empty() -> Self {
        Self {
            status: 204,
            media_type: String::new(),
            etag: None,
            location: None,
            link: None,
            body: Vec::new(),
        }
    }

    /// 200 with a JSON document that is kept as text.
    pub fn document(body: &str) -> Self {
        Self {
            status: 200,
            media_type: "application/json".into(),
            body: body.as_bytes().to_vec(),
            ..Self::empty()
        }
    }

    /// The same answer with the version of what it shows as its `ETag`
    /// (RFC 9110 §8.8.3).
    #[must_use]
    pub fn with_version(self, version: i64) -> Self {
        Self { etag: Some(etag(version)), ..self }
    }

    /// Whether a function may send it: its body has at most [`LIMIT`] bytes as
    /// it is sent.
    pub fn fits(&self) -> bool {
        let sent: usize = match std::str::from_utf8(&self.body) {
            Ok(text) => text.bytes().map(escaped_length).sum(),
            Err(_) => self.body.len().div_ceil(3) * 4,
        };
        sent <= LIMIT
    }

    fn json<T: Serialize>(status: u16, body: &T) -> Result<Self, Problem> {
        let body = serde_json::to_vec(body).map_err(|error| {
            tracing::error!(cause = %error, "an answer cannot be written as JSON");
            Problem::Internal
        })?;
        Ok(Self { status, media_type: "application/json".into(), body, ..Self::empty() })
    }
}

/// How many bytes a byte of a text takes in a JSON string (RFC 8259 §7).
fn escaped_length(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 2,
        0..=31 => 6,
        _ => 1,
    }
}

/// The `ETag` of a version.
pub(super) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// A response in the form that API Gateway expects of a function.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// HTTP status code.
    pub status_code: u16,
    headers: BTreeMap<&'static str, String>,
    body: String,
    is_base64_encoded: bool,
}

impl Response {
    /// The response for a handler's outcome.
    pub fn new(outcome: Result<Reply, Problem>, request_id: &str) -> Self {
        let mut headers: BTreeMap<&'static str, String> =
            ALWAYS.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        headers.insert("X-Request-Id", request_id.to_owned());
        let outcome = outcome
            .and_then(|reply| if reply.fits() { Ok(reply) } else { Err(Problem::AnswerTooLarge) });
        let reply = match outcome {
            Ok(reply) => reply,
            Err(problem) => {
                if let Some(seconds) = problem.retry_after() {
                    headers.insert("Retry-After", seconds.to_string());
                }
                if problem.status() == 401 {
                    headers.insert("WWW-Authenticate", "Bearer".into());
                }
                Reply {
                    status: problem.status(),
                    media_type: "application/problem+json".into(),
                    // A problem has only text and numbers, which always encode.
                    body: serde_json::to_vec(&problem.body(request_id)).unwrap_or_default(),
                    ..Reply::empty()
                }
            }
        };
        if !reply.media_type.is_empty() {
            headers.insert("Content-Type", reply.media_type);
        }
        if let Some(etag) = reply.etag {
            headers.insert("ETag", etag);
        }
        if let Some(location) = reply.location {
            headers.insert("Location", location);
        }
        if let Some(link) = reply.link {
            headers.insert("Link", link);
        }
        let (body, is_base64_encoded) = match String::from_utf8(reply.body) {
            Ok(text) => (text, false),
            Err(binary) => (STANDARD.encode(binary.as_bytes()), true),
        };
        Self { status_code: reply.status, headers, body, is_base64_encoded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_no_function_may_send_says_so() {
        let status = |body: Reply| {
            let response = Response::new(Ok(body), "r");
            assert!(serde_json::to_vec(&response).unwrap().len() < 6 * 1024 * 1024);
            response.status_code
        };
        assert_eq!(status(Reply::document(&"a".repeat(LIMIT))), 200);
        assert_eq!(status(Reply::document(&"a".repeat(LIMIT + 1))), 422);
        assert_eq!(status(Reply::document(&"\"".repeat(LIMIT / 2))), 200);
        assert_eq!(status(Reply::document(&"\"".repeat(LIMIT / 2 + 1))), 422);
        assert_eq!(status(Reply::document(&"\u{1}".repeat(LIMIT / 6 + 1))), 422);
        assert_eq!(status(Reply::binary("image/png", vec![0xff; LIMIT / 4 * 3])), 200);
        assert_eq!(status(Reply::binary("image/png", vec![0xff; LIMIT / 4 * 3 + 1])), 422);
    }
}
