//! Checking a stored audit trail against itself and its signed checkpoints,
//! entry by entry, in memory for one page and the tree's edge.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use keystone::audit::chain::{Chain, Link};
use keystone::audit::merkle::{Hash, TreeHead};
use keystone::audit::note::VerifierKey;
use keystone::crypto::Subject;
use keystone::tenant::{EntryParts, SignedCheckpoint, StoredEntry};

use crate::archive::{Holdings, Step};
use crate::stored::{faults, not_found_by_ip, unrecorded_erasure};

/// Findings that are kept in words; more are counted.
const MOST_FINDINGS: usize = 100;

/// A checkpoint is archived as soon as it is signed, by a run of 15 minutes at
/// most that tells its beginning.
const SIGNED_WITHIN: SignedDuration = SignedDuration::from_mins(20);

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The first ones in words.
    pub named: Vec<String>,
    /// How many there are.
    pub count: u64,
}

impl Findings {
    /// The one finding that nothing else can be compared with.
    pub fn only(finding: String) -> Self {
        Self { named: vec![finding], count: 1 }
    }

    fn add(&mut self, finding: String) {
        self.count += 1;
        if self.named.len() < MOST_FINDINGS {
            self.named.push(finding);
        }
    }
}

/// The check of one tenant's trail. Entries and checkpoints are fed in the
/// order of the trail.
pub struct Check<'k> {
    tenant: String,
    keys: &'k [VerifierKey],
    tree: TreeHead,
    /// Whether an entry is missing, so that roots can no longer be compared.
    broken: bool,
    next: u64,
    chain: Chain,
    checkpoints: u64,
    findings: Findings,
}

impl<'k> Check<'k> {
    /// Begins at the first entry.
    pub fn new(tenant: &str, keys: &'k [VerifierKey]) -> Self {
        Self {
            tenant: tenant.to_owned(),
            keys,
            tree: TreeHead::empty(),
            broken: false,
            next: 0,
            chain: Chain::default(),
            checkpoints: 0,
            findings: Findings::default(),
        }
    }

    /// Entries checked so far.
    pub fn entries(&self) -> u64 {
        self.next
    }

    /// Checkpoints checked so far.
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// The next stored entry; `erased` are the subjects of whom an erasure is
    /// recorded.
    pub fn entry(&mut self, stored: &StoredEntry, erased: &HashSet<Subject>) {
        if stored.seq > self.next {
            let (from, to) = (self.next, stored.seq - 1);
            let which = if from == to {
                format!("entry {from} is")
            } else {
                format!("entries {from} to {to} are")
            };
            self.findings.add(format!("{which} missing; the tree is not checked beyond"));
            self.broken = true;
        }
        self.next = stored.seq + 1;
        match &stored.parts {
            Ok(parts) => self.parts(stored.seq, parts, erased),
            Err(why) => {
                self.findings.add(format!("entry {} cannot be read: {why}", stored.seq));
                self.broken = true;
            }
        }
    }

    fn parts(&mut self, seq: u64, parts: &EntryParts, erased: &HashSet<Subject>) {
        for fault in faults(&self.tenant, seq, parts) {
            self.findings.add(fault);
        }
        for subject in &parts.erased {
            if !erased.contains(subject) {
                self.findings.add(unrecorded_erasure(seq, *subject));
            }
        }
        if !parts.found_by_ip {
            self.findings.add(not_found_by_ip(seq));
        }
        // On with the recorded leaf, so that one changed entry is one finding;
        // whether the record itself was changed, a signed root tells.
        let nodes = self.tree.append(parts.leaf);
        if !self.broken && nodes != parts.nodes {
            self.findings.add(format!("the tree hashes recorded with entry {seq} are not its own"));
        }
    }

    /// A stored checkpoint of as many entries as were fed, and when it was
    /// archived. One that does not follow is one finding: those after it are held
    /// against it.
    pub fn checkpoint(&mut self, signed: &SignedCheckpoint, archived_at: Option<Timestamp>) {
        self.checkpoints += 1;
        let mut opened = self.chain.add(&signed.link, self.keys).cloned();
        if let Err(fault) = opened {
            self.findings.add(format!("the checkpoint of {} entries: {fault}", signed.size));
            let mut anew = Chain::default();
            opened = anew.add(&signed.link, self.keys).cloned();
            if opened.is_ok() {
                self.chain = anew;
            }
        }
        if let Ok(checkpoint) = opened {
            let (size, root) = (checkpoint.size, checkpoint.root);
            if size != signed.size {
                let of = signed.size;
                self.findings.add(format!("the checkpoint stored for {of} entries signs {size}"));
            }
            self.root("stored", size, root);
        }
        let apart = archived_at.map(|archived| signed.at.duration_since(archived).abs());
        if let Some(archived) = archived_at.filter(|_| apart > Some(SIGNED_WITHIN)) {
            self.findings.add(format!(
                "the checkpoint of {} entries is stored as of {}, and was archived at {archived}",
                signed.size, signed.at
            ));
        }
    }

