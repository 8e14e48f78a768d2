//! `keystone-verify proof`

use keystone_log::bundle::verify_entry_line;
use keystone_log::note::VerifierKey;
use keystone_log::tlog_proof::TlogProof;
use serde_json::Value;

use crate::{Failure, Report};

/// Verifies a tlog-proof that carries its entry, or the JSON around one.
pub(crate) fn verify_file(file: &str, keys: &[VerifierKey]) -> Result<Report, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| Failure::unreadable(file, &error))?;
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
        unchecked: vec!["Any other entry.".into()],
    };
    if found.unopened > 0 {
        let values = found.unopened;
        report.unchecked.push(format!("{values} personal values, erased or withheld."));
    }
    Ok(report)
}
