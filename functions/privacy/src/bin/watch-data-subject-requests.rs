//! Runs on a schedule.

use keystone_privacy::jobs::watch_data_subject_requests::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
