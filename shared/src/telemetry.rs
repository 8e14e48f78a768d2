//! Structured logs and metrics. Neither ever carries personal data: request
//! bodies, headers, e-mail addresses and names have no place in a log line.

use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use tracing_subscriber::EnvFilter;

/// Starts JSON logging to standard output, which Lambda ships to `CloudWatch`.
/// The level comes from `LOG_LEVEL` (default `info`). A second call does
/// nothing.
pub fn init() {
    let filter = EnvFilter::try_from_env("LOG_LEVEL").unwrap_or_else(|_| EnvFilter::new("info"));
    // An error means that a subscriber is installed already.
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_env_filter(filter)
        .try_init();
}

/// A finished request.
#[derive(Debug, Serialize)]
pub struct Finished<'a> {
    /// Name of the route.
    pub route: &'a str,
    /// HTTP status code of the answer.
    pub status: u16,
    /// API Gateway's id of the request.
    pub request_id: &'a str,
    /// Slug of the tenant, once it is certain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'a str>,
    /// From the event's arrival to the answer, in milliseconds.
    pub duration: i64,
}

/// Logs a finished request in `CloudWatch`'s embedded metric format, so that
/// the line is also read as the metrics `duration`, `server_errors` and
/// `client_errors` of the route.
pub fn finished(at: Timestamp, request: &Finished<'_>) {
    let line = metric_line(at, request);
    // There is nowhere to tell that standard output is closed.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn metric_line(at: Timestamp, request: &Finished<'_>) -> serde_json::Value {
    let mut line = json!({
        "_aws": {
            "Timestamp": at.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": "Keystone",
                "Dimensions": [["route"]],
                "Metrics": [
                    { "Name": "duration", "Unit": "Milliseconds" },
                    { "Name": "server_errors", "Unit": "Count" },
                    { "Name": "client_errors", "Unit": "Count" },
                ],
            }],
        },
        "server_errors": u8::from(request.status >= 500),
        "client_errors": u8::from((400..500).contains(&request.status)),
    });
    if let (Some(members), Ok(serde_json::Value::Object(own))) =
        (line.as_object_mut(), serde_json::to_value(request))
    {
        members.extend(own);
    }
    line
}

/// Counts something that a job found, as a metric of `CloudWatch` in the
/// dimension of the job's name, or of what several jobs have in common.
pub fn counted(at: Timestamp, job: &str, metric: &str, count: u64) {
    let line = count_line(at, job, metric, count);
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn count_line(at: Timestamp, job: &str, metric: &str, count: u64) -> serde_json::Value {
    json!({
        "_aws": {
            "Timestamp": at.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": "Keystone",
                "Dimensions": [["job"]],
                "Metrics": [{ "Name": metric, "Unit": "Count" }],
            }],
        },
        "job": job,
        metric: count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_and_dimension_that_is_declared_has_a_value() {
        let request = Finished {
            route: "get-batch",
            status: 503,
            request_id: "r",
            tenant: Some("acme"),
            duration: 1234,
        };
        let line = metric_line(Timestamp::UNIX_EPOCH, &request);
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        for metric in declared["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            assert!(line[name].is_number(), "{name}");
        }
        assert_eq!(line[declared["Dimensions"][0][0].as_str().unwrap()], "get-batch");
        assert_eq!((&line["server_errors"], &line["client_errors"]), (&json!(1), &json!(0)));
    }

    #[test]
    fn what_a_job_counts_is_a_metric_of_its_name() {
        let line = count_line(Timestamp::UNIX_EPOCH, "mail", "letters_lost", 2);
        let declared = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(declared["Metrics"][0]["Name"], "letters_lost");
        assert_eq!(line["letters_lost"], 2);
        assert_eq!(line[declared["Dimensions"][0][0].as_str().unwrap()], "mail");
    }
}
