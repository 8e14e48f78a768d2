//! Runs on a schedule, or when an operator invokes it.

use keystone_trust::jobs::probe_isolation::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
