//! `GET /.well-known/security.txt`

use jiff::{SignedDuration, Timestamp};
use keystone::Problem;
use keystone::config::Setting;
use keystone::http::{Answer, Method, PublicCall, PublicRoute, Reply, Spec};

const TEXT: &str = "text/plain";

/// The route.
pub const ROUTE: PublicRoute = PublicRoute {
    spec: Spec {
        name: "get-security-txt",
        method: Method::Get,
        path: "/.well-known/security.txt",
        summary: "Says where to report vulnerabilities (RFC 9116).",
        query: None,
        body: None,
        answer: Answer { status: 200, media_type: TEXT, schema: None, also: &[] },
    },
};

/// What the function needs beyond what every function does.
pub const SETTINGS: [Setting; 2] = [Setting::SecurityContact, Setting::PublicUrl];

/// How long the file may be relied on: RFC 9116 §2.5.5 recommends less than a
/// year.
const LASTS: SignedDuration = SignedDuration::from_hours(24 * 30);

fn text(contact: &str, url: &str, now: Timestamp) -> String {
    let expires = (now + LASTS).strftime("%Y-%m-%dT00:00:00Z");
    format!(
        "Contact: mailto:{contact}\r\n\
         Expires: {expires}\r\n\
         Acknowledgments: {url}/security/credits\r\n\
         Preferred-Languages: en\r\n\
         Canonical: {url}/.well-known/security.txt\r\n\
         Policy: {url}/security#disclosure\r\n"
    )
}

/// The handler.
#[expect(clippy::unused_async, reason = "a handler is asynchronous")]
pub async fn handle(call: PublicCall) -> Result<Reply, Problem> {
    let config = call.platform().config();
    let of = |setting| config.get(setting).map_err(|_| Problem::Internal);
    let body = text(of(Setting::SecurityContact)?, of(Setting::PublicUrl)?, call.request().now);
    Ok(Reply::text("text/plain; charset=utf-8", body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_fields_that_the_standard_asks_for() {
        let now: Timestamp = "2026-11-27T10:11:12Z".parse().unwrap();
        let text = text("security@keystone.example", "https://app.keystone.example", now);
        assert!(text.contains("Contact: mailto:security@keystone.example\r\n"));
        assert!(text.contains("Expires: 2026-12-27T00:00:00Z\r\n"));
        for line in text.split_inclusive("\r\n") {
            assert!(line.contains(": ") && line.ends_with("\r\n"), "{line}");
        }
    }
}
