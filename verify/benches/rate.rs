//! How fast a bundle is verified, by one thread: entries for each second of
//! processor time, so that what else runs on the machine does not count. Given a
//! path, it then writes a bundle of 1,000,000 entries there, and its key beside
//! it, to run the program on.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures and fails by panicking"
)]

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use keystone_log::bundle::{Header, Writer, verify};
use keystone_log::checkpoint::Checkpoint;
use keystone_log::delta::delta;
use keystone_log::entry::{
    Actor, ActorKind, CommittedEntry, Draft, Outcome, Personal, Resource, Unavailable,
};
use keystone_log::merkle::{Hash, TreeHead};
use keystone_log::note::VerifierKey;
use serde_json::json;
use uuid::Uuid;

const ENTRIES: u64 = 200_000;
const TURNS: usize = 7;
const ORIGIN: &str = "keystone.example/audit/acme";

/// The change of a lot by a user, with address and browser.
fn entry(seq: u64) -> (CommittedEntry, Personal) {
    let before =
        json!({ "state": "available", "quantity": { "value": "1250.500", "unit": "LTR" } });
    let after = json!({ "state": "on_hold", "quantity": { "value": "1250.500", "unit": "LTR" } });
    let mut salt = 0_u8;
    let draft = Draft {
        id: Uuid::from_u128(u128::from(seq)),
        at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        tenant_id: "acme".into(),
        actor: Actor {
            kind: ActorKind::User,
            id: Uuid::from_u128(1).to_string(),
            role: Some("ops_user".into()),
            session: Some(Uuid::from_u128(2).to_string()),
        },
        action: "batch.update".into(),
        resource: Resource {
            kind: "batch".into(),
            id: Uuid::from_u128(u128::from(seq)).to_string(),
        },
        delta: delta(Some(&before), Some(&after), &[]).unwrap(),
        source_ip: Some("192.0.2.7".parse().unwrap()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0".into()),
        request_id: Uuid::from_u128(u128::from(seq) << 64).to_string(),
        outcome: Outcome::Success,
    };
    let salts = || -> Result<[u8; 32], Unavailable> {
        salt += 1;
        Ok([salt; 32])
    };
    draft.seal(seq, salts).unwrap()
}

/// For how long this thread was on a processor.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

fn main() {
    let entries: Vec<(CommittedEntry, Hash, Personal)> = (0..ENTRIES)
        .map(|seq| {
            let (entry, personal) = entry(seq);
            let leaf = entry.leaf_hash().unwrap();
            (entry, leaf, personal)
        })
        .collect();
    let mut tree = TreeHead::empty();
    for (_, leaf, _) in &entries {
        tree.append(*leaf);
    }
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    let keys = [VerifierKey::new(ORIGIN, public).unwrap()];
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: ENTRIES, root: tree.root() };
    let signature = pair.sign(checkpoint.text().as_bytes());
    let note = checkpoint.sign(&keys[0], signature.as_ref()).unwrap();
    for (name, shown) in [("with 2 personal values each", true), ("without personal values", false)]
    {
        let header = Header::new("acme", note.as_str(), None, "2026-01-03T00:00Z".parse().unwrap());
        let mut writer = Writer::new(Vec::new(), &header, ENTRIES).unwrap();
        for (entry, leaf, personal) in &entries {
            let erased = Personal::new();
            writer.entry(entry, leaf, if shown { personal } else { &erased }).unwrap();
        }
        let bundle = writer.finish().unwrap();
        let mut rates: Vec<f64> = (0..TURNS)
            .map(|_| {
                let begun = processor_time();
                let verified = verify(bundle.as_slice(), &keys, |_| ()).unwrap();
                assert_eq!(verified.entries, ENTRIES);
                #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
                let rate = ENTRIES as f64 / processor_time().saturating_sub(begun).as_secs_f64();
                rate
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        println!(
            "{ENTRIES} entries, {name}, {} bytes each: {:.0} entries/s (slowest {:.0}, fastest {:.0})",
            bundle.len() as u64 / ENTRIES,
            rates[TURNS / 2],
            rates[0],
            rates[TURNS - 1],
        );
    }
    if let Some(path) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) {
        write_long(&path, &pair, &keys[0]);
    }
}

/// Writes a bundle of 1,000,000 entries and its key to files, for the program.
fn write_long(path: &str, pair: &Ed25519KeyPair, key: &VerifierKey) {
    let count = 1_000_000;
    let mut tree = TreeHead::empty();
    for seq in 0..count {
        tree.append(entry(seq).0.leaf_hash().unwrap());
    }
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: count, root: tree.root() };
    let signature = pair.sign(checkpoint.text().as_bytes());
    let note = checkpoint.sign(key, signature.as_ref()).unwrap();
    let header = Header::new("acme", note, None, "2026-01-03T00:00Z".parse().unwrap());
    let out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut writer = Writer::new(out, &header, count).unwrap();
    for seq in 0..count {
        let (entry, personal) = entry(seq);
        let leaf = entry.leaf_hash().unwrap();
        writer.entry(&entry, &leaf, &personal).unwrap();
    }
    writer.finish().unwrap().into_inner().unwrap();
    std::fs::write(format!("{path}.vkey"), format!("{key}\n")).unwrap();
}
