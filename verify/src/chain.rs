//! `keystone-verify checkpoints`

use keystone_log::chain::{Chain, Link};
use keystone_log::merkle::Hash;
use keystone_log::note::VerifierKey;
use serde_json::{Deserializer, Value};

use crate::{Failure, Report};

/// Verifies a chain of checkpoints, in whatever order the files hold them.
pub(crate) fn verify_files(files: &[String], keys: &[VerifierKey]) -> Result<Report, Failure> {
    let mut links = Vec::new();
    for file in files {
        let text =
            std::fs::read_to_string(file).map_err(|error| Failure::unreadable(file, &error))?;
        for value in Deserializer::from_str(&text).into_iter::<Value>() {
            let value =
                value.map_err(|error| Failure::refused(format!("{file} is not JSON: {error}")))?;
            let several = value.get("items").and_then(Value::as_array).cloned();
            for value in several.unwrap_or_else(|| vec![value]) {
                let link = link(&value).ok_or_else(|| {
                    Failure::refused(format!("{file} holds something that is no checkpoint"))
                })?;
                let checkpoint = link
                    .open(keys)
                    .map_err(|error| Failure::refused(format!("{file}: {error}")))?;
                links.push((checkpoint.size, link));
            }
        }
    }
    links.sort_by_key(|(size, _)| *size);
    // The same checkpoint may come from the archive and from the API.
    links.dedup();
    let mut chain = Chain::default();
    let first = links.first().map(|(size, link)| (*size, link.previous));
    for (size, link) in &links {
        chain
            .add(link, keys)
            .map_err(|fault| Failure::refused(format!("checkpoint of {size} entries: {fault}")))?;
    }
    let (Some(last), Some((first, previous))) = (chain.last(), first) else {
        return Err(Failure::Unusable("the files hold no checkpoint".into()));
    };
    let count = links.len();
    let mut unchecked =
        vec!["The entries themselves: a bundle or a proof leads from them to a checkpoint.".into()];
    if previous > 0 {
        unchecked.push(format!("What was before the checkpoint of {first} entries."));
    }
    Ok(Report {
        verdict: format!("a chain of {count} checkpoints of {}", last.origin),
        checked: vec![
            format!("Each of the {count} checkpoints is signed by a given key."),
            format!(
                "From {first} to {} entries, each tree extends the one before: nothing that was \
                 signed was changed or removed later.",
                last.size
            ),
        ],
        unchecked,
    })
}

/// The link in a JSON object that may say more about it.
fn link(value: &Value) -> Option<Link> {
    let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
    let hashes = value.get("consistency")?.as_array()?.iter();
    let hashes = hashes.map(|hash| hash.as_str()?.parse::<Hash>().ok());
    Some(Link {
        format: text("format")?,
        checkpoint: text("checkpoint")?,
        previous: value.get("previous")?.as_u64()?,
        consistency: hashes.collect::<Option<_>>()?,
    })
}