    /// The newest archived checkpoint, which nobody can have replaced.
    pub fn archived(&mut self, link: &Link) {
        match link.open(self.keys) {
            Ok(checkpoint) => self.root("archived", checkpoint.size, checkpoint.root),
            Err(fault) => self.findings.add(format!("the newest archived checkpoint: {fault}")),
        }
    }

    fn root(&mut self, source: &str, size: u64, signed: Hash) {
        if size != self.next {
            let there = self.next;
            self.findings.add(format!(
                "a checkpoint of {size} entries is {source}, but there are {there}: \
                 entries were removed after it was signed"
            ));
        } else if !self.broken && self.tree.root() != signed {
            self.findings.add(format!(
                "the {source} checkpoint of {size} entries signs the root {signed}, but the \
                 entries give {}: some below {size} were changed after it was signed",
                self.tree.root()
            ));
        }
    }

    /// An archived checkpoint that the store does not have.
    pub fn lost_checkpoint(&mut self, step: Step) {
        self.findings.add(format!("the checkpoint that follows {step} is archived but not stored"));
    }

    /// A stored checkpoint of a time that a restore of the database is said to have
    /// undone.
    pub fn not_undone(&mut self, size: u64) {
        self.findings.add(format!(
            "the checkpoint of {size} entries is of a time that a restore is said to have undone"
        ));
    }

    /// What the archive says was done to its checkpoints, which nobody may do.
    pub fn holdings(&mut self, holdings: &Holdings) {
        for (these, what) in [
            (&holdings.hidden, "is hidden behind a delete marker"),
            (&holdings.replaced, "has another version put over it"),
        ] {
            for step in these {
                self.findings.add(format!("the archived checkpoint that follows {step} {what}"));
            }
        }
    }

    /// The newest archived checkpoint, which cannot be read.
    pub fn no_archived(&mut self, why: &str) {
        self.findings.add(format!("the newest archived checkpoint cannot be read: {why}"));
    }

    /// Stored checkpoints that cannot be read; those after them were not.
    pub fn no_checkpoint(&mut self, why: &str) {
        self.findings.add(format!("a stored checkpoint cannot be read: {why}"));
    }

    /// What stands among `count` documents without the number of an entry; `more`
    /// when there may be others. Of documents with one there can be no more than
    /// `head` counts, which was read after them.
    pub fn documents(&mut self, count: u64, misplaced: &[String], more: bool, head: &TreeHead) {
        for id in misplaced {
            self.findings.add(format!("{id} stands among the entries and is no number of one"));
        }
        let numbered = count.saturating_sub(misplaced.len() as u64);
        if numbered > head.size() && !more {
            let says = head.size();
            self.findings.add(format!(
                "{numbered} documents stand among the entries, of which the head counts {says}"
            ));
        }
    }

    /// An entry beyond the head that was read after it.
    pub fn beyond(&mut self, seq: u64, head: &TreeHead) {
        let says = head.size();
        self.findings.add(format!("entry {seq} lies beyond the head, which counts {says} entries"));
    }

