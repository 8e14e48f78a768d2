//! Invoked by an operator through IAM.

use keystone_operations::jobs::grant_operator_access::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
