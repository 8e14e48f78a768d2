//! `keystone-verify checkpoints`

use keystone_log::chain::{Chain, Link, Succession};
use keystone_log::checkpoint::Checkpoint;
use keystone_log::merkle::Hash;
use keystone_log::note::VerifierKey;
use serde_json::{Deserializer, Value};

use crate::{Failure, Report, read_text};

/// Verifies a chain of checkpoints, in whatever order the files hold them.
pub(crate) fn verify_files(files: &[String], keys: &[VerifierKey]) -> Result<Report, Failure> {
    let mut sized = Vec::new();
    for file in files {
        for link in links_in(file, &read_text(file)?)? {
            let checkpoint =
                link.open(keys).map_err(|error| Failure::refused(format!("{file}: {error}")))?;
            sized.push((checkpoint, link));
        }
    }
    verify(sized, keys)
}

/// The links in a file's text, in which JSON values follow each other.
fn links_in(file: &str, text: &str) -> Result<Vec<Link>, Failure> {
    let mut links = Vec::new();
    for value in Deserializer::from_str(text).into_iter::<Value>() {
        let value =
            value.map_err(|error| Failure::refused(format!("{file} is not JSON: {error}")))?;
        let several = value.get("items").and_then(Value::as_array).cloned();
        for value in several.unwrap_or_else(|| vec![value]) {
            links.push(link(&value).ok_or_else(|| {
                Failure::refused(format!("{file} holds something that is no checkpoint"))
            })?);
        }
    }
    Ok(links)
}

/// What these checkpoints, each with its size, show together, in words. What a link says to extend,
/// and the proof, are signed by nobody: with a proof from one to the next but
/// one, whoever passes checkpoints on can leave one out.
fn verify(mut sized: Vec<(Checkpoint, Link)>, keys: &[VerifierKey]) -> Result<Report, Failure> {
    sized.sort_by_key(|(checkpoint, _)| (checkpoint.generation(), checkpoint.size));
    // The same checkpoint may come from the archive and from the API.
    sized.dedup();
    let mut chain = Chain::default();
    for (Checkpoint { size, .. }, link) in &sized {
        chain
            .add(link, keys)
            .map_err(|fault| Failure::refused(format!("checkpoint of {size} entries: {fault}")))?;
    }
    let (Some(newest), Some((first, _))) = (chain.last(), sized.first()) else {
        return Err(Failure::Unusable("the files hold no checkpoint".into()));
    };
    let (origin, last, count, first) = (&newest.origin, newest.size, sized.len(), first.size);
    let but = if chain.successions().is_empty() { "" } else { ", but where a restore is named" };
    let (verdict, checked) = if count == 1 {
        (
            format!("one checkpoint of {origin}"),
            vec![format!("The checkpoint of {last} entries is signed by a given key.")],
        )
    } else {
        (
            format!("a chain of {count} checkpoints of {origin}"),
            vec![
                format!("Each of the {count} checkpoints given is signed by a given key."),
                format!(
                    "Of the checkpoints given, from {first} to {last} entries, the tree of each \
                     extends that of the one before{but}: nothing that one of them signs was \
                     changed or removed by the next."
                ),
            ],
        )
    };
    let restored = chain.successions().iter().map(in_words);
    let checked = checked.into_iter().chain(restored).collect();
    Ok(Report {
        verdict,
        checked,
        unchecked: vec![
            "The entries themselves: a bundle or a proof leads from them to a checkpoint.".into(),
            "That no other was signed, before, between, after or beside those given: what a \
             checkpoint says to extend is not signed."
                .into(),
            format!("That the first given, of {first} entries, is the log's first."),
        ],
    })
}

