//! `keystone-verify`: checks audit exports, proofs and checkpoints of Keystone
//! on a machine that has nothing else of Keystone and no network.

mod args;
mod bundle;
mod chain;
mod coverage;
mod output;
mod pdf;
mod proof;

use std::process::ExitCode;

use args::{Args, Command};
use output::Output;

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

/// A file that is text; one that is not is no evidence of anything.
pub(crate) fn read_text(file: &str) -> Result<String, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::unreadable(file, &error))?;
    String::from_utf8(bytes).map_err(|_| Failure::refused(format!("{file} is not UTF-8 text")))
}

fn main() -> ExitCode {
    let mut out = Output(std::io::stdout().lock());
    let outcome = arguments().and_then(Args::parse).and_then(|args| match &args.command {
        Command::Help => Ok(None),
        Command::Bundle(files) => bundle::verify_files(files, &args.keys).map(Some),
        Command::Pdf { files, root, signer } => {
            pdf::verify_files(files, root, *signer, &args.keys).map(Some)
        }
        Command::Proof(file) => proof::verify_file(file, &args.keys).map(Some),
        Command::Checkpoints(files) => chain::verify_files(files, &args.keys).map(Some),
    });
    match outcome {
        Ok(None) => {
            for line in args::HELP.lines() {
                out.line(line);
            }
            ExitCode::SUCCESS
        }
        Ok(Some(report)) => {
            out.line(&format!("VERIFIED: {}", report.verdict));
            out.list("Checked", &report.checked);
            out.list("Not checked, because these files cannot show it", &report.unchecked);
            ExitCode::SUCCESS
        }
        Err(Failure::Refused(why)) => {
            out.line(&format!("NOT VERIFIED: {why}"));
            ExitCode::from(1)
        }
        Err(Failure::Unusable(why)) => {
            out.line(&format!("NOTHING CHECKED: {why}"));
            out.line("Try keystone-verify --help.");
            ExitCode::from(2)
        }
    }
}

/// The arguments after the program's name.
fn arguments() -> Result<std::vec::IntoIter<String>, Failure> {
    let arguments = std::env::args_os().skip(1).map(std::ffi::OsString::into_string);
    let arguments = arguments.collect::<Result<Vec<_>, _>>();
    let arguments =
        arguments.map_err(|_| Failure::Unusable("an argument is not UTF-8 text".into()))?;
    Ok(arguments.into_iter())
}
