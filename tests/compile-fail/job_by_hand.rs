//! A run of a job that nobody started, and what only a run has.

use std::sync::Arc;

use keystone::http::Call;
use keystone::job::Job;
use keystone::platform::Platform;
use keystone::tenant::{JobRegistry, Registry};

pub fn forged(call: &Call, platform: Arc<Platform>, event: serde_json::Value) -> Job {
    let (now, request_id) = (call.now(), String::new());
    Job { platform, now, request_id, event } //~ E0451
}

pub fn taken(registry: Registry<'_>) -> JobRegistry<'_> {
    JobRegistry { registry } //~ E0451
}
