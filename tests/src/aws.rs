//! The few AWS calls that an operator makes, signed with the operator's keys.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Events that one answer about a log holds at most.
const LONGEST_LOG: usize = 10_000;

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

/// The last part of a queue's ARN.
fn queue_name(arn: &str) -> &str {
    arn.rsplit_once(':').map_or(arn, |(_, name)| name)
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

    /// A link to the object at `url` that the operator signed `age` ago, good
    /// for `life`.
    pub fn presigned(&self, url: &str, age: Duration, life: Duration) -> String {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(life);
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let now = SystemTime::try_from(keystone::clock::now()).expect("after 1970");
        let identity = self.credentials().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(now - age)
            .settings(settings)
            .build()
            .expect("all parameters are given")
            .into();
        let signable =
            SignableRequest::new("GET", url, std::iter::empty(), SignableBody::UnsignedPayload)
                .expect("the address is well-formed");
        let (signed, _) = sign(signable, &params).expect("signing needs no store").into_parts();
        let (_, parameters) = signed.into_parts();
        let query: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", value.replace('/', "%2F")))
            .collect();
        format!("{url}?{}", query.join("&"))
    }

    fn credentials(&self) -> Credentials {
        Credentials::new(&self.access_key_id, &self.secret_access_key, None, None, "operator")
    }

    /// Status and body of a plain request, as of anybody who holds a link.
    pub async fn fetch(&self, url: &str) -> (u16, Vec<u8>) {
        let response = self.http.get(url).send().await.expect("the store answers");
        let status = response.status().as_u16();
        (status, response.bytes().await.expect("the answer is complete").to_vec())
    }

    /// What the function `name` answers to `event`, be it a failure.
    pub async fn invoke_to_the_end(&self, name: &str, event: &Value) -> Value {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let answered = self.call("lambda", "POST", &path, &[], event.to_string()).await;
        assert_eq!(answered.status, 200, "{name}: {}", answered.body);
        answered.body
    }

    /// Leaves `event` for the function `name`, and waits for no answer.
    pub async fn invoke_later(&self, name: &str, event: &Value) {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let headers = [("x-amz-invocation-type", "Event")];
        let answered = self.call("lambda", "POST", &path, &headers, event.to_string()).await;
        assert_eq!(answered.status, 202, "{name}: {}", answered.body);
    }

    /// The environment variables that the function `name` was deployed with.
    pub async fn environment(&self, name: &str) -> BTreeMap<String, String> {
        let configuration = self.configuration(name).await;
        serde_json::from_value(configuration["Environment"]["Variables"].clone())
            .expect("a function has environment variables")
    }

    /// Name of the queue where the function `name` leaves an event that it failed
    /// at for good.
    pub async fn dead_letters_of_function(&self, name: &str) -> String {
        let configuration = self.configuration(name).await;
        let arn = configuration["DeadLetterConfig"]["TargetArn"].as_str();
        queue_name(arn.expect("the function has such a queue")).to_owned()
    }

    async fn configuration(&self, name: &str) -> Value {
        let path = format!("/2015-03-31/functions/{name}/configuration");
        let answered = self.call("lambda", "GET", &path, &[], String::new()).await;
        assert_eq!(answered.status, 200, "{name}: {}", answered.body);
        answered.body
    }

    /// The text of a secret.
    pub async fn secret(&self, arn: &str) -> String {
        let found = self.secrets("GetSecretValue", &json!({ "SecretId": arn })).await;
        found["SecretString"].as_str().expect("the secret has text").to_owned()
    }

    /// Makes a secret.
    pub async fn make_secret(&self, name: &str, text: &str) {
        self.secrets("CreateSecret", &json!({ "Name": name, "SecretString": text })).await;
    }

    /// Replaces the text of a secret.
    pub async fn put_secret(&self, name: &str, text: &str) {
        self.secrets("PutSecretValue", &json!({ "SecretId": name, "SecretString": text })).await;
    }

    /// Deletes a secret for good.
    pub async fn delete_secret(&self, name: &str) {
        let input = json!({ "SecretId": name, "ForceDeleteWithoutRecovery": true });
        self.secrets("DeleteSecret", &input).await;
    }

    async fn secrets(&self, action: &str, input: &Value) -> Value {
        self.json_call("secretsmanager", "1.1", &format!("secretsmanager.{action}"), input).await
    }

    /// What was logged into a group since `start`, a line for each event.
    pub async fn log_events(&self, group: &str, start: Timestamp) -> String {
        let end = keystone::clock::now() + SignedDuration::from_mins(1);
        let mut lines: Vec<String> = Vec::new();
        let mut spans = vec![(start.as_millisecond(), end.as_millisecond())];
        while let Some((from, to)) = spans.pop() {
            let input = json!({ "logGroupName": group, "startTime": from, "endTime": to });
            let target = "Logs_20140328.FilterLogEvents";
            let found = self.json_call("logs", "1.1", target, &input).await;
            let events = found["events"].as_array().expect("events");
            // The emulator cuts a long answer off without saying so.
            if events.len() >= LONGEST_LOG && to > from + 1 {
                let middle = from.midpoint(to);
                spans.extend([(from, middle), (middle + 1, to)]);
                continue;
            }
            let text = |event: &Value| event["message"].as_str().expect("text").to_owned();
            lines.extend(events.iter().map(text));
        }
        lines.join("\n")
    }

    /// Puts an event on a bus, as the security team does.
    pub async fn put_event(&self, bus: &str, source: &str, detail_type: &str, detail: &Value) {
        let input = json!({ "Entries": [{
            "EventBusName": bus, "Source": source, "DetailType": detail_type,
            "Detail": detail.to_string(),
        }]});
        let done = self.json_call("events", "1.1", "AWSEvents.PutEvents", &input).await;
        assert_eq!(done["FailedEntryCount"], 0, "{done}");
    }

    /// The pattern of a rule of the default bus.
    pub async fn event_pattern(&self, rule: &str) -> Value {
        let input = json!({ "Name": rule });
        let found = self.json_call("events", "1.1", "AWSEvents.DescribeRule", &input).await;
        let pattern = found["EventPattern"].as_str().expect("the rule has a pattern");
        serde_json::from_str(pattern).expect("a pattern is JSON")
    }

    /// Whether events of this kind go where a rule with this pattern sends them.
    pub async fn fits_pattern(&self, pattern: &Value, event: &Value) -> bool {
        let input = json!({ "EventPattern": pattern.to_string(), "Event": event.to_string() });
        let found = self.json_call("events", "1.1", "AWSEvents.TestEventPattern", &input).await;
        found["Result"].as_bool().expect("yes or no")
    }

    /// Sends a message to a queue.
    pub async fn send_message(&self, queue: &str, message: &Value) {
        let url = self.queue_url(queue).await;
        let input = json!({ "QueueUrl": url, "MessageBody": message.to_string() });
        self.json_call("sqs", "1.0", "AmazonSQS.SendMessage", &input).await;
    }

    async fn queue_url(&self, queue: &str) -> Value {
        let input = json!({ "QueueName": queue });
        let found = self.json_call("sqs", "1.0", "AmazonSQS.GetQueueUrl", &input).await;
        found["QueueUrl"].clone()
    }

    /// Name of the queue that the function `name` gets its events from.
    pub async fn queue_of(&self, name: &str) -> String {
        let path = format!("/2015-03-31/event-source-mappings/?FunctionName={name}");
        let answered = self.call("lambda", "GET", &path, &[], String::new()).await;
        assert_eq!(answered.status, 200, "{name}: {}", answered.body);
        let arn = answered.body["EventSourceMappings"][0]["EventSourceArn"].as_str();
        queue_name(arn.expect("the function has a queue")).to_owned()
    }

    /// Name of the queue that a message of `queue` goes to when it was delivered
    /// in vain, and after how many deliveries.
    pub async fn dead_letters_of(&self, queue: &str) -> (String, u64) {
        let url = self.queue_url(queue).await;
        let input = json!({ "QueueUrl": url, "AttributeNames": ["RedrivePolicy"] });
        let found = self.json_call("sqs", "1.0", "AmazonSQS.GetQueueAttributes", &input).await;
        let policy = found["Attributes"]["RedrivePolicy"].as_str().expect("it has such a queue");
        let policy: Value = serde_json::from_str(policy).expect("a policy is JSON");
        let arn = policy["deadLetterTargetArn"].as_str().expect("a queue");
        // It may be a number or its digits.
        let deliveries = policy["maxReceiveCount"].to_string();
        let deliveries = deliveries.trim_matches('"').parse().expect("a number of deliveries");
        (queue_name(arn).to_owned(), deliveries)
    }

    /// Lets a message of `queue` that was delivered come again after so many
    /// seconds, unless it was done with.
    pub async fn deliver_again_after(&self, queue: &str, seconds: u32) {
        let url = self.queue_url(queue).await;
        let attributes = json!({ "VisibilityTimeout": seconds.to_string() });
        let input = json!({ "QueueUrl": url, "Attributes": attributes });
        self.json_call("sqs", "1.0", "AmazonSQS.SetQueueAttributes", &input).await;
    }

    /// Takes a message that says `text` out of a queue that only tests read, if it
    /// is among the ten that are seen now.
    pub async fn take_message(&self, queue: &str, text: &str) -> Option<Value> {
        let url = self.queue_url(queue).await;
        // The others stay hidden for a while, so that the next look sees more, and
        // a short one, since another test may look for one of them.
        let input = json!({
            "QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 5,
            "AttributeNames": ["All"],
        });
        let found = self.json_call("sqs", "1.0", "AmazonSQS.ReceiveMessage", &input).await;
        let says =
            |message: &&Value| message["Body"].as_str().is_some_and(|body| body.contains(text));
        let message = found["Messages"].as_array()?.iter().find(says)?;
        let input = json!({ "QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"] });
        self.json_call("sqs", "1.0", "AmazonSQS.DeleteMessage", &input).await;
        Some(message.clone())
    }

    /// Lets KMS rotate a key, or not.
    pub async fn set_key_rotation(&self, key: &str, on: bool) {
        let action = if on { "EnableKeyRotation" } else { "DisableKeyRotation" };
        let target = format!("TrentService.{action}");
        self.json_call("kms", "1.1", &target, &json!({ "KeyId": key })).await;
    }

    /// Gives a table point-in-time recovery, or takes it away.
    pub async fn set_recovery(&self, table: &str, on: bool) {
        let recovery = json!({ "PointInTimeRecoveryEnabled": on });
        let input = json!({ "TableName": table, "PointInTimeRecoverySpecification": recovery });
        let target = "DynamoDB_20120810.UpdateContinuousBackups";
        self.json_call("dynamodb", "1.0", target, &input).await;
    }

    /// The items of a table, as JSON.
    pub async fn items(&self, table: &str) -> String {
        let input = json!({ "TableName": table });
        self.json_call("dynamodb", "1.0", "DynamoDB_20120810.Scan", &input).await.to_string()
    }

    async fn json_call(&self, service: &str, json: &str, target: &str, input: &Value) -> Value {
        let media_type = format!("application/x-amz-json-{json}");
        let headers = [("content-type", media_type.as_str()), ("x-amz-target", target)];
        let answered = self.call(service, "POST", "/", &headers, input.to_string()).await;
        assert_eq!(answered.status, 200, "{target}: {}", answered.body);
        answered.body
    }

    /// Sets an attribute of the session `sid`, a whole number.
    pub async fn set_in_session(&self, table: &str, sid: &str, attribute: &str, value: i64) {
        let input = json!({
            "TableName": table,
            "Key": { "sid": { "S": sid } },
            "UpdateExpression": "SET #attribute = :value",
            "ConditionExpression": "attribute_exists(sid)",
            "ExpressionAttributeNames": { "#attribute": attribute },
            "ExpressionAttributeValues": { ":value": { "N": value.to_string() } },
        });
        self.json_call("dynamodb", "1.0", "DynamoDB_20120810.UpdateItem", &input).await;
    }

    /// Notes that the end of a tenant was announced, as this closing and for this
    /// moment.
    pub async fn announce_end(&self, table: &str, tenant: &str, closing: &str, at: Timestamp) {
        let input = json!({
            "TableName": table,
            "Key": { "tenant": { "S": tenant }, "subject": { "S": "closing" } },
            "UpdateExpression": "SET closing = :closing, ends_at = :at",
            "ExpressionAttributeValues": {
                ":closing": { "S": closing }, ":at": { "S": at.to_string() },
            },
        });
        self.json_call("dynamodb", "1.0", "DynamoDB_20120810.UpdateItem", &input).await;
    }

    /// An attribute of the session `sid`, a whole number.
    pub async fn number_in_session(&self, table: &str, sid: &str, attribute: &str) -> i64 {
        let input = json!({ "TableName": table, "Key": { "sid": { "S": sid } } });
        let found = self.json_call("dynamodb", "1.0", "DynamoDB_20120810.GetItem", &input).await;
        let text = found["Item"][attribute]["N"].as_str().expect("there is such a number");
        text.parse().expect("a whole number")
    }

    async fn call(
        &self,
        service: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answered {
        let identity = self.credentials().into();
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
