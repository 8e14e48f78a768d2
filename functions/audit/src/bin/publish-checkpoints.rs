//! Runs on a schedule.

use keystone_audit::jobs::publish_checkpoints::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
