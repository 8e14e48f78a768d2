//! Somebody who is signed in to a canary, by HTTP as anybody else.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keystone::tenant::{ProbeUser, TenantId};
use serde_json::{Value, json};

use super::property::USERS;

/// How often a request is sent before its answer counts as missing.
const ATTEMPTS: usize = 3;
/// How long an API that is busy or down is left alone: what its `Retry-After`
/// says (`Problem::retry_after`).
const PAUSE: Duration = Duration::from_secs(5);

/// A visitor.
pub(super) struct Visitor<'h> {
    http: &'h reqwest::Client,
    base: String,
    slug: String,
    token: String,
    /// What their tenant owns, by the path of its collection.
    owned: BTreeMap<&'static str, String>,
}

/// What the API answered.
pub(super) struct Answer {
    /// HTTP status code.
    pub(super) status: u16,
    /// Body.
    pub(super) body: String,
}

impl Answer {
    /// The answer without what differs between any two requests.
    pub(super) fn essence(&self) -> (u16, Option<Value>) {
        let mut body = serde_json::from_str::<Value>(&self.body).ok();
        if let Some(members) = body.as_mut().and_then(Value::as_object_mut) {
            members.remove("request_id");
        }
        (self.status, body)
    }
}

/// That the API gave no answer that says anything, and why.
#[derive(Debug)]
pub(super) struct Unanswered(pub(super) String);

impl<'h> Visitor<'h> {
    /// Signs in to `tenant` at the API whose address is `base`.
    ///
    /// # Errors
    /// [`Unanswered`] when that is refused, or asks for a second factor.
    pub(super) async fn sign_in(
        http: &'h reqwest::Client,
        base: &str,
        tenant: &TenantId,
        user: &ProbeUser,
    ) -> Result<Self, Unanswered> {
        let mut visitor = Self {
            http,
            base: base.to_owned(),
            slug: tenant.to_string(),
            token: String::new(),
            owned: BTreeMap::new(),
        };
        let details =
            json!({ "tenant": tenant, "email": user.email(), "password": user.password() });
        let request = http.post(format!("{base}/v1/auth/login")).json(&details);
        let answer = visitor.send(request).await?;
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let (200, Some(token)) = (answer.status, body["token"].as_str()) else {
            return Err(Unanswered(format!("the sign-in answered {}", answer.status)));
        };
        token.clone_into(&mut visitor.token);
        let me = subject_of(token).ok_or_else(|| Unanswered("the token is none".into()))?;
        visitor.own(USERS, me);
        Ok(visitor)
    }

    /// The slug of their tenant.
    pub(super) fn slug(&self) -> &str {
        &self.slug
    }

    /// The id of what their tenant owns in the collection at `at`.
    pub(super) fn owned(&self, at: &str) -> Option<&str> {
        self.owned.get(at).map(String::as_str)
    }

    /// Notes what their tenant owns.
    pub(super) fn own(&mut self, at: &'static str, id: String) {
        self.owned.insert(at, id);
    }

    /// Whether `text` shows anything of theirs.
    pub(super) fn shows_in(&self, text: &str) -> bool {
        text.contains(&self.slug) || self.owned.values().any(|id| text.contains(id.as_str()))
    }

    /// Reads `path`.
    ///
    /// # Errors
    /// [`Unanswered`] when the API is busy or down for longer than a few seconds.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Unanswered> {
        self.send(self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token)).await
    }

    /// Posts JSON to `path`, or nothing for `Null`; once with the same `key`.
    ///
    /// # Errors
    /// As [`Visitor::get`].
    pub(super) async fn post(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Answer, Unanswered> {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token);
        let request = request.header("idempotency-key", key);
        self.send(if body.is_null() { request } else { request.json(body) }).await
    }

    /// Ends the session.
    ///
    /// # Errors
    /// [`Unanswered`] when it is not confirmed; it ends by itself in the end.
    pub(super) async fn sign_out(&self) -> Result<(), Unanswered> {
        let request = self.http.post(format!("{}/v1/auth/logout", self.base));
        let answer = self.send(request.bearer_auth(&self.token)).await?;
        if answer.status == 204 {
            return Ok(());
        }
        Err(Unanswered(format!("the sign-out answered {}", answer.status)))
    }

    /// Sends a request, again where the API was busy or down.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, Unanswered> {
        let mut why = Unanswered("it was not sent".into());
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let Some(request) = request.try_clone() else { return Err(why) };
            match answer(request).await {
                Ok(answer) if answer.status != 429 && answer.status < 500 => return Ok(answer),
                Ok(answer) => why = Unanswered(format!("the API answered {}", answer.status)),
                Err(error) => why = Unanswered(error.without_url().to_string()),
            }
        }
        Err(why)
    }

    #[cfg(test)]
    pub(super) fn unsigned(http: &'h reqwest::Client, slug: &str) -> Self {
        let (base, token) = ("http://127.0.0.1:9".into(), String::new());
        Self { http, base, slug: slug.into(), token, owned: BTreeMap::new() }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    Ok(Answer { status: response.status().as_u16(), body: response.text().await? })
}

/// The user whom a session's token names (RFC 7519 §4.1.2). It was just given to
/// us, so nothing depends on its signature here.
fn subject_of(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_without_the_id_of_the_request() {
        let not_found = |id: &str| Answer {
            status: 404,
            body: json!({ "status": 404, "title": "Not found", "request_id": id }).to_string(),
        };
        assert_eq!(not_found("a").essence(), not_found("b").essence());
        let other = Answer { status: 404, body: json!({ "title": "Not yours" }).to_string() };
        assert_ne!(not_found("a").essence(), other.essence());
        let forbidden = Answer { status: 403, ..not_found("a") };
        assert_ne!(not_found("a").essence(), forbidden.essence());
    }

    #[test]
    fn a_token_names_its_user() {
        let claims = URL_SAFE_NO_PAD.encode(json!({ "sub": "me", "tid": "t" }).to_string());
        assert_eq!(subject_of(&format!("e30.{claims}.x")).as_deref(), Some("me"));
        for none in ["", "a.b.c", "e30.e30.x"] {
            assert_eq!(subject_of(none), None, "{none}");
        }
    }
}
