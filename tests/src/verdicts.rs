//! What programs that verify say of a signed report.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::runtime_api::build_directory;
use crate::{Stack, stack};

/// A folder that is removed with its files.
pub struct Folder(PathBuf);

impl Folder {
    /// A folder below the build's; `name` is unique among tests that run.
    pub fn new(name: &str) -> Self {
        let folder = stack::root().join("target/tmp").join(name);
        std::fs::create_dir_all(&folder).expect("the build's folder can be written");
        Self(folder)
    }

    /// Writes a file.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("the folder can be written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What poppler says of the signature.
pub fn pdfsig(file: &Path) -> String {
    let run = Command::new("pdfsig").arg("-nocert").arg(file).output();
    let run = run.expect("pdfsig is needed: install poppler-utils");
    String::from_utf8_lossy(&run.stdout).into_owned()
}

/// What pyHanko says of the signature, with the local root as trust anchor.
pub fn pyhanko(stack: &Stack, file: &Path) -> String {
    let run = Command::new(stack.value("PYHANKO"))
        .args(["sign", "validate", "--trust", stack.value("ROOT_CA")])
        .arg(file)
        .output();
    let run = run.expect("pyHanko is needed: `make test` installs it");
    String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned()
}

/// Exit code and words of our own offline verifier.
pub fn keystone_verify(arguments: &[&str]) -> (Option<i32>, String) {
    let program = build_directory().join("keystone-verify");
    let run = Command::new(program).args(arguments).output();
    let run = run.expect("keystone-verify is built with the functions");
    let words = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    (run.status.code(), words)
}

/// The text on the pages, as poppler reads it.
pub fn pdftotext(file: &Path) -> String {
    let run = Command::new("pdftotext").arg("-layout").arg(file).arg("-").output();
    let run = run.expect("pdftotext is needed: install poppler-utils");
    String::from_utf8_lossy(&run.stdout).into_owned()
}
