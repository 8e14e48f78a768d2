//! Runs on a schedule.

use keystone_operations::jobs::destroy_tenants::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
