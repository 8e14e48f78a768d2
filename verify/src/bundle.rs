//! `keystone-verify bundle`

use std::fs::File;
use std::io::{BufRead, BufReader};

use keystone_log::bundle::{Verified, verify};
use keystone_log::note::VerifierKey;

use crate::{Failure, Report};

/// Bytes read at once.
const BUFFER: usize = 1 << 20;

/// Verifies a bundle in a file, in memory for one line.
pub(crate) fn verify_file(file: &str, keys: &[VerifierKey]) -> Result<Report, Failure> {
    let verified = if file == "-" {
        verify_bundle(BufReader::with_capacity(BUFFER, std::io::stdin().lock()), keys)
    } else {
        let open = File::open(file).map_err(|error| Failure::unreadable(file, &error))?;
        verify_bundle(BufReader::with_capacity(BUFFER, open), keys)
    };
    verified.map(|verified| report(&verified))
}

/// Verifies a bundle.
pub(crate) fn verify_bundle(
    input: impl BufRead,
    keys: &[VerifierKey],
) -> Result<Verified, Failure> {
    verify(input, keys, |_| ()).map_err(|error| match error.fault {
        keystone_log::bundle::Fault::Io(error) => Failure::Unusable(error.to_string()),
        _ => Failure::refused(error),
    })
}

/// What a verified bundle shows, in words.
pub(crate) fn report(verified: &Verified) -> Report {
    let Verified { header, checkpoint, entries, hidden, gaps, opened, unopened, period } = verified;
    let size = checkpoint.size;
    let mut checked = vec![
        format!(
            "The checkpoint of {size} entries is signed by the given key of {}.",
            checkpoint.origin
        ),
        format!(
            "Each of the {entries} entries shown was hashed; with the hashes of what is not shown \
             they give exactly the signed root {}.",
            checkpoint.root
        ),
    ];
    let mut unchecked = Vec::new();
    if let Some((first, last)) = period {
        checked.push(format!("The entries shown say that they are of {first} to {last}."));
    }
    if *hidden == 0 {
        checked
            .push("Nothing is left out: every entry that the checkpoint covers is shown.".into());
    } else {
        checked.push(format!("{hidden} entries are left out, in {gaps} gaps."));
        checked.push(
            "Each entry shown fits the filter that the writer states, as far as the entry shows \
             what the filter asks for (it does not show its source address)."
                .into(),
        );
        unchecked.push(format!(
            "That what is left out does not fit the filter, which the writer states to be {}.",
            header.filter.as_ref().map_or("none".into(), ToString::to_string)
        ));
    }
    checked.push(format!("{opened} personal values were checked against their commitments."));
    if *unopened > 0 {
        unchecked.push(format!(
            "{unopened} personal values, which were erased or are withheld; that they existed is \
             proved."
        ));
    }
    unchecked.push(format!(
        "Entries recorded after the checkpoint; the bundle says that it was written at {}.",
        header.generated_at
    ));
    unchecked.push("That what people entered is true.".into());
    let part = if *hidden == 0 { "all of" } else { "a part of" };
    Report {
        verdict: format!(
            "{entries} of {size} entries, {part} the audit trail of {}",
            header.tenant
        ),
        checked,
        unchecked,
    }
}
