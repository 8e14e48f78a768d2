//! An authenticator app (RFC 6238), written without the code under test.

use std::time::Duration;

use aws_lc_rs::hmac;

/// Seconds of a step.
const STEP: u64 = 30;

/// The app of one user.
pub struct Authenticator {
    secret: String,
    key: Vec<u8>,
    used: u64,
}

fn now() -> u64 {
    u64::try_from(keystone::clock::now().as_second()).expect("it is after 1970")
}

impl Authenticator {
    /// The app that took over `secret`, base 32.
    pub fn new(secret: &str) -> Self {
        Self { secret: secret.to_owned(), key: decode(secret), used: 0 }
    }

    /// The seed that it shares, base 32.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The code of the step that lies `drift` steps from the current one.
    pub fn code_at(&self, drift: i64) -> String {
        self.code_of((now() / STEP).checked_add_signed(drift).expect("a step"))
    }

    /// A code that was not shown before and is accepted now; waits for the
    /// next one when the current ones are used up.
    pub async fn fresh_code(&mut self) -> String {
        let current = now() / STEP;
        let early_in_step = now() % STEP < STEP / 2;
        let earliest = if early_in_step { current - 1 } else { current };
        let step = earliest.max(self.used + 1);
        // The code of the step to come is accepted as well.
        while step > now() / STEP + 1 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.used = step;
        self.code_of(step)
    }

    fn code_of(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.key);
        let mac = hmac::sign(&key, &step.to_be_bytes());
        let mac = mac.as_ref();
        let offset = usize::from(mac[19] & 15);
        let word: [u8; 4] = mac[offset..offset + 4].try_into().expect("four bytes");
        format!("{:06}", (u32::from_be_bytes(word) & 0x7FFF_FFFF) % 1_000_000)
    }
}

/// Base 32 (RFC 4648) without padding.
pub fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            other => panic!("{other} is no letter of base 32"),
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xFF).expect("eight bits"));
        }
    }
    bytes
}
