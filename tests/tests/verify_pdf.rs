//! `keystone-verify pdf` on reports signed by the deployed key: an untouched one
//! holds, and whatever is changed, added or exchanged is named.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_sdk_kms::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use keystone::audit::bundle::{Header, Writer};
use keystone::audit::checkpoint::Checkpoint;
use keystone::audit::delta::delta;
use keystone::audit::entry::{Actor, ActorKind, Draft, Outcome, Resource};
use keystone::audit::merkle::TreeHead;
use keystone::audit::note::VerifierKey;
use keystone::{clock, random};
use keystone_report::pades::{CertificateChain, prepare};
use keystone_tests::Stack;
use keystone_tests::stack::root;
use lopdf::{Document, Object, Stream, dictionary};

const ORIGIN: &str = "keystone.example/audit/acme";

/// A bundle of three entries, and the key of its checkpoint.
fn bundle() -> (Vec<u8>, VerifierKey) {
    let mut tree = TreeHead::empty();
    let entries: Vec<_> = (0..3)
        .map(|seq| {
            let draft = Draft {
                id: "0197c1f0-0000-7000-8000-000000000001".parse().unwrap(),
                at: clock::now(),
                tenant_id: "acme".into(),
                actor: Actor { kind: ActorKind::Job, id: "j".into(), role: None, session: None },
                action: "batch.create".into(),
                resource: Resource { kind: "batch".into(), id: format!("b-{seq}") },
                delta: delta(None, Some(&serde_json::json!({ "lot": "L-1" })), &[]).unwrap(),
                source_ip: None,
                user_agent: None,
                request_id: "r".into(),
                outcome: Outcome::Success,
            };
            let (entry, personal) = draft.seal(seq, random::bytes::<32>).unwrap();
            let leaf = entry.leaf_hash().unwrap();
            tree.append(leaf);
            (entry, leaf, personal)
        })
        .collect();
    let pair = Ed25519KeyPair::from_seed_unchecked(&random::bytes::<32>().unwrap()).unwrap();
    let key = VerifierKey::new(ORIGIN, pair.public_key().as_ref().try_into().unwrap()).unwrap();
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: tree.size(), root: tree.root() };
    let note = checkpoint.sign(&key, pair.sign(checkpoint.text().as_bytes()).as_ref()).unwrap();
    let header = Header::new("acme", note, None, clock::now());
    let mut writer = Writer::new(Vec::new(), &header, tree.size()).unwrap();
    for (entry, leaf, personal) in &entries {
        writer.entry(entry, leaf, personal).unwrap();
    }
    (writer.finish().unwrap(), key)
}

/// One empty page with attachments.
fn pdf(attachments: &[(&str, &[u8])]) -> Vec<u8> {
    let mut document = Document::with_version("1.7");
    let pages = document.new_object_id();
    let page = document.add_object(dictionary! {
        "Type" => "Page",
        "Parent" => pages,
        "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
    });
    let tree = dictionary! { "Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1 };
    document.objects.insert(pages, Object::Dictionary(tree));
    let mut files = Vec::new();
    for (name, bytes) in attachments {
        let embedded = dictionary! { "Type" => "EmbeddedFile" };
        let stream = document.add_object(Stream::new(embedded, bytes.to_vec()));
        files.push(document.add_object(dictionary! {
            "Type" => "Filespec",
            "F" => Object::string_literal(*name),
            "UF" => Object::string_literal(*name),
            "EF" => dictionary! { "F" => stream },
        }));
    }
    let files: Vec<Object> = files.into_iter().map(Object::from).collect();
    let catalog =
        document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages, "AF" => files });
    document.trailer.set("Root", catalog);
    let id = Object::string_literal("0123456789abcdef");
    document.trailer.set("ID", vec![id.clone(), id]);
    let mut out = Vec::new();
    document.save_to(&mut out).unwrap();
    out
}

/// The PDF, signed by the key of the deployed stack.
async fn sign(stack: &Stack, pdf: Vec<u8>) -> Vec<u8> {
    let secret = format!("{}/report-certificate", stack.value("STACK_NAME"));
    let secret: serde_json::Value =
        serde_json::from_str(&stack.aws().secret(&secret).await).unwrap();
    let chain = CertificateChain::from_pem(secret["chain"].as_str().unwrap()).unwrap();
    let (id, key) = (stack.value("AWS_ACCESS_KEY_ID"), stack.value("AWS_SECRET_ACCESS_KEY"));
    let kms = aws_sdk_kms::Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(stack.value("AWS_REGION").to_owned()))
            .endpoint_url(stack.value("AWS_ENDPOINT_URL"))
            .credentials_provider(Credentials::new(id, key, None, None, "operator"))
            .build(),
    );
    let prepared = prepare(pdf, &chain, "Audit report", clock::now()).unwrap();
    let signed = kms
        .sign()
        .key_id(stack.value("REPORT_SIGNING_KEY"))
        .message_type(MessageType::Digest)
        .message(Blob::new(prepared.digest().to_vec()))
        .signing_algorithm(SigningAlgorithmSpec::RsassaPkcs1V15Sha256)
        .send()
        .await
        .unwrap();
    prepared.finish(signed.signature.unwrap().as_ref()).unwrap()
}

