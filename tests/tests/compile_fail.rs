//! What must not compile does not.
//!
//! Each file of `compile-fail/` marks the lines that are wrong with the error
//! that the compiler must give there, `//~ E0451`, and has no other error. The
//! compiler is called directly against the libraries that cargo has built
//! already; a project of its own would build every dependency anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use keystone_tests::stack;
use serde_json::Value;

/// Crates that the cases use.
const CRATES: [&str; 4] = ["keystone", "keystone_traceability", "serde_json", "tracing"];

/// A line with what is wrong there.
type Errors = BTreeSet<(u64, String)>;

#[test]
fn mistakes_do_not_compile() {
    let libraries = libraries();
    let folder = stack::root().join("tests/compile-fail");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 10, "the cases are there");
    let mut wrong = Vec::new();
    for case in cases {
        let (expected, (found, messages)) = (marked(&case), compile(&case, &libraries));
        // The one file without a mark shows that the cases can compile.
        let control = case.ends_with("control.rs");
        if expected != found || expected.is_empty() != control {
            let name = case.file_name().unwrap().display();
            wrong.push(format!("{name}: expected {expected:?}, found {found:?}\n{messages}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The marks of a case.
fn marked(case: &Path) -> Errors {
    let text = std::fs::read_to_string(case).unwrap();
    (1..)
        .zip(text.lines())
        .filter_map(|(line, text)| Some((line, text.split_once("//~ ")?.1)))
        .flat_map(|(line, codes)| codes.split(", ").map(move |code| (line, code.to_owned())))
        .collect()
}

/// The errors in a case, and the compiler's messages.
fn compile(case: &Path, libraries: &[(String, PathBuf)]) -> (Errors, String) {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--error-format=json"]);
    rustc.arg("--out-dir").arg(env!("CARGO_TARGET_TMPDIR"));
    for (name, library) in libraries {
        rustc.arg("--extern").arg(format!("{name}={}", library.display()));
        rustc.arg("-L").arg(format!("dependency={}", library.parent().unwrap().display()));
    }
    let run = rustc.arg(case).output().unwrap();
    let mut errors = Errors::new();
    let mut messages = String::new();
    for line in String::from_utf8_lossy(&run.stderr).lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_default();
        if message["level"] != "error" {
            continue;
        }
        messages.push_str(message["rendered"].as_str().unwrap_or_default());
        // A message without a place only counts the errors.
        if let Some(line) = line_of(&message) {
            let code = message["code"]["code"].as_str().unwrap_or("without code");
            errors.insert((line, code.to_owned()));
        }
    }
    (errors, messages)
}

/// The line of the case that a message is about, also when a macro of another
/// file stands there.
fn line_of(message: &Value) -> Option<u64> {
    let mut span = message["spans"].as_array()?.iter().find(|span| span["is_primary"] == true)?;
    while span["expansion"].is_object() {
        span = &span["expansion"]["span"];
    }
    span["line_start"].as_u64()
}

/// The libraries of the build that `make run` made; cargo says where they are
/// and does nothing when they are fresh.
fn libraries() -> Vec<(String, PathBuf)> {
    let cargo = Command::new(env!("CARGO"))
        .args(["build", "--workspace", "--bins", "--locked", "--message-format=json"])
        .current_dir(stack::root())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let mut libraries = Vec::new();
    for line in String::from_utf8_lossy(&cargo.stdout).lines() {
        let artifact: Value = serde_json::from_str(line).unwrap();
        let name = artifact["target"]["name"].as_str().unwrap_or_default().replace('-', "_");
        let files = artifact["filenames"].as_array().into_iter().flatten();
        let library = files
            .filter_map(|file| file.as_str().map(PathBuf::from))
            .find(|file| file.extension().is_some_and(|extension| extension == "rlib"));
        if let Some(library) = library.filter(|_| CRATES.contains(&name.as_str())) {
            libraries.push((name, library));
        }
    }
    assert_eq!(libraries.len(), CRATES.len(), "{libraries:?}");
    libraries
}
