//! `keystone-verify proof`

use keystone_log::bundle::verify_entry_line;
use keystone_log::entry::CommittedEntry;
use keystone_log::note::VerifierKey;
use keystone_log::tlog_proof::TlogProof;
use serde_json::Value;

use crate::{Failure, Report, read_text};

/// Verifies a tlog-proof that carries its entry, or the JSON around one.
pub(crate) fn verify_file(file: &str, keys: &[VerifierKey]) -> Result<Report, Failure> {
    verify(read_text(file)?, keys)
}

fn verify(text: String, keys: &[VerifierKey]) -> Result<Report, Failure> {
    let text = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(members)) => match members.get("text").and_then(Value::as_str) {
            Some(text) => text.to_owned(),
            None => return Err(Failure::refused("the JSON holds no tlog-proof under text")),
        },
        _ => text,
    };
    let proof: TlogProof = text.parse().map_err(Failure::refused)?;
    let Some(extra) = &proof.extra else {
        return Err(Failure::refused("the proof does not carry its entry in an extra line"));
    };
    let line = str::from_utf8(extra).map_err(Failure::refused)?;
    let found = verify_entry_line(line).map_err(Failure::refused)?;
    if found.seq != proof.index {
        let (seq, index) = (found.seq, proof.index);
        return Err(Failure::refused(format!("the proof is of entry {index}, but carries {seq}")));
    }
    let checkpoint = proof.verify(&found.leaf, keys).map_err(Failure::refused)?;
    let entry = CommittedEntry::from_canonical(found.canonical.as_bytes());
    let tenant = entry.map_err(Failure::refused)?.tenant_id;
    if checkpoint.tenant() != Some(&tenant) {
        let origin = &checkpoint.origin;
        let why = format!("the entry is of the tenant {tenant}, the checkpoint of {origin}");
        return Err(Failure::refused(why));
    }
    let mut report = Report {
        verdict: format!("entry {} of {}", found.seq, checkpoint.origin),
        checked: vec![
            format!(
                "The checkpoint of {} entries is signed by the given key of {}.",
                checkpoint.size, checkpoint.origin
            ),
            format!("The entry gives the leaf {}, which the checkpoint covers.", found.leaf),
            format!("{} personal values were checked against their commitments.", found.opened),
            format!("The entry: {}", found.canonical),
        ],
        unchecked: vec![
            "Any other entry.".into(),
            "How many entries the log has, beyond what the signed checkpoint says: the hashes of \
             a proof alone show nothing about that."
                .into(),
        ],
    };
    if found.unopened > 0 {
        let values = found.unopened;
        report.unchecked.push(format!("{values} personal values, erased or withheld."));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use keystone_log::bundle::entry_line;
    use keystone_log::checkpoint::Checkpoint;
    use keystone_log::entry::{Actor, ActorKind, Draft, Outcome, Resource};
    use keystone_log::merkle::TreeHead;

    use super::*;

    /// The proof of the only entry of a log, which is of `tenant`, and the key
    /// of the log, which is acme's.
    fn proof(tenant: &str) -> (String, VerifierKey) {
        let draft = Draft {
            id: uuid::Uuid::from_u128(1),
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            tenant_id: tenant.into(),
            actor: Actor { kind: ActorKind::Job, id: "j".into(), role: None, session: None },
            action: "batch.create".into(),
            resource: Resource { kind: "batch".into(), id: "b".into() },
            delta: Vec::new(),
            source_ip: None,
            user_agent: None,
            request_id: "r".into(),
            outcome: Outcome::Success,
        };
        let (entry, personal) = draft.seal(0, || Ok([7; 32])).unwrap();
        let leaf = entry.leaf_hash().unwrap();
        let mut tree = TreeHead::empty();
        tree.append(leaf);
        let origin = "keystone.example/audit/acme";
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let key = VerifierKey::new(origin, pair.public_key().as_ref().try_into().unwrap()).unwrap();
        let checkpoint = Checkpoint { origin: origin.into(), size: 1, root: tree.root() };
        let signature = pair.sign(checkpoint.text().as_bytes());
        let checkpoint = checkpoint.sign(&key, signature.as_ref()).unwrap();
        let extra = Some(entry_line(&entry, &leaf, &personal).unwrap());
        (TlogProof { extra, index: 0, hashes: Vec::new(), checkpoint }.to_string(), key)
    }

    #[test]
    fn an_entry_is_proved_to_the_log_of_its_own_tenant() {
        let (text, key) = proof("acme");
        let report = verify(text, &[key]).ok().unwrap();
        assert_eq!(report.verdict, "entry 0 of keystone.example/audit/acme");
        assert!(report.unchecked[1].starts_with("How many entries the log has"));

        let (text, key) = proof("globex");
        let Err(Failure::Refused(why)) = verify(text, &[key]) else { panic!("it is verified") };
        assert!(why.starts_with("the entry is of the tenant globex"), "{why}");
    }
}
