//! A person or machine that uses the API.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// The ids of the requests that must each have left one audit entry.
pub(crate) type Ledger = Arc<Mutex<Vec<String>>>;

/// What claim C4 asks of every answer.
const HSTS: &str = "max-age=63072000; includeSubDomains; preload";

/// After so long a function gives up on a store that does not answer (its
/// `AWS_CALL_LIMIT`).
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

/// Somebody who makes requests.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    address: IpAddr,
    token: Option<String>,
    ledger: Ledger,
}

impl Client {
    pub(crate) fn new(http: reqwest::Client, base: String, address: IpAddr) -> Self {
        Self { http, base, address, token: None, ledger: Ledger::default() }
    }

    /// The same, at another address.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// The same, with another token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same, its requests written into `ledger`.
    #[must_use]
    pub(crate) fn recorded_in(&self, ledger: &Ledger) -> Self {
        Self { ledger: Arc::clone(ledger), ..self.clone() }
    }

    /// The token that it sends.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("signed in")
    }

    /// What its token says.
    pub fn claims(&self) -> Value {
        let payload = self.token().split('.').nth(1).expect("a token has three parts");
        let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
        serde_json::from_slice(&payload).expect("JSON")
    }

    /// The address that it sends from.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// A request to be completed.
    pub fn request(&self, method: &str, path: &str) -> Request {
        let url = format!("{}{path}", self.base);
        let mut builder = self
            .http
            .request(method.parse().expect("a method"), url)
            .header("x-forwarded-for", self.address.to_string());
        if let Some(token) = &self.token {
            builder = builder.header("authorization", format!("Bearer {token}"));
        }
        Request {
            builder,
            what: format!("{method} {path}"),
            ledger: Arc::clone(&self.ledger),
            writes: method != "GET",
            again: method == "GET",
            sound: true,
        }
    }

    /// Reads `path`.
    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send().await
    }

    /// Posts JSON to `path`.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path).json(body).send().await
    }

    /// Removes what is at `path`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path).send().await
    }

    /// Changes `path` if it still has the version of `etag`.
    pub async fn patch(&self, path: &str, etag: &str, body: &Value) -> Answer {
        self.request("PATCH", path).header("if-match", etag).json(body).send().await
    }
}

async fn answer(what: &str, builder: reqwest::RequestBuilder) -> Answer {
    let response = builder.send().await.expect("the API answers");
    Answer {
        what: what.to_owned(),
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.expect("the answer is complete").to_vec(),
    }
}

/// A request to be completed and sent.
pub struct Request {
    builder: reqwest::RequestBuilder,
    what: String,
    ledger: Ledger,
    writes: bool,
    again: bool,
    sound: bool,
}

impl Request {
    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.builder = self.builder.json(body);
        self
    }

    /// With any body, and no media type.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.builder = self.builder.body(body.into());
        self
    }

    /// With a body that claims to be JSON.
    #[must_use]
    pub fn bytes(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// Not expected to do anything anew: the answer is one that was kept.
    #[must_use]
    pub fn replayed(mut self) -> Self {
        self.writes = false;
        self
    }

    /// Never sent again: for a test of which the point is that nothing fails.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.again = false;
        self
    }

    /// Expected to meet something stored that was tampered with, which is a 500.
    #[must_use]
    pub fn broken(mut self) -> Self {
        self.sound = false;
        self
    }

    /// Sends it. Now and then the emulator answers nobody for some seconds, a
    /// function then gives up on a store and says 503; a read is sent again, as
    /// `Retry-After` asks, and whatever else fails a test.
    #[expect(clippy::print_stderr, reason = "what was sent again is to be seen")]
    pub async fn send(self) -> Answer {
        let again = self.again.then(|| self.builder.try_clone()).flatten();
        let begun = Instant::now();
        let mut answer = answer(&self.what, self.builder).await;
        if let Some(builder) = again
            && answer.status == 503
            && begun.elapsed() >= GIVEN_UP_AFTER
        {
            eprintln!("sent again after {:.1} s: {answer}", begun.elapsed().as_secs_f64());
            answer = self::answer(&self.what, builder).await;
        }
        assert!(answer.status < 500 || !self.sound, "{answer}");
        assert_eq!(answer.header("strict-transport-security"), Some(HSTS), "{answer}");
        let accepted = answer.status < 300;
        if accepted && (self.writes || answer.discloses()) {
            self.ledger.lock().expect("no test panicked with it").push(answer.request_id());
        }
        answer
    }
}

/// What the API answered.
#[derive(Debug, Clone)]
pub struct Answer {
    what: String,
    /// HTTP status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        let shown: String = body.chars().take(600).collect();
        write!(f, "{} answered {}: {shown}", self.what, self.status)
    }
}

impl Answer {
    /// Itself, if its status is `status`.
    #[track_caller]
    #[must_use = "use `must` to check only"]
    pub fn expect(self, status: u16) -> Self {
        self.must(status);
        self
    }

    /// Checks the status.
    #[track_caller]
    pub fn must(&self, status: u16) {
        assert_eq!(self.status, status, "{self}");
    }

    /// The JSON body.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self}"))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The version of what it shows.
    #[track_caller]
    pub fn etag(&self) -> String {
        self.header("etag").unwrap_or_else(|| panic!("no ETag: {self}")).to_owned()
    }

    /// The id of what it shows.
    #[track_caller]
    pub fn id(&self) -> String {
        self.json()["id"].as_str().unwrap_or_else(|| panic!("no id: {self}")).to_owned()
    }

    /// The id of the request.
    #[track_caller]
    pub fn request_id(&self) -> String {
        self.header("x-request-id").unwrap_or_else(|| panic!("no request id: {self}")).to_owned()
    }

    /// The body without what differs between any two requests.
    pub fn body_without_request_id(&self) -> Value {
        let mut body = self.json();
        if let Some(members) = body.as_object_mut() {
            members.remove("request_id");
        }
        body
    }

    /// Whether sealed personal data stands in it in clear, or links to it.
    fn discloses(&self) -> bool {
        // A search for a sealed value tells what it is or is not.
        let search = ["?phone=", "?iban="].iter().any(|part| self.what.contains(part));
        if search || self.what.starts_with("GET /v1/tenant/data/") {
            return true;
        }
        let clear = |value: &Value| {
            value["masked"] == false
                && ["iban", "phone", "delivery_address", "email"]
                    .iter()
                    .any(|field| !value[field].is_null())
        };
        serde_json::from_slice(&self.body).is_ok_and(|body: Value| {
            clear(&body)
                || clear(&body["banking"])
                || body["files"][0]["url"].is_string()
                || body["words"].is_object()
        })
    }
}
