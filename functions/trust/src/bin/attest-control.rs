//! Invoked by an operator through IAM.

use keystone_trust::jobs::attest_control::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