    /// The end of the trail, against the head that was read before.
    pub fn finish(mut self, head: &TreeHead) -> Findings {
        if self.next < head.size() {
            let (from, to) = (self.next, head.size() - 1);
            self.findings.add(format!("entries {from} to {to} are missing at the end"));
        } else if !self.broken && *head != self.tree {
            self.findings.add(format!(
                "the head has the root {}, but the entries give {}",
                head.root(),
                self.tree.root()
            ));
        }
        self.findings
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use keystone::audit::checkpoint::Checkpoint;
    use keystone::audit::delta::delta;
    use keystone::audit::entry::{Actor, ActorKind, Draft, Outcome, Resource};
    use keystone::audit::merkle::consistency_proof;
    use keystone::tenant::Id;
    use serde_json::json;

    use super::*;

    const USER: Subject = Subject::User(Id::from_u128(1));
    const CUSTOMER: Subject = Subject::Customer(Id::from_u128(2));

    /// An entry of a user who changed a resource: the user's address, and the
    /// resource's e-mail address at `pointer`. Nothing is removed yet.
    fn entry(kind: &str, pointer: &str) -> EntryParts {
        let mut after = json!({ "email": "a@example.com" });
        if pointer.starts_with("/contacts") {
            after = json!({ "contacts": { "primary": after } });
        }
        let draft = Draft {
            id: Id::from_u128(3).uuid(),
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            tenant_id: "acme".into(),
            actor: Actor {
                kind: ActorKind::User,
                id: Id::from_u128(1).to_string(),
                role: None,
                session: None,
            },
            action: format!("{kind}.update"),
            resource: Resource { kind: kind.into(), id: Id::from_u128(2).to_string() },
            delta: delta(None, Some(&after), &[pointer]).unwrap(),
            source_ip: Some("192.0.2.1".parse().unwrap()),
            user_agent: None,
            request_id: "r".into(),
            outcome: Outcome::Success,
        };
        let at = draft.at;
        let (entry, personal) = draft.seal(0, || Ok([7; 32])).unwrap();
        let leaf = entry.leaf_hash().unwrap();
        let nodes = TreeHead::empty().append(leaf);
        let (at, erased) = (Some(at), Vec::new());
        EntryParts { entry, at, leaf, nodes, personal, erased, found_by_ip: true }
    }

    fn found(parts: EntryParts, recorded: &[Subject]) -> Vec<String> {
        let mut check = Check::new("acme", &[]);
        let stored = StoredEntry { seq: 0, parts: Ok(parts) };
        check.entry(&stored, &recorded.iter().copied().collect());
        check.findings.named
    }

    #[test]
    fn only_what_is_of_the_erased_may_be_missing() {
        let everybody = [USER, CUSTOMER];
        assert_eq!(found(entry("customer", "/email"), &everybody), [""; 0]);

        // The actor was erased: the address may be missing, the customer's not.
        let mut parts = entry("customer", "/email");
        parts.personal.remove("/source_ip");
        parts.erased = vec![USER];
        assert_eq!(found(parts, &everybody), [""; 0]);
        let mut parts = entry("customer", "/email");
        parts.personal.clear();
        parts.erased = vec![USER];
        let named = found(parts, &everybody);
        assert!(named.len() == 1 && named[0].contains("/delta/0/value of entry 0"), "{named:?}");
        let mut parts = entry("customer", "/email");
        parts.personal.clear();
        parts.erased = vec![USER, CUSTOMER];
        assert_eq!(found(parts, &everybody), [""; 0]);

        // Of what is the tenant's nothing may be, but what a contact's is.
        for (pointer, findings) in [("/email", 1), ("/contacts/primary/email", 0)] {
            let mut parts = entry("settings", pointer);
            parts.personal.clear();
            parts.erased = vec![USER];
            assert_eq!(found(parts, &everybody).len(), findings, "{pointer}");
        }
    }

    #[test]
    fn what_was_done_to_the_archive_is_found() {
        let mut check = Check::new("acme", &[]);
        let step = |previous| Step { generation: 1, previous };
        let extended = [0, 4, 9].map(|previous| (step(previous), Timestamp::UNIX_EPOCH)).into();
        check.holdings(&Holdings { extended, ..Holdings::default() });
        assert_eq!(check.findings.count, 0);
        check.holdings(&Holdings {
            hidden: [step(4)].into(),
            replaced: [step(9)].into(),
            ..Holdings::default()
        });
        let named = &check.findings.named;
        assert!(named[0].contains("of 4 entries is hidden behind a delete marker"), "{named:?}");
        assert!(named[1].contains("of 9 entries has another version"), "{named:?}");
    }

    const ORIGIN: &str = "keystone.example/audit/acme";

    fn signer() -> (Ed25519KeyPair, VerifierKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
        let key = VerifierKey::new(ORIGIN, pair.public_key().as_ref().try_into().unwrap()).unwrap();
        (pair, key)
    }

    /// The entries of a trail and its checkpoint after every second of them.
    fn trail(size: u64) -> (Vec<EntryParts>, Vec<SignedCheckpoint>) {
        let (pair, key) = signer();
        let (mut tree, mut leaves) = (TreeHead::empty(), Vec::new());
        let (mut entries, mut checkpoints) = (Vec::new(), Vec::new());
        for seq in 0..size {
            let mut parts = entry("customer", "/email");
            parts.entry.seq = seq;
            parts.leaf = parts.entry.leaf_hash().unwrap();
            parts.nodes = tree.append(parts.leaf);
            leaves.push(parts.leaf);
            entries.push(parts);
            if seq % 2 == 1 {
                let (size, root) = (tree.size(), tree.root());
                let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root };
                let signature = pair.sign(checkpoint.text().as_bytes());
                let note = checkpoint.sign(&key, signature.as_ref()).unwrap();
                let proof = consistency_proof(&leaves, size - 2, size).unwrap();
                let link = Link::new(note, size - 2, proof);
                checkpoints.push(SignedCheckpoint { size, at: Timestamp::UNIX_EPOCH, link });
            }
        }
        (entries, checkpoints)
    }

