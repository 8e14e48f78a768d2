//! `keystone-verify`: checks audit exports, proofs and checkpoints of Keystone
//! on a machine that has nothing else of Keystone and no network.

mod args;
mod bundle;
mod chain;
mod coverage;
mod pdf;
mod proof;

use std::io::Write;
use std::process::ExitCode;

use args::{Args, Command};

/// What a run found: what was checked, what it could not check.
pub(crate) struct Report {
    /// In a few words, what is verified.
    pub(crate) verdict: String,
    /// What was checked, a sentence each.
    pub(crate) checked: Vec<String>,
    /// What these files cannot show, a sentence each.
    pub(crate) unchecked: Vec<String>,
}

/// Why a run ends without a report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What is claimed does not hold. Exit code 1.
    #[error("{0}")]
    Refused(String),
    /// Nothing could be checked. Exit code 2.
    #[error("{0}")]
    Unusable(String),
}

impl Failure {
    pub(crate) fn refused(why: impl std::fmt::Display) -> Self {
        Self::Refused(why.to_string())
    }

    /// The same, saying of which of several files it is.
    pub(crate) fn of(self, file: &str, files: &[String]) -> Self {
        match self {
            Self::Refused(why) if files.len() > 1 => Self::Refused(format!("{file}: {why}")),
            other => other,
        }
    }

    pub(crate) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        Self::Unusable(format!("{file} cannot be read: {error}"))
    }
}

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let outcome = Args::parse(std::env::args().skip(1)).and_then(|args| match &args.command {
        Command::Help => Ok(None),
        Command::Bundle(files) => bundle::verify_files(files, &args.keys).map(Some),
        Command::Pdf { files, root } => pdf::verify_files(files, root, &args.keys).map(Some),
        Command::Proof(file) => proof::verify_file(file, &args.keys).map(Some),
        Command::Checkpoints(files) => chain::verify_files(files, &args.keys).map(Some),
    });
    // There is nowhere to tell that standard output is closed.
    match outcome {
        Ok(None) => {
            let _ = write!(out, "{}", args::HELP);
            ExitCode::SUCCESS
        }
        Ok(Some(report)) => {
            let _ = writeln!(out, "VERIFIED: {}", report.verdict);
            list(&mut out, "Checked", &report.checked);
            list(&mut out, "Not checked, because these files cannot show it", &report.unchecked);
            ExitCode::SUCCESS
        }
        Err(Failure::Refused(why)) => {
            let _ = writeln!(out, "NOT VERIFIED: {why}");
            ExitCode::from(1)
        }
        Err(Failure::Unusable(why)) => {
            let _ = writeln!(out, "NOTHING CHECKED: {why}\nTry keystone-verify --help.");
            ExitCode::from(2)
        }
    }
}

fn list(out: &mut impl Write, title: &str, items: &[String]) {
    if !items.is_empty() {
        let _ = writeln!(out, "{title}:");
        for item in items {
            let _ = writeln!(out, "- {item}");
        }
    }
}
