//! Takes events about breaches from a queue.

use keystone_incidents::jobs::notify_breach::{SETTINGS, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> keystone::Exit {
    keystone::job::serve(&SETTINGS, handle).await
}
