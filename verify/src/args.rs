//! The command line.

use keystone_log::merkle::Hash;
use keystone_log::note::VerifierKey;

use crate::Failure;

pub(crate) const HELP: &str = "\
keystone-verify checks audit exports of Keystone offline.

Usage:
  keystone-verify bundle FILE...          a JSONL export (evidence bundles); - for standard input
  keystone-verify pdf FILE... --root CA.pem
                                          a signed PDF report and the bundle attached to it
  keystone-verify proof FILE              a tlog-proof, or the JSON of GET /v1/audit/{seq}/proof
  keystone-verify checkpoints FILE...     a chain of checkpoints: archived objects, or the JSON of
                                          GET /v1/audit/checkpoints

Give all files of an export at once: only together they show that nothing is left out.

Options:
  --vkey KEY        a verifier key of the audit trail, name+id+base64; may be repeated
  --vkey-file FILE  a file with one verifier key on each line
  --root FILE       PEM certificate of the authority that you trust to certify the report key
  --signer SHA-256  the only certificate that may have signed, by the hash of its DER form, hex;
                    without it any that the authority certifies for documents

Get the verifier key apart from the export: GET /v1/trust/audit-keys?tenant=SLUG, or from your
contract. A key that comes with the export shows nothing.

Exit codes:
  0  verified: everything that is listed as checked holds
  1  not verified: something does not hold; the reason is named
  2  nothing checked: wrong usage, or a file cannot be read
";

/// What to do.
pub(crate) enum Command {
    Help,
    Bundle(Vec<String>),
    Pdf { files: Vec<String>, root: String, signer: Option<Hash> },
    Proof(String),
    Checkpoints(Vec<String>),
}

/// The command line, read.
pub(crate) struct Args {
    pub(crate) command: Command,
    pub(crate) keys: Vec<VerifierKey>,
}

impl Args {
    /// Reads the arguments after the program's name, and key files.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let unusable = |why: &str| Failure::Unusable(why.to_owned());
        let mut arguments = arguments;
        let (mut words, mut keys, mut root, mut signer) = (Vec::new(), Vec::new(), None, None);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| Failure::Unusable(format!("{argument} needs a value")))
            };
            match argument.as_str() {
                "--help" | "-h" => return Ok(Self { command: Command::Help, keys }),
                "--vkey" => keys.push(key(&value()?)?),
                "--vkey-file" => {
                    let file = value()?;
                    let text = std::fs::read_to_string(&file)
                        .map_err(|error| Failure::unreadable(&file, &error))?;
                    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                        keys.push(key(line)?);
                    }
                }
                "--root" => root = Some(value()?),
                "--signer" => {
                    let hash = value()?.parse::<Hash>();
                    signer = Some(hash.map_err(|_| unusable("--signer is no SHA-256 in hex"))?);
                }
                option if option.starts_with("--") => {
                    return Err(Failure::Unusable(format!("there is no option {option}")));
                }
                _ => words.push(argument),
            }
        }
        let mut words = words.into_iter();
        let command = words.next().ok_or_else(|| unusable("no command is given"))?;
        let mut files: Vec<String> = words.collect();
        let one = |files: &mut Vec<String>| match files.pop() {
            Some(file) if files.is_empty() => Ok(file),
            _ => Err(unusable("give one file")),
        };
        let command = match command.as_str() {
            "help" => return Ok(Self { command: Command::Help, keys }),
            "proof" => Command::Proof(one(&mut files)?),
            "bundle" | "pdf" | "checkpoints" if files.is_empty() => {
                return Err(unusable("give at least one file"));
            }
            "bundle" => Command::Bundle(files),
            "pdf" => {
                let root = root.ok_or_else(|| unusable("a PDF needs --root, whom you trust"))?;
                Command::Pdf { files, root, signer }
            }
            "checkpoints" => Command::Checkpoints(files),
            other => return Err(Failure::Unusable(format!("there is no command {other}"))),
        };
        if keys.is_empty() {
            return Err(unusable("give the verifier key of the audit trail with --vkey"));
        }
        Ok(Self { command, keys })
    }
}

fn key(text: &str) -> Result<VerifierKey, Failure> {
    text.parse().map_err(|error| Failure::Unusable(format!("{text}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn parse(arguments: &[&str]) -> Result<Args, Failure> {
        Args::parse(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn commands_and_options_come_in_any_order() {
        let args = parse(&["--vkey", KEY, "pdf", "--root", "ca.pem", "a.pdf"]).unwrap();
        assert!(
            matches!(args.command, Command::Pdf { files, root, signer: None } if files == ["a.pdf"] && root == "ca.pem")
        );
        assert_eq!(args.keys.len(), 1);
        let hash = "00ff".repeat(16);
        let args = parse(&["pdf", "a", "--vkey", KEY, "--root", "r", "--signer", &hash]).unwrap();
        let Command::Pdf { signer: Some(signer), .. } = args.command else { panic!("no signer") };
        assert_eq!(signer.to_string(), hash);
        assert!(matches!(parse(&["--help"]).unwrap().command, Command::Help));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [
            &[][..],
            &["bundle", "a"],
            &["bundle", "--vkey", KEY],
            &["proof", "a", "b", "--vkey", KEY],
            &["pdf", "a", "--vkey", KEY],
            &["checkpoints", "--vkey", KEY],
            &["nonsense", "a", "--vkey", KEY],
            &["bundle", "a", "--vkey"],
            &["bundle", "a", "--vkey", "x"],
            &["bundle", "a", "--vkey", KEY, "--nonsense"],
            &["pdf", "a", "--vkey", KEY, "--root", "r", "--signer", "00ff"],
        ] {
            assert!(matches!(parse(wrong), Err(Failure::Unusable(_))), "{wrong:?}");
        }
    }
}
