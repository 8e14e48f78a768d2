//! What anybody gets from the API by HTTP.

use jiff::Timestamp;
use keystone::config::Setting;
use reqwest::header::{ACCEPT, STRICT_TRANSPORT_SECURITY};
use serde_json::{Value, json};

use super::{Blind, Finding, Look};
use crate::api_document::{Operation, guarded};

/// Guarded operations that one run asks for; each run begins elsewhere.
const ASKED: usize = 12;
/// What stands for each parameter of a path.
const NOTHING: &str = "01890000-0000-7000-8000-000000000000";
/// Shortest life of the header that the preload list takes, in seconds.
const PRELOAD_AGE: u64 = 31_536_000;

impl Look<'_> {
    async fn get(&self, path: &str, accept: &str) -> Result<reqwest::Response, Blind> {
        let url = format!("{}{path}", self.setting(Setting::ApiUrl)?);
        Ok(self.http.get(url).header(ACCEPT, accept).send().await?)
    }

    /// The operations of the published API document that need a session.
    async fn guarded(&self) -> Result<Vec<Operation>, Blind> {
        let document = self.get("/openapi.json", "*/*").await?.error_for_status()?;
        let document: Value = document.json().await?;
        Ok(guarded(&document))
    }

    /// The status with which `operation` answers somebody without a session.
    async fn anonymously(&self, operation: &Operation) -> Result<u16, Blind> {
        let mut path = operation.path.clone();
        while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
            path.replace_range(from..=to, NOTHING);
        }
        let url = format!("{}{path}", self.setting(Setting::ApiUrl)?);
        let method = operation.method.parse().map_err(|_| Blind::Reason("No method.".into()))?;
        Ok(self.http.request(method, url).send().await?.status().as_u16())
    }

    /// The names of those of `operations` that do not refuse with 401.
    async fn open_among(&self, operations: &[&Operation]) -> Result<Vec<String>, Blind> {
        let answers = operations.iter().map(|operation| self.anonymously(operation));
        let answers = futures::future::try_join_all(answers).await?;
        let mut open = Vec::new();
        for (operation, status) in operations.iter().zip(answers) {
            if !refuses(status)? {
                open.push(operation.name.clone());
            }
        }
        Ok(open)
    }
}

/// Whether the API refuses who is not signed in. One that is busy or down says
/// nothing of that.
pub(super) fn refuses(status: u16) -> Result<bool, Blind> {
    match status {
        401 => Ok(true),
        429 | 500.. => Err(Blind::Reason(format!("The API answered {status}."))),
        _ => Ok(false),
    }
}

/// Whether the value is what the preload list asks for.
fn is_preload_eligible(value: &str) -> bool {
    let parts: Vec<String> =
        value.split(';').map(|part| part.trim().to_ascii_lowercase()).collect();
    let age = parts.iter().find_map(|part| part.strip_prefix("max-age=")?.parse::<u64>().ok());
    age.is_some_and(|age| age >= PRELOAD_AGE)
        && ["includesubdomains", "preload"].iter().all(|word| parts.iter().any(|part| part == word))
}

pub(super) async fn hsts(look: &Look<'_>) -> Result<Finding, Blind> {
    let mut seen = Vec::new();
    // An answer of a function, and an error of the gateway's own.
    for path in ["/v1/health", "/v1/no-such-route"] {
        let answer = look.get(path, "*/*").await?;
        let value = answer.headers().get(STRICT_TRANSPORT_SECURITY);
        seen.push(value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned());
    }
    let holds = seen.iter().all(|value| is_preload_eligible(value));
    let evidence = if holds {
        format!("Answers and errors carry \"{}\".", seen[0])
    } else {
        "An answer carries no Strict-Transport-Security header that the preload list takes.".into()
    };
    Ok(Finding::of(holds, evidence, json!({ "answer": seen[0], "error": seen[1] })))
}

