//! Runs on a schedule.

use keystone_audit::jobs::watch_duties::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
