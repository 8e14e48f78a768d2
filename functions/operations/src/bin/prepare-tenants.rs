//! Invoked after a deployment.

use keystone_operations::jobs::prepare_tenants::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
