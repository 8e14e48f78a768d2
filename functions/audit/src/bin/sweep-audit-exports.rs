//! Runs on a schedule.

use keystone_audit::jobs::sweep_audit_exports::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