    fn found_in(
        entries: Vec<EntryParts>,
        checkpoints: &[SignedCheckpoint],
        archived_at: Timestamp,
    ) -> Vec<String> {
        let keys = [signer().1];
        let mut check = Check::new("acme", &keys);
        for (seq, parts) in (0..).zip(entries) {
            for signed in checkpoints.iter().filter(|signed| signed.size == seq) {
                check.checkpoint(signed, Some(archived_at));
            }
            check.entry(&StoredEntry { seq, parts: Ok(parts) }, &HashSet::new());
        }
        check.findings.named
    }

    #[test]
    fn a_checkpoint_that_is_missing_is_one_finding() {
        let at = Timestamp::UNIX_EPOCH;
        let (entries, checkpoints) = trail(21);
        assert_eq!(found_in(entries, &checkpoints, at), [""; 0]);
        let (entries, mut checkpoints) = trail(21);
        checkpoints.remove(1);
        let finding = "the checkpoint of 6 entries: the checkpoint of 6 entries extends one of \
                       4, but the one before has 2";
        assert_eq!(found_in(entries, &checkpoints, at), [finding]);
        // What follows is still held against the entries.
        let (mut entries, mut checkpoints) = trail(21);
        checkpoints.remove(1);
        let last = entries.len() - 2;
        entries[last].entry.action = "customer.delete".into();
        entries[last].leaf = entries[last].entry.leaf_hash().unwrap();
        let named = found_in(entries, &checkpoints, at);
        assert!(named[0].contains("extends one of 4"), "{named:?}");
        let changed = "the stored checkpoint of 20 entries signs the root";
        assert!(named.iter().any(|finding| finding.starts_with(changed)), "{named:?}");
    }

    #[test]
    fn a_checkpoint_was_archived_when_it_was_signed() {
        let within = Timestamp::UNIX_EPOCH + SIGNED_WITHIN;
        let (entries, checkpoints) = trail(3);
        assert_eq!(found_in(entries, &checkpoints, within), [""; 0]);
        let (entries, checkpoints) = trail(3);
        let later = within + SignedDuration::from_secs(1);
        let finding = "the checkpoint of 2 entries is stored as of 1970-01-01T00:00:00Z, and was \
                       archived at 1970-01-01T00:20:01Z";
        assert_eq!(found_in(entries, &checkpoints, later), [finding]);
    }

    #[test]
    fn documents_that_no_read_comes_by_are_found() {
        let mut head = TreeHead::empty();
        head.append(Hash::of(&[b"0"]));
        let found = |count, misplaced: &[&str]| {
            let mut check = Check::new("acme", &[]);
            let misplaced: Vec<String> = misplaced.iter().map(|id| (*id).to_owned()).collect();
            check.documents(count, &misplaced, false, &head);
            check.findings.named
        };
        assert_eq!(found(1, &[]), [""; 0]);
        assert_eq!(found(2, &["-1"]), ["-1 stands among the entries and is no number of one"]);
        let surplus = "2 documents stand among the entries, of which the head counts 1";
        assert_eq!(found(2, &[]), [surplus]);
        assert_eq!(found(3, &["-1"]).last().unwrap(), surplus);
    }

    #[test]
    fn who_is_erased_is_on_record() {
        let mut parts = entry("customer", "/email");
        parts.personal.remove("/source_ip");
        parts.erased = vec![USER];
        let named = found(parts, &[CUSTOMER]);
        assert!(named.len() == 1 && named[0].contains("no erasure is recorded"), "{named:?}");
    }
}
