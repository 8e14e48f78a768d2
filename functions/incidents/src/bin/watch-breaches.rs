//! Runs on a schedule.

use keystone_incidents::jobs::watch_breaches::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
