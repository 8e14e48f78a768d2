//! Runs on a schedule.

use keystone_audit::jobs::audit_self_check::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
