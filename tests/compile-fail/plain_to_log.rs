//! Plaintext in a log line or a message.

use keystone::crypto::Plain;

pub fn logged(phone: &Plain<String>) {
    tracing::info!(%phone); //~ E0277
}

pub fn printed(phone: &Plain<String>) -> String {
    format!("{phone}") //~ E0277
}

pub fn taken_out(phone: Plain<String>) -> String {
    phone.0 //~ E0616
}