/// What a restore of the log's database has done to it.
fn in_words(Succession { last, kept }: &Succession) -> String {
    let (origin, size) = (&last.origin, last.size);
    let from = match kept {
        0 => "extends no checkpoint of it".to_owned(),
        kept => format!("extends its checkpoint of {kept}"),
    };
    let lost = if size > *kept {
        format!("; entries above that, up to {size}, may be others now, and were signed once")
    } else {
        "; what it signed later, if anything, is not among those given".to_owned()
    };
    format!(
        "{origin} ended and goes on under another name, as a log does whose database was \
         restored: what follows {from}{lost}."
    )
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use keystone_log::merkle::{consistency_proof, leaf_hash, root_of};

    use super::*;

    const ORIGIN: &str = "keystone.example/audit/acme";
    const LATER: &str = "keystone.example/audit/acme/2";

    fn signer(origin: &str) -> (Ed25519KeyPair, VerifierKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let key = VerifierKey::new(origin, pair.public_key().as_ref().try_into().unwrap()).unwrap();
        (pair, key)
    }

    /// The checkpoint of `to` entries that says to extend that of `from`.
    fn link(from: u64, to: u64) -> (Checkpoint, Link) {
        link_of(ORIGIN, from, to)
    }

    fn link_of(origin: &str, from: u64, to: u64) -> (Checkpoint, Link) {
        let (pair, key) = signer(origin);
        let leaves: Vec<Hash> = (0..to).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let checkpoint = Checkpoint { origin: origin.into(), size: to, root: root_of(&leaves) };
        let signature = pair.sign(checkpoint.text().as_bytes());
        let note = checkpoint.sign(&key, signature.as_ref()).unwrap();
        let link = Link::new(note, from, consistency_proof(&leaves, from, to).unwrap());
        (checkpoint, link)
    }

    fn words(links: Vec<(Checkpoint, Link)>) -> (String, String, String) {
        let keys = [signer(ORIGIN).1, signer(LATER).1];
        let report = verify(links, &keys).ok().unwrap();
        (report.verdict, report.checked.join(" "), report.unchecked.join(" "))
    }

    #[test]
    fn no_more_is_claimed_than_the_given_checkpoints_show() {
        // The same words with one left out in between, which nobody can tell.
        for chain in [vec![link(3, 9), link(0, 3), link(9, 20)], vec![link(0, 3), link(3, 20)]] {
            let count = chain.len();
            let (verdict, checked, unchecked) = words(chain);
            assert_eq!(verdict, format!("a chain of {count} checkpoints of {ORIGIN}"));
            assert!(
                checked.contains("Of the checkpoints given, from 3 to 20 entries"),
                "{checked}"
            );
            assert!(unchecked.contains("That no other was signed"), "{unchecked}");
            assert!(unchecked.contains("of 3 entries, is the log's first"), "{unchecked}");
        }
        // One that says to be the first need not be.
        for alone in [link(0, 20), link(9, 20)] {
            let (verdict, checked, unchecked) = words(vec![alone.clone(), alone]);
            assert_eq!(verdict, format!("one checkpoint of {ORIGIN}"));
            assert_eq!(checked, "The checkpoint of 20 entries is signed by a given key.");
            assert!(unchecked.contains("That no other was signed"), "{unchecked}");
            assert!(unchecked.contains("of 20 entries, is the log's first"), "{unchecked}");
        }
    }

    #[test]
    fn what_a_restore_has_lost_is_said() {
        let chain = vec![link_of(LATER, 3, 5), link(0, 3), link(3, 20), link_of(LATER, 5, 30)];
        let (verdict, checked, _) = words(chain);
        assert_eq!(verdict, format!("a chain of 4 checkpoints of {LATER}"));
        for said in [
            "extends that of the one before, but where a restore is named",
            "keystone.example/audit/acme ended and goes on under another name",
            "what follows extends its checkpoint of 3; entries above that, up to 20, may be others",
        ] {
            assert!(checked.contains(said), "{checked}");
        }
        let (_, checked, _) = words(vec![link(0, 3), link_of(LATER, 3, 5)]);
        assert!(checked.contains("of 3; what it signed later, if anything, is not"), "{checked}");
    }

    #[test]
    fn files_hold_checkpoints_one_after_another_or_as_a_list() {
        let object = |link: &Link| serde_json::to_string(link).unwrap();
        let links = [link(0, 3).1, link(3, 9).1];
        let (one, two) = (object(&links[0]), object(&links[1]));
        for text in [format!("{one}\n{two}"), format!("{{\"items\":[{one},{two}]}}")] {
            assert_eq!(links_in("f", &text).ok().unwrap(), links);
        }
        for wrong in ["{", "{}", "[1]"] {
            assert!(matches!(links_in("f", wrong), Err(Failure::Refused(_))), "{wrong}");
        }
    }
}
