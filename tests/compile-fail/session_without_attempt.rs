//! Leave to make a session without an attempt that the throttle counted.

use keystone::auth::throttle::Cleared;

pub fn forged() -> Cleared {
    Cleared { tenant: "acme".to_owned() } //~ E0451
}
