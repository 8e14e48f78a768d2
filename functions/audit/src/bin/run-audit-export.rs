//! Runs for each message of a queue.

use keystone_audit::jobs::run_audit_export::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
