//! Invoked by operators through IAM.

use keystone_operations::jobs::provision_tenant::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