pub(super) async fn anonymous_refused(look: &Look<'_>) -> Result<Finding, Blind> {
    let guarded = look.guarded().await?;
    if guarded.is_empty() {
        return Err(Blind::Reason("The API document names no guarded operation.".into()));
    }
    let day = usize::try_from(look.job.now.as_second() / 86_400).unwrap_or(0);
    let turn = day * ASKED % guarded.len();
    let asked: Vec<&Operation> =
        guarded.iter().cycle().skip(turn).take(ASKED.min(guarded.len())).collect();
    let open = look.open_among(&asked).await?;
    let (all, some) = (guarded.len(), asked.len());
    let evidence = if open.is_empty() {
        format!("{some} of {all} guarded operations were asked without a session; all refused.")
    } else {
        format!("These did not refuse who is not signed in: {}.", open.join(", "))
    };
    let facts = json!({ "guarded": all, "asked": some, "open": open });
    Ok(Finding::of(open.is_empty(), evidence, facts))
}

pub(super) async fn operations(look: &Look<'_>, wanted: &[String]) -> Result<Finding, Blind> {
    let guarded = look.guarded().await?;
    let mut missing: Vec<String> = wanted
        .iter()
        .filter(|name| !guarded.iter().any(|operation| operation.name == **name))
        .cloned()
        .collect();
    let there: Vec<&Operation> =
        guarded.iter().filter(|operation| wanted.contains(&operation.name)).collect();
    // Whoever is not signed in gets 401 of the function, and 404 or a failure
    // of the gateway where there is none.
    missing.extend(look.open_among(&there).await?);
    let evidence = if missing.is_empty() {
        format!("Deployed and guarded: {}.", wanted.join(", "))
    } else {
        format!("Not deployed or not guarded: {}.", missing.join(", "))
    };
    let facts = json!({ "operations": wanted, "missing": missing });
    Ok(Finding::of(missing.is_empty(), evidence, facts))
}

pub(super) async fn sub_processors(look: &Look<'_>) -> Result<Finding, Blind> {
    let answer = look.get("/legal/sub-processors", "application/json").await?;
    let status = answer.status().as_u16();
    if status != 200 {
        let evidence = format!("The list of sub-processors answers {status}.");
        return Ok(Finding::of(false, evidence, json!({ "status": status })));
    }
    let list: Value = answer.json().await?;
    let listed = ["items", "sub_processors"].iter().find_map(|name| list[*name].as_array());
    let listed = listed.map_or(0, Vec::len);
    let evidence = format!("The published list names {listed} sub-processors.");
    Ok(Finding::of(listed > 0, evidence, json!({ "listed": listed })))
}

/// What the published list says of where data is.
#[derive(Debug, Default, Clone, Copy)]
struct Abroad {
    /// Sub-processors in use.
    in_use: usize,
    /// Of those, who has data outside the EU.
    outside: usize,
    /// Of those, who is used for every tenant: it was there from the beginning.
    for_everybody: usize,
}

impl Abroad {
    fn of(list: &Value) -> Self {
        let items = list["items"].as_array().into_iter().flatten();
        let mut found = Self::default();
        for item in items.filter(|item| item["state"] == "active") {
            found.in_use += 1;
            if item["outside_eu"] != false {
                found.outside += 1;
                found.for_everybody += usize::from(item["effective_on"].is_null());
            }
        }
        found
    }

    /// Whom it is used for cannot be seen, so where there are tenants without
    /// consent and sub-processors outside the EU nothing is shown.
    fn finding(self, all_consent: Option<bool>) -> Finding {
        let Self { in_use, outside, for_everybody } = self;
        let facts = json!({ "in_use": in_use, "outside_eu": outside });
        let of = format!("{outside} of {in_use} sub-processors in use have data outside the EU");
        match all_consent {
            _ if in_use == 0 => Finding::unknown("The published list names none in use."),
            _ if outside == 0 => {
                let evidence =
                    format!("None of {in_use} sub-processors in use has data outside the EU.");
                Finding::of(true, evidence, facts)
            }
            Some(true) => {
                Finding::of(true, format!("{of}; every tenant consented in writing."), facts)
            }
            Some(false) if for_everybody > 0 => {
                let evidence = format!("{of}, and not every tenant consented in writing.");
                Finding::of(false, evidence, facts)
            }
            _ => Finding::unknown(format!(
                "{of}; that they are used only for tenants that consented in writing was not seen."
            )),
        }
    }
}

