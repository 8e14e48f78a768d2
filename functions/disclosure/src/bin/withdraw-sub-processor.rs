//! Invoked by an operator, through IAM only.

use keystone_disclosure::jobs::withdraw_sub_processor::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
