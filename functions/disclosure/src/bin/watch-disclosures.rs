//! Runs on a schedule.

use keystone_disclosure::jobs::watch_disclosures::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