fn verify(pdf: &[u8], ca: &Path, key: &VerifierKey, more: &[&str]) -> (i32, String) {
    let name = u64::from_be_bytes(random::bytes().unwrap());
    let file: PathBuf = std::env::temp_dir().join(format!("{name:016x}.pdf"));
    std::fs::write(&file, pdf).unwrap();
    let run = Command::new(root().join("target/debug/keystone-verify"))
        .arg("pdf")
        .arg(&file)
        .arg("--root")
        .arg(ca)
        .args(["--vkey", &key.to_string()])
        .args(more)
        .env_clear()
        .output()
        .unwrap();
    std::fs::remove_file(&file).unwrap();
    (run.status.code().unwrap(), String::from_utf8(run.stdout).unwrap())
}

/// Overwrites the first occurrence of `from`.
fn doctored(pdf: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = pdf.windows(from.len()).position(|window| window == from).unwrap();
    let mut changed = pdf.to_vec();
    changed[at..at + to.len()].copy_from_slice(to);
    changed
}

#[tokio::test]
async fn a_signed_report_is_verified_to_its_last_byte() {
    let stack = Stack::load();
    let ca = PathBuf::from(stack.value("ROOT_CA"));
    let (bundle, key) = bundle();
    let signed = sign(&stack, pdf(&[("bundle.jsonl", &bundle), ("other.txt", b"other")])).await;
    let (code, said) = verify(&signed, &ca, &key, &[]);
    assert!(code == 0 && said.starts_with("VERIFIED: signed report with 3 of 3 entries"), "{said}");
    assert!(said.contains("covers every byte") && said.contains("Keystone Root CA"), "{said}");

    // By no other certificate than the one that it names.
    let certificate = said.split_once("SHA-256 of the certificate ").unwrap().1.get(..64).unwrap();
    assert_eq!(verify(&signed, &ca, &key, &["--signer", certificate]).0, 0);
    let (code, said) = verify(&signed, &ca, &key, &["--signer", &"0".repeat(64)]);
    assert!(code == 1 && said.contains("another certificate signed"), "{said}");

    let refused = |pdf: &[u8], ca: &Path, key: &VerifierKey, reason: &str| {
        let (code, said) = verify(pdf, ca, key, &[]);
        assert!(code == 1 && said.contains(reason), "wanted: {reason}\nsaid: {said}");
    };
    let changed = "the document was changed after it was signed";
    refused(&doctored(&signed, b"batch.create", b"batch.delete"), &ca, &key, changed);
    refused(&doctored(&signed, b"0 0 595 842", b"0 0 495 842"), &ca, &key, changed);
    refused(&doctored(&signed, b"(Audit report)", b"(Audit retort)"), &ca, &key, changed);
    let mut longer = signed.clone();
    longer.extend_from_slice(b"\n% more\n");
    refused(&longer, &ca, &key, "does not cover the whole file");
    refused(&pdf(&[("bundle.jsonl", &bundle)]), &ca, &key, "the PDF is not signed");

    // Well signed, but not what it should carry.
    let without = sign(&stack, pdf(&[("other.txt", b"other")])).await;
    refused(&without, &ca, &key, "no bundle.jsonl is attached");
    let twice = sign(&stack, pdf(&[("bundle.jsonl", &bundle), ("bundle.jsonl", b"")])).await;
    refused(&twice, &ca, &key, "several bundle.jsonl");
    let forged = String::from_utf8(bundle.clone()).unwrap().replacen("b-1", "b-9", 1);
    let forged = sign(&stack, pdf(&[("bundle.jsonl", forged.as_bytes())])).await;
    refused(&forged, &ca, &key, "entry 1 was changed");

    // By a key or under a root that the auditor does not trust.
    let (_, other_key) = self::bundle();
    refused(&signed, &ca, &other_key, "none of the given keys signed");
    let other_ca = std::env::temp_dir().join("keystone-other-root.pem");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-keyout", "/dev/null", "-days", "1", "-subj"])
        .arg("/CN=Keystone Root CA (local stack)")
        .arg("-out")
        .arg(&other_ca)
        .output()
        .unwrap();
    assert!(made.status.success());
    refused(&signed, &other_ca, &key, "does not lead to the given root");
}
