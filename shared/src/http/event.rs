//! The event that API Gateway (REST, payload 1.0) hands to a function.
//!
//! Only what the pipeline uses, as plain strings: a client may put any bytes
//! into a header, and a typed header map would turn an odd one into a failed
//! invocation, that is into a 502.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;

use super::Request;
use crate::Problem;

/// The parts of a proxy event that are used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    #[serde(default)]
    headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    multi_value_query_string_parameters: Option<BTreeMap<String, Vec<String>>>,
    #[serde(default)]
    path_parameters: Option<BTreeMap<String, String>>,
    request_context: RequestContext,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: String,
    identity: Identity,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: String,
}

/// Longest part of a `User-Agent` that is kept, in bytes.
const USER_AGENT_KEPT: usize = 256;

impl Event {
    /// The id that API Gateway gave the request.
    pub fn request_id(&self) -> &str {
        &self.request_context.request_id
    }

    /// The request, received at `now`.
    ///
    /// # Errors
    /// [`Problem::Malformed`] when the body's encoding is broken.
    pub fn into_request(self, now: Timestamp) -> Result<Request, Problem> {
        let body = match self.body {
            Some(text) if self.is_base64_encoded => STANDARD
                .decode(text)
                .map_err(|_| Problem::Malformed("The body cannot be decoded.".into()))?,
            Some(text) => text.into_bytes(),
            None => Vec::new(),
        };
        let headers: BTreeMap<String, String> = self
            .headers
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .collect();
        let user_agent = headers.get("user-agent").map(|value| {
            let mut end = value.len().min(USER_AGENT_KEPT);
            while !value.is_char_boundary(end) {
                end -= 1;
            }
            value[..end].chars().filter(|c| !c.is_control()).collect()
        });
        Ok(Request {
            id: self.request_context.request_id,
            source_ip: self.request_context.identity.source_ip,
            user_agent,
            now,
            headers,
            path: self.path_parameters.unwrap_or_default(),
            query: self.multi_value_query_string_parameters.unwrap_or_default(),
            body,
        })
    }
}