pub(super) async fn sub_processors_abroad(look: &Look<'_>) -> Result<Finding, Blind> {
    let answer = look.get("/legal/sub-processors", "application/json").await?.error_for_status()?;
    let list: Value = answer.json().await?;
    Ok(Abroad::of(&list).finding(look.survey.all_consent()))
}

pub(super) async fn security_txt(look: &Look<'_>) -> Result<Finding, Blind> {
    let answer = look.get("/.well-known/security.txt", "text/plain").await?;
    let status = answer.status().as_u16();
    if status != 200 {
        let evidence = format!("security.txt answers {status}.");
        return Ok(Finding::of(false, evidence, json!({ "status": status })));
    }
    let text = answer.text().await?;
    let fields = |name: &str| -> Option<String> {
        let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")))?;
        Some(value.trim().to_owned())
    };
    let (contact, expires) = (fields("Contact"), fields("Expires"));
    let until: Option<Timestamp> = expires.as_deref().and_then(|text| text.parse().ok());
    let holds = contact.is_some() && until.is_some_and(|until| until > look.job.now);
    let evidence = if holds {
        "security.txt names a contact and has not expired."
    } else {
        "security.txt names no contact, or has expired."
    };
    Ok(Finding::of(holds, evidence, json!({ "contact": contact, "expires": expires })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Verdict;

    #[test]
    fn an_api_that_is_busy_or_down_is_not_seen_to_let_anybody_in() {
        assert_eq!(refuses(401).ok(), Some(true));
        for open in [200, 204, 403, 404, 422] {
            assert_eq!(refuses(open).ok(), Some(false), "{open}");
        }
        for unseen in [429, 500, 502, 503, 504] {
            assert!(refuses(unseen).is_err(), "{unseen}");
        }
    }

    #[test]
    fn data_abroad_is_seen_in_the_published_list() {
        let (home, away) = (json!(false), json!(true));
        let item = |state: &str, outside: &Value, day: Value| json!({ "state": state, "outside_eu": outside, "effective_on": day });
        let day = || json!("2026-01-02");
        let verdict = |items: Vec<Value>, all_consent| {
            Abroad::of(&json!({ "items": items })).finding(all_consent).verdict
        };
        let first = || item("active", &home, Value::Null);
        // What is only announced has no data.
        let announced = item("announced", &away, day());
        assert_eq!(verdict(vec![first(), announced], Some(false)), Verdict::Pass);
        for outside in [&away, &Value::Null] {
            let later = || vec![first(), item("active", outside, day())];
            assert_eq!(verdict(later(), Some(true)), Verdict::Pass);
            assert_eq!(verdict(later(), Some(false)), Verdict::Unknown);
            assert_eq!(verdict(later(), None), Verdict::Unknown);
        }
        let everybody = || vec![item("active", &away, Value::Null)];
        assert_eq!(verdict(everybody(), Some(false)), Verdict::Fail);
        assert_eq!(verdict(everybody(), None), Verdict::Unknown);
        assert_eq!(verdict(vec![], Some(true)), Verdict::Unknown);
    }

    #[test]
    fn the_preload_list_asks_for_a_year_and_both_words() {
        assert!(is_preload_eligible("max-age=63072000; includeSubDomains; preload"));
        for wrong in [
            "",
            "max-age=300; includeSubDomains; preload",
            "max-age=63072000; includeSubDomains",
            "max-age=63072000; preload",
            "includeSubDomains; preload",
        ] {
            assert!(!is_preload_eligible(wrong), "{wrong}");
        }
    }
}
