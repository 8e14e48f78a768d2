//! Functions that no HTTP client calls: schedules, events, operators.

use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::Instrument as _;

use crate::audit::entry::{Actor, ActorKind};
use crate::config::{Config, Setting};
use crate::platform::Platform;
use crate::tenant::{Attribution, JobRegistry, StoreError};
use crate::{Problem, clock, http, telemetry};

/// One run of a job. Only [`serve`] makes one: it is what the ways to every
/// tenant are asked for with.
pub struct Job {
    /// The clients.
    pub platform: Arc<Platform>,
    /// When the run began.
    pub now: Timestamp,
    /// Lambda's id of the run.
    pub request_id: String,
    event: Value,
}

impl Job {
    /// The tenant registry, with the ways to every tenant.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot be reached.
    pub async fn registry(&self) -> Result<JobRegistry<'_>, StoreError> {
        Ok(JobRegistry::new(self.platform.registry(self.now).await?))
    }

    /// The event, checked against the schema of `T`.
    ///
    /// # Errors
    /// 422 naming every wrong field.
    pub fn input<T: DeserializeOwned + JsonSchema + 'static>(&self) -> Result<T, Problem> {
        http::read_value(self.event.clone())
    }

    /// The messages of an event that a queue sent, each checked against the
    /// schema of `T`.
    ///
    /// # Errors
    /// 422 when the event is not that of a queue, or a message is no `T`.
    pub fn messages<T: DeserializeOwned + JsonSchema + 'static>(&self) -> Result<Vec<T>, Problem> {
        let Some(Value::Array(records)) = self.event.get("Records") else {
            return Err(Problem::invalid("/Records", "Must be the messages of a queue."));
        };
        let message = |record: &Value| {
            let body = record.get("body").and_then(Value::as_str).unwrap_or_default();
            serde_json::from_str(body)
                .map_err(|_| Problem::invalid("/Records", "A message is not JSON."))
                .and_then(http::read_value)
        };
        records.iter().map(message).collect()
    }

    /// Who acts, for an audit entry about this run.
    pub fn attribution(&self, kind: ActorKind, name: &str) -> Attribution {
        Attribution {
            actor: Actor { kind, id: name.to_owned(), role: None, session: None },
            source_ip: None,
            user_agent: None,
            request_id: self.request_id.clone(),
            now: self.now,
        }
    }
}

/// Serves a job until the environment ends. A problem becomes a failed
/// invocation with the problem's kind as its error type, so that the trigger
/// retries it and the function's alarm goes off.
///
/// # Errors
/// At start when configuration is missing, or when the runtime API fails.
pub async fn serve<T, F, Fut>(settings: &[Setting], handler: F) -> Result<(), lambda_runtime::Error>
where
    T: Serialize,
    F: Fn(Job) -> Fut,
    Fut: Future<Output = Result<T, Problem>>,
{
    telemetry::init();
    let platform = Arc::new(Platform::new(Config::from_env(settings)?));
    let (platform, handler) = (&platform, &handler);
    // Boxed, so that what every binary instantiates stays small.
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let run: Pin<Box<dyn Future<Output = _>>> = Box::pin(async move {
            let request_id = event.context.request_id.clone();
            let job = Job {
                platform: Arc::clone(platform),
                now: clock::now(),
                request_id: request_id.clone(),
                event: event.payload,
            };
            let function = event.context.env_config.function_name.clone();
            let span = tracing::info_span!("job", function, request_id);
            let run = async {
                handler(job).await.inspect(|_| tracing::info!("job done")).map_err(|problem| {
                    tracing::error!(%problem, "job failed");
                    let body = serde_json::to_string(&problem.body(&request_id));
                    Diagnostic {
                        error_type: problem.to_string(),
                        error_message: body.unwrap_or_default(),
                    }
                })
            };
            run.instrument(span).await
        });
        run
    }))
    .await
}
