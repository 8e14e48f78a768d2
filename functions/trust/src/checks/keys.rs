//! Whether KMS rotates the keys that the stores are encrypted by: one for tables,
//! buckets and secrets, another for the database cluster and its backups (ADR 38).

use keystone::config::Setting;
use serde_json::{Value, json};

use super::{Blind, Finding, Look, refused};

/// Longest time between two rotations, in days: KMS's own default.
const LONGEST_PERIOD: i32 = 365;

/// What KMS says of a key.
struct Rotation {
    /// What it encrypts.
    of: &'static str,
    on: bool,
    days: Option<i32>,
}

impl Rotation {
    async fn ask(look: &Look<'_>, of: &'static str, key: &str) -> Result<Self, Blind> {
        let kms = look.job.platform.kms().await?;
        let status = kms.get_key_rotation_status().key_id(key).send().await;
        let status = status.map_err(|error| refused(&error))?;
        Ok(Self { of, on: status.key_rotation_enabled(), days: status.rotation_period_in_days() })
    }

    fn holds(&self) -> bool {
        self.on && self.days.is_none_or(|days| days <= LONGEST_PERIOD)
    }

    fn words(&self) -> String {
        let Self { of, on, days } = self;
        match (on, days) {
            (false, _) => format!("KMS does not rotate the key of {of}."),
            (true, Some(days)) => format!("KMS rotates the key of {of} every {days} days."),
            (true, None) => format!("KMS rotates the key of {of}."),
        }
    }

    fn facts(&self) -> Value {
        json!({ "of": self.of, "rotation": self.on, "period_days": self.days })
    }
}

pub(super) async fn rotation(look: &Look<'_>) -> Result<Finding, Blind> {
    let of_stores = "tables, buckets and secrets";
    let of_stores = Rotation::ask(look, of_stores, look.setting(Setting::DataKey)?).await?;
    let of_cluster = match look.setting(Setting::AtlasKey)? {
        "none" => None,
        key => Some(Rotation::ask(look, "the database cluster and its backups", key).await?),
    };
    Ok(told(&of_stores, of_cluster.as_ref()))
}

fn told(of_stores: &Rotation, of_cluster: Option<&Rotation>) -> Finding {
    let asked: Vec<&Rotation> = std::iter::once(of_stores).chain(of_cluster).collect();
    let mut words: Vec<String> = asked.iter().map(|key| key.words()).collect();
    if of_cluster.is_none() {
        words.push("No key of a database cluster is known here.".into());
    }
    let facts: Vec<Value> = asked.iter().map(|key| key.facts()).collect();
    let holds = asked.iter().all(|key| key.holds());
    Finding::of(holds, words.join(" "), json!({ "keys": facts }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Verdict;

    fn key(of: &'static str, on: bool, days: i32) -> Rotation {
        Rotation { of, on, days: on.then_some(days) }
    }

    #[test]
    fn each_key_that_is_asked_has_to_be_rotated_and_is_named() {
        let stores = || key("stores", true, 365);
        for (stores, cluster, wanted) in [
            (stores(), None, Verdict::Pass),
            (stores(), Some(key("cluster", true, 90)), Verdict::Pass),
            (stores(), Some(key("cluster", false, 0)), Verdict::Fail),
            (stores(), Some(key("cluster", true, 366)), Verdict::Fail),
            (key("stores", false, 0), Some(key("cluster", true, 365)), Verdict::Fail),
        ] {
            let found = told(&stores, cluster.as_ref());
            assert_eq!(found.verdict, wanted, "{}", found.evidence);
            assert!(found.evidence.contains("the key of stores"), "{}", found.evidence);
            let named = found.evidence.contains("the key of cluster");
            assert_eq!(named, cluster.is_some(), "{}", found.evidence);
        }
        let without = told(&stores(), None).evidence;
        assert!(without.ends_with("No key of a database cluster is known here."), "{without}");
    }
}
