//! What is stored of an entry must be what was recorded, whoever reads it: an
//! export or the self-check.

use keystone::crypto::Subject;
use keystone::tenant::EntryParts;

/// In what an entry of `tenant`, stored under the number `seq`, is not what was
/// recorded, as far as that shows without the tree and without its index by source
/// address.
pub fn faults(tenant: &str, seq: u64, parts: &EntryParts) -> Vec<String> {
    let entry = &parts.entry;
    let mut faults = Vec::new();
    if entry.seq != seq {
        faults.push(format!("entry {seq} holds the entry with the number {}", entry.seq));
    }
    if entry.tenant_id != tenant {
        faults.push(format!("entry {seq} is of the tenant {}", entry.tenant_id));
    }
    if parts.at != Some(entry.at) {
        faults.push(format!("entry {seq} is found under another time than its own"));
    }
    match entry.leaf_hash() {
        Ok(leaf) if leaf == parts.leaf => {}
        Ok(leaf) => faults.push(format!(
            "entry {seq} was changed: it gives the leaf {leaf}, recorded was {}",
            parts.leaf
        )),
        Err(error) => faults.push(format!("entry {seq} has no canonical form: {error}")),
    }
    // The tree holds commitments to the personal values beside the entry: each is
    // what was recorded, or its own subject was erased.
    if let Err(error) = entry.open(&parts.personal) {
        faults.push(format!("a personal value of entry {seq} was changed: {error}"));
    }
    for (path, owner) in parts.removed() {
        let gone = match owner {
            Some(owner) => parts.erased.contains(&owner),
            None => parts.erased.iter().any(|subject| matches!(subject, Subject::User(_))),
        };
        if !gone {
            faults.push(format!(
                "the personal value {path} of entry {seq} was removed, and whose it is was not \
                 erased"
            ));
        }
    }
    faults
}

/// That nothing records the erasure of `subject`, whose values beside the entry do
/// not open.
pub fn unrecorded_erasure(seq: u64, subject: Subject) -> String {
    format!("what entry {seq} says of {subject} does not open, and no erasure is recorded")
}

/// That the entry's index by source address is not that of its address.
pub fn not_found_by_ip(seq: u64) -> String {
    format!("entry {seq} is not found by its source address")
}
