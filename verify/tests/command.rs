//! The program as an auditor runs it: exit codes, what it prints, and that it
//! needs neither a network nor anything beside the files that it is given.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use keystone_log::bundle::{Header, Writer};
use keystone_log::checkpoint::Checkpoint;
use keystone_log::entry::{Actor, ActorKind, Draft, Outcome, Resource};
use keystone_log::merkle::TreeHead;
use keystone_log::note::VerifierKey;

const PROGRAM: &str = env!("CARGO_BIN_EXE_keystone-verify");
const ORIGIN: &str = "keystone.example/audit/acme";

/// An empty folder that is removed with its files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), content).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.0).unwrap();
        let name = |file: std::fs::DirEntry| file.file_name().into_string().unwrap();
        let mut names: Vec<String> = files.map(|file| name(file.unwrap())).collect();
        names.sort();
        names
    }

    /// Exit code and words of `program` in this folder, with no environment.
    fn run(&self, program: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let mut run = Command::new(program);
        run.args(arguments).current_dir(&self.0).env_clear().env("PATH", "/usr/bin:/bin");
        let done = run.output().unwrap();
        (done.status.code(), String::from_utf8([done.stdout, done.stderr].concat()).unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A bundle of two entries, and the key of its checkpoint.
fn bundle() -> (String, String) {
    let mut tree = TreeHead::empty();
    let entries: Vec<_> = (0..2)
        .map(|seq| {
            let draft = Draft {
                id: uuid::Uuid::from_u128(1),
                at: "2026-01-02T03:04:05Z".parse().unwrap(),
                tenant_id: "acme".into(),
                actor: Actor { kind: ActorKind::Job, id: "j".into(), role: None, session: None },
                action: "batch.create".into(),
                resource: Resource { kind: "batch".into(), id: "b".into() },
                delta: Vec::new(),
                source_ip: Some("192.0.2.7".parse().unwrap()),
                user_agent: None,
                request_id: "r".into(),
                outcome: Outcome::Success,
            };
            let (entry, personal) = draft.seal(seq, || Ok([7; 32])).unwrap();
            let leaf = entry.leaf_hash().unwrap();
            tree.append(leaf);
            (entry, leaf, personal)
        })
        .collect();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let key = VerifierKey::new(ORIGIN, pair.public_key().as_ref().try_into().unwrap()).unwrap();
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: 2, root: tree.root() };
    let signature = pair.sign(checkpoint.text().as_bytes());
    let note = checkpoint.sign(&key, signature.as_ref()).unwrap();
    let header = Header::new("acme", note, None, "2026-01-02T03:04:06Z".parse().unwrap());
    let mut writer = Writer::new(Vec::new(), &header, 2).unwrap();
    for (entry, leaf, personal) in &entries {
        writer.entry(entry, leaf, personal).unwrap();
    }
    (String::from_utf8(writer.finish().unwrap()).unwrap(), key.to_string())
}

#[test]
fn it_needs_no_network_and_nothing_but_the_files() {
    let folder = Folder::new("isolated");
    let isolated = |arguments: &[&str]| folder.run("unshare", &[&["-rn"][..], arguments].concat());
    let allowed = Command::new("unshare").args(["-rn", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("SKIPPED: unshare may not make a namespace without a network here");
        return;
    }
    let (_, interfaces) = isolated(&["cat", "/proc/net/dev"]);
    let names = interfaces.lines().filter_map(|line| line.split_once(':'));
    assert!(names.clone().count() == 1 && names.clone().all(|(name, _)| name.trim() == "lo"));

    let (genuine, key) = bundle();
    folder.file("genuine.jsonl", &genuine);
    folder.file("doctored.jsonl", genuine.replacen("batch.create", "batch.delete", 1));
    let (code, said) = isolated(&[PROGRAM, "bundle", "genuine.jsonl", "--vkey", &key]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("VERIFIED: 2 of 2 entries, all of the audit trail of acme"), "{said}");
    let (code, said) = isolated(&[PROGRAM, "bundle", "doctored.jsonl", "--vkey", &key]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("NOT VERIFIED: line 2: entry 0 was changed"), "{said}");
    assert_eq!(folder.names(), ["doctored.jsonl", "genuine.jsonl"], "it leaves nothing");
}

#[test]
fn a_doctored_file_paints_no_verdict() {
    let folder = Folder::new("painted");
    let (genuine, key) = bundle();
    let painted = "\\u001b[2J\\u001b[HVERIFIED: all of it\\n\u{9b}8m\u{202e}";
    let tenant = genuine.replacen("\"tenant\":\"acme\"", &format!("\"tenant\":\"{painted}\""), 1);
    let action = genuine.replacen("batch.create", &format!("batch.{painted}"), 1);
    let member = genuine.replacen("\"tenant\":", &format!("\"{painted}\":1,\"tenant\":"), 1);
    for (name, doctored) in [("tenant", tenant), ("action", action), ("member", member)] {
        assert_ne!(doctored, genuine, "{name}");
        let name = format!("{name}\u{1b}[2J");
        folder.file(&name, doctored);
        for command in ["bundle", "proof", "checkpoints"] {
            let (code, said) = folder.run(PROGRAM, &[command, &name, "--vkey", &key]);
            assert_eq!(code, Some(1), "{command} {name:?}: {said}");
            assert!(said.starts_with("NOT VERIFIED: "), "{command} {name:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{command} {name:?}: {said}");
            let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!said.contains(obeyed), "{command} {name:?}: {said:?}");
        }
    }
}

#[test]
fn exit_codes_are_the_same_for_every_command() {
    let folder = Folder::new("codes");
    let (_, key) = bundle();
    folder.file("bytes", [b'{', 0xff, b'}', b'\n']);
    for command in ["bundle", "proof", "checkpoints"] {
        let (code, said) = folder.run(PROGRAM, &[command, "bytes", "--vkey", &key]);
        assert_eq!(code, Some(1), "{command}: {said}");
        assert!(said.contains("is not UTF-8 text"), "{command}: {said}");
        let (code, said) = folder.run(PROGRAM, &[command, "absent", "--vkey", &key]);
        assert_eq!(code, Some(2), "{command}: {said}");
        assert!(said.starts_with("NOTHING CHECKED: absent cannot be read"), "{command}: {said}");
        let (code, _) = folder.run(PROGRAM, &[command, "bytes"]);
        assert_eq!(code, Some(2), "{command} without a key");
    }
    let (code, said) = folder.run(PROGRAM, &["--help"]);
    assert!(code == Some(0) && said.contains("Exit codes:\n  0  verified"), "{said}");
}
