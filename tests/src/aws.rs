//! The few AWS calls that an operator makes, signed with the operator's keys.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};

/// The operator's access to AWS.
pub struct Aws {
    pub(crate) http: reqwest::Client,
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

/// What an AWS service answered.
struct Answered {
    status: u16,
    function_error: bool,
    body: Value,
}

impl Aws {
    /// The answer of the function `name` to `event`.
    pub async fn invoke(&self, name: &str, event: &Value) -> Value {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let answered = self.call("lambda", "POST", &path, &[], event.to_string()).await;
        assert!(
            answered.status == 200 && !answered.function_error,
            "{name} failed: {} {}",
            answered.status,
            answered.body
        );
        answered.body
    }

    /// The environment variables that the function `name` was deployed with.
    pub async fn environment(&self, name: &str) -> BTreeMap<String, String> {
        let path = format!("/2015-03-31/functions/{name}/configuration");
        let answered = self.call("lambda", "GET", &path, &[], String::new()).await;
        assert_eq!(answered.status, 200, "{name}: {}", answered.body);
        serde_json::from_value(answered.body["Environment"]["Variables"].clone())
            .expect("a function has environment variables")
    }

    /// The text of a secret.
    pub async fn secret(&self, arn: &str) -> String {
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "secretsmanager.GetSecretValue"),
        ];
        let body = json!({ "SecretId": arn }).to_string();
        let answered = self.call("secretsmanager", "POST", "/", &headers, body).await;
        assert_eq!(answered.status, 200, "{arn}: {}", answered.body);
        answered.body["SecretString"].as_str().expect("the secret has text").to_owned()
    }

    /// Sets an attribute of the session `sid`, a whole number.
    pub async fn set_in_session(&self, table: &str, sid: &str, attribute: &str, value: i64) {
        let headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", "DynamoDB_20120810.UpdateItem"),
        ];
        let body = json!({
            "TableName": table,
            "Key": { "sid": { "S": sid } },
            "UpdateExpression": "SET #attribute = :value",
            "ConditionExpression": "attribute_exists(sid)",
            "ExpressionAttributeNames": { "#attribute": attribute },
            "ExpressionAttributeValues": { ":value": { "N": value.to_string() } },
        })
        .to_string();
        let answered = self.call("dynamodb", "POST", "/", &headers, body).await;
        assert_eq!(answered.status, 200, "{sid}: {}", answered.body);
    }

    async fn call(
        &self,
        service: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answered {
        let identity =
            Credentials::new(&self.access_key_id, &self.secret_access_key, None, None, "operator")
                .into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(service)
            .time(SystemTime::try_from(keystone::clock::now()).expect("after 1970"))
            .settings(SigningSettings::default())
            .build()
            .expect("all parameters are given")
            .into();
        let url = format!("{}{path}", self.endpoint);
        let signable = SignableRequest::new(
            method,
            &url,
            headers.iter().copied(),
            SignableBody::Bytes(body.as_bytes()),
        )
        .expect("the address is well-formed");
        let (signature, _) = sign(signable, &params).expect("signing needs no store").into_parts();
        let mut request = self.http.request(method.parse().expect("a method"), &url);
        for (name, value) in headers.iter().copied().chain(signature.headers()) {
            request = request.header(name, value);
        }
        let response = request.body(body).send().await.expect("AWS answers");
        Answered {
            status: response.status().as_u16(),
            function_error: response.headers().contains_key("x-amz-function-error"),
            body: response.json().await.unwrap_or_default(),
        }
    }
}
