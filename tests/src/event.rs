//! Events as API Gateway (REST, payload 1.0) hands them to a function.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::stack::random;

/// A request, for a function that is invoked without the gateway.
pub struct Event(Value);

impl Event {
    /// A request to `path`, which has the parameters `parameters`.
    pub fn new(method: &str, path: &str, parameters: &[(&str, &str)], source_ip: IpAddr) -> Self {
        let parameters: Map<String, Value> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        Self(json!({
            "resource": path,
            "path": path,
            "httpMethod": method,
            "headers": { "Accept": "*/*", "User-Agent": "keystone-tests" },
            "multiValueHeaders": {},
            "queryStringParameters": null,
            "multiValueQueryStringParameters": null,
            "pathParameters": parameters,
            "stageVariables": null,
            "requestContext": {
                "requestId": format!("test-{:032x}", u128::from_be_bytes(random())),
                "identity": { "sourceIp": source_ip.to_string(), "userAgent": "keystone-tests" },
                "httpMethod": method,
                "resourcePath": path,
                "stage": "live",
            },
            "body": null,
            "isBase64Encoded": false,
        }))
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.0["headers"][name] = json!(value);
        self
    }

    /// With query parameters.
    #[must_use]
    pub fn query(mut self, parameters: &[(&str, &str)]) -> Self {
        for (name, value) in parameters {
            self.0["queryStringParameters"][name] = json!(value);
            self.0["multiValueQueryStringParameters"][name] = json!([value]);
        }
        self
    }

    /// With a session's token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.0["body"] = json!(body.to_string());
        self.header("Content-Type", "application/json")
    }

    /// The id of the request.
    pub fn request_id(&self) -> String {
        self.0["requestContext"]["requestId"].as_str().unwrap_or_default().to_owned()
    }

    /// The event as JSON.
    pub fn as_json(&self) -> &Value {
        &self.0
    }
}
