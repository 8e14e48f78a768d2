//! Rotation of the keys that sign session tokens, with overlap: no step ends
//! a session (claim C9).
//!
//! A new key is announced (`next`) until every warm environment has read it,
//! then signs (`current`); the old one verifies until the last token that it
//! signed has expired. What [`step`] decides depends only on the secret and the
//! clock, so a run may be repeated or missed at any point. Of two runs at once
//! the later write wins, and a key that is lost so has never signed.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::keys::{CURRENT, CURRENT_SINCE, NEXT, NEXT_SINCE};
use super::session::LIFETIME;
use crate::platform::{Platform, SECRET_LIFE};
use crate::tenant::StoreError;
use crate::{config::Setting, random};

/// How long a key signs.
pub const ROTATE_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How long a key is announced: twice as long as an environment goes without
/// reading the secret.
pub const SETTLES_AFTER: SignedDuration = SignedDuration::from_secs(2 * SECRET_LIFE.as_secs());

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Nothing was due.
    None,
    /// A new key is announced.
    Announced,
    /// The announced key signs from now on.
    Promoted,
    /// Keys whose tokens have all expired are gone.
    Retired,
}

type Members = BTreeMap<String, String>;

/// Does what is due for the session signing secret. Needs `GetSecretValue`
/// and `PutSecretValue`.
///
/// # Errors
/// [`StoreError`] when the secret cannot be read, understood or written; the
/// next run continues.
pub async fn rotate(platform: &Platform, now: Timestamp) -> Result<Step, StoreError> {
    let secret = platform.secret(Setting::SessionSecret, now).await?;
    let members: Members = serde_json::from_str(&secret)
        .map_err(|_| StoreError::defect("the session secret is not a JSON object of strings"))?;
    let (step, members) = step(members, now)?;
    if step != Step::None {
        tracing::info!(?step, "rotation of the session secret");
        let secret = serde_json::to_string(&members).map_err(StoreError::defect)?;
        platform.put_secret(Setting::SessionSecret, secret).await?;
    }
    Ok(step)
}

/// What is due at `now`, and the secret afterwards.
fn step(mut members: Members, now: Timestamp) -> Result<(Step, Members), StoreError> {
    let current = members
        .get(CURRENT)
        .cloned()
        .ok_or_else(|| StoreError::defect("the session secret names no current key"))?;
    // A key from the deployment has no date, and is due.
    let age = |since: Option<&String>| {
        let second = since.and_then(|text| text.parse().ok()).unwrap_or(0);
        let since = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
        now.duration_since(since)
    };
    let second = now.as_second().to_string();
    if let Some(next) = members.get(NEXT).cloned() {
        if age(members.get(NEXT_SINCE)) < SETTLES_AFTER {
            return Ok((Step::None, members));
        }
        members.remove(NEXT);
        members.remove(NEXT_SINCE);
        members.insert(CURRENT.into(), next);
        members.insert(CURRENT_SINCE.into(), second);
        return Ok((Step::Promoted, members));
    }
    let in_use = age(members.get(CURRENT_SINCE));
    let keeps = |name: &String| [CURRENT, CURRENT_SINCE, &current].contains(&name.as_str());
    if in_use >= LIFETIME + SETTLES_AFTER && members.keys().any(|name| !keeps(name)) {
        members.retain(|name, _| keeps(name));
        return Ok((Step::Retired, members));
    }
    if in_use >= ROTATE_AFTER {
        let id = format!("k{second}");
        members.insert(id.clone(), hex::encode(random::bytes::<32>()?));
        members.insert(NEXT.into(), id);
        members.insert(NEXT_SINCE.into(), second);
        return Ok((Step::Announced, members));
    }
    Ok((Step::None, members))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::session::SessionRecord;
    use crate::auth::token::{Claims, Parties, SigningKeys};
    use crate::tenant::Id;

    const PARTIES: Parties<'static> = Parties { issuer: "keystone", audience: "test" };

    fn token(secret: &str, now: Timestamp) -> String {
        let session = SessionRecord {
            sid: Id::from_u128(1),
            tenant: "acme-dairy".into(),
            user: Id::from_u128(2),
            role: "viewer".into(),
            credentials: 0,
            epoch: 0,
            amr: vec!["pwd".into()],
            source_ip: std::net::Ipv4Addr::LOCALHOST.into(),
            user_agent: None,
            created_at: now,
            last_seen: now,
            expires_at: now + LIFETIME,
        };
        let keys = SigningKeys::from_secret_json(secret).unwrap();
        keys.sign(&Claims::of(&session, PARTIES)).unwrap()
    }

    /// A year of hourly runs. Environments read the secret up to five minutes
    /// late; whatever the newest signs the most outdated verifies, and the
    /// other way round, for as long as a token lives.
    #[test]
    fn no_token_is_refused_while_it_lives() {
        let key = "0123456789abcdef0123456789abcdef";
        let mut secret = format!(r#"{{"current":"k1","k1":"{key}"}}"#);
        let mut now: Timestamp = "2028-02-29T00:00:00Z".parse().unwrap();
        let mut tokens: Vec<(Timestamp, String)> = Vec::new();
        let mut steps = BTreeMap::new();
        for _ in 0..(366 * 24) {
            let before = secret.clone();
            let (done, members) = step(serde_json::from_str(&secret).unwrap(), now).unwrap();
            secret = serde_json::to_string(&members).unwrap();
            *steps.entry(format!("{done:?}")).or_insert(0) += 1;
            // Signed by those who have read the secret, and by those who have not.
            tokens.extend([(now, token(&secret, now)), (now, token(&before, now))]);
            tokens.retain(|(signed, _)| now.duration_since(*signed) < LIFETIME);
            for secret in [&before, &secret] {
                let keys = SigningKeys::from_secret_json(secret).unwrap();
                assert!(tokens.iter().all(|(_, token)| keys.verify(token, PARTIES, now).is_ok()));
                assert!(members.len() <= 6, "at most two keys");
            }
            assert!(!secret.contains(key) || !steps.contains_key("Retired"));
            now += SignedDuration::from_hours(1);
        }
        assert_eq!(steps["Announced"], 13);
        assert_eq!((steps["Promoted"], steps["Retired"]), (13, 13));
    }

    #[test]
    fn a_repeated_run_does_nothing() {
        let at: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        let first = Members::from([
            (CURRENT.to_owned(), "k1".to_owned()),
            ("k1".to_owned(), "0123456789abcdef0123456789abcdef".to_owned()),
        ]);
        let (done, announced) = step(first, at).unwrap();
        assert_eq!(done, Step::Announced);
        let (done, same) = step(announced.clone(), at).unwrap();
        assert_eq!((done, &same), (Step::None, &announced));
        assert!(step(Members::new(), at).is_err());
    }
}
