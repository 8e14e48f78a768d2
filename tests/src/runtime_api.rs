//! A Lambda Runtime API for one function: it runs the function's real binary,
//! without a gateway and without an emulator's delays, and can kill it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use crate::Stack;
use crate::event::Event;

/// Longest time that a test waits for an answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running function.
pub struct Function {
    child: Child,
    events: mpsc::UnboundedSender<Value>,
    delivered: mpsc::UnboundedReceiver<()>,
    answers: mpsc::UnboundedReceiver<Posted>,
    server: JoinHandle<()>,
}

/// What the function posted.
struct Posted {
    path: String,
    body: Vec<u8>,
}

/// What the connections of one function share.
struct Api {
    events: Mutex<mpsc::UnboundedReceiver<Value>>,
    delivered: mpsc::UnboundedSender<()>,
    answers: mpsc::UnboundedSender<Posted>,
}

/// The answer to an event of API Gateway.
#[derive(Debug)]
pub struct Response {
    /// HTTP status code.
    pub status: u64,
    /// The JSON body; null when there is none.
    pub body: Value,
}

/// The folder of the build that the running test belongs to.
pub fn build_directory() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a file");
    let deps = test.parent().expect("in deps/");
    deps.parent().expect("in the build's folder").to_owned()
}

impl Function {
    /// Starts the deployed function `name` from the build that the stack
    /// deployed, with the environment that it was deployed with.
    pub async fn deployed(stack: &Stack, name: &str) -> Self {
        let binary = build_directory().join(name);
        assert!(binary.exists(), "{} is not built: `make run` builds it", binary.display());
        Self::start(&binary, &stack.environment(name).await).await
    }

    /// Starts `binary` with `environment` and nothing else.
    pub async fn start(binary: &Path, environment: &BTreeMap<String, String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (events, next) = mpsc::unbounded_channel();
        let (delivered_sender, delivered) = mpsc::unbounded_channel();
        let (answers_sender, answers) = mpsc::unbounded_channel();
        let api = Arc::new(Api {
            events: Mutex::new(next),
            delivered: delivered_sender,
            answers: answers_sender,
        });
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&api)));
            }
        });
        let child = Command::new(binary)
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "test")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        Self { child, events, delivered, answers, server }
    }

    /// The function's answer to a request.
    pub async fn request(&mut self, event: &Event) -> Response {
        let answer = self.invoke(event.as_json()).await;
        Response {
            status: answer["statusCode"].as_u64().expect("an answer for API Gateway"),
            body: answer["body"]
                .as_str()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
        }
    }

    /// The function's answer to any event.
    pub async fn invoke(&mut self, event: &Value) -> Value {
        self.invoke_within(PATIENCE, event).await
    }

    /// As [`Function::invoke`], for what takes longer than a request.
    pub async fn invoke_within(&mut self, patience: Duration, event: &Value) -> Value {
        self.begin(event).await;
        let posted = tokio::time::timeout(patience, self.answers.recv())
            .await
            .expect("the function answers in time")
            .expect("the server runs");
        let body = String::from_utf8_lossy(&posted.body);
        assert!(posted.path.ends_with("/response"), "{}: {body}", posted.path);
        serde_json::from_str(&body).expect("functions answer with JSON")
    }

    /// What the function says of an event that it must fail on.
    pub async fn failure(&mut self, event: &Value) -> String {
        self.begin(event).await;
        let posted = tokio::time::timeout(PATIENCE, self.answers.recv())
            .await
            .expect("the function answers in time")
            .expect("the server runs");
        let body = String::from_utf8_lossy(&posted.body).into_owned();
        assert!(posted.path.ends_with("/error"), "{}: {body}", posted.path);
        body
    }

    /// Hands the function an event, without waiting for its answer.
    pub async fn begin(&mut self, event: &Value) {
        self.events.send(event.clone()).expect("the server runs");
        tokio::time::timeout(PATIENCE, self.delivered.recv())
            .await
            .expect("the function asks for an event in time; do its log and settings say why not?")
            .expect("the server runs");
    }

    /// What the function answers to the event that it was handed, be it a failure.
    pub async fn answer_within(&mut self, patience: Duration) -> Value {
        let posted = tokio::time::timeout(patience, self.answers.recv())
            .await
            .expect("the function answers in time")
            .expect("the server runs");
        serde_json::from_slice(&posted.body).expect("functions answer with JSON")
    }

    /// Ends the process with SIGKILL, `delay` from now.
    pub async fn kill_after(mut self, delay: Duration) {
        // A thread sleeps to the microsecond, the executor's timer does not.
        let killer = tokio::task::spawn_blocking(move || {
            std::thread::sleep(delay);
            let _ = self.child.kill();
            let _ = self.child.wait();
            self.server.abort();
        });
        killer.await.expect("the thread does not panic");
    }

    /// Most memory that the process has held, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the process runs");
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
            .expect("Linux says how much")
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.server.abort();
    }
}

/// Serves one connection until the function closes it.
async fn serve(connection: TcpStream, api: Arc<Api>) {
    let _ = connection.set_nodelay(true);
    let mut connection = BufReader::new(connection);
    while let Some((path, body)) = read_request(&mut connection).await {
        let next = path.ends_with("/invocation/next");
        let response = if next {
            let Some(event) = api.events.lock().await.recv().await else { return };
            let event = event.to_string();
            // A deadline in the year 2100: no test waits for Lambda's own.
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Lambda-Runtime-Aws-Request-Id: 00000000-0000-0000-0000-000000000000\r\n\
                 Lambda-Runtime-Deadline-Ms: 4102444800000\r\n\
                 Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:0:function:test\r\n\
                 \r\n{event}",
                event.len()
            )
        } else {
            let _ = api.answers.send(Posted { path, body });
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned()
        };
        if connection.write_all(response.as_bytes()).await.is_err() {
            return;
        }
        if next {
            let _ = api.delivered.send(());
        }
    }
}

/// Reads one request's path and body; `None` at the end of the connection.
async fn read_request(connection: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    connection.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        connection.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    Some((path, body))
}
