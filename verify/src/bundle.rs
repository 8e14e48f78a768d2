//! `keystone-verify bundle`

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};

use keystone_log::bundle::{Shown, Verified, verify};
use keystone_log::note::VerifierKey;

use crate::coverage::Coverage;
use crate::{Failure, Report};

/// Bytes read at once.
const BUFFER: usize = 1 << 20;

/// A bundle that holds by itself.
pub(crate) struct Bundle {
    verified: Verified,
    shown: Coverage,
}

/// Verifies bundles in files, in memory for one line.
pub(crate) fn verify_files(files: &[String], keys: &[VerifierKey]) -> Result<Report, Failure> {
    let bundles = files.iter().map(|file| {
        let read = if file == "-" {
            verify_bundle(BufReader::with_capacity(BUFFER, std::io::stdin().lock()), keys)
        } else {
            let open = File::open(file).map_err(|error| Failure::unreadable(file, &error))?;
            verify_bundle(BufReader::with_capacity(BUFFER, open), keys)
        };
        read.map_err(|failure| failure.of(file, files))
    });
    report(&bundles.collect::<Result<Vec<_>, _>>()?)
}

/// Verifies a bundle.
pub(crate) fn verify_bundle(input: impl BufRead, keys: &[VerifierKey]) -> Result<Bundle, Failure> {
    let mut shown = Coverage::default();
    let verified = verify(input, keys, |piece| {
        if let Shown::Entry { seq, .. } = piece {
            shown.push(seq);
        }
    });
    let verified = verified.map_err(|error| match error.fault {
        keystone_log::bundle::Fault::Io(error) => Failure::Unusable(error.to_string()),
        _ => Failure::refused(error),
    })?;
    Ok(Bundle { verified, shown })
}

/// What verified bundles show together, in words.
///
/// # Errors
/// [`Failure::Refused`] when they are not of one checkpoint: what one leaves out
/// and another shows may then be of different histories.
pub(crate) fn report(bundles: &[Bundle]) -> Result<Report, Failure> {
    let of = || bundles.iter().map(|bundle| &bundle.verified);
    let one = of().next().ok_or_else(|| Failure::Unusable("there is no bundle".into()))?;
    let checkpoint = &one.checkpoint;
    if of().any(|other| other.checkpoint != *checkpoint) {
        return Err(Failure::refused("the files are not of one export: their checkpoints differ"));
    }
    let size = checkpoint.size;
    let shown = Coverage::union(bundles.iter().map(|bundle| &bundle.shown));
    let (entries, missing) = (shown.count(), shown.missing(size));
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
    let first = of().filter_map(|one| Some(&one.period.as_ref()?.0)).min();
    let last = of().filter_map(|one| Some(&one.period.as_ref()?.1)).max();
    if let (Some(first), Some(last)) = (first, last) {
        checked.push(format!("The entries shown are those of the numbers {shown}."));
        checked.push(format!("The entries shown say that they are of {first} to {last}."));
    }
    if missing.ranges() == 0 {
        checked
            .push("Nothing is left out: every entry that the checkpoint covers is shown.".into());
    } else {
        checked.push(format!("{} entries are left out: {missing}.", missing.count()));
        checked.push(
            "Each entry shown fits the filter that the writer states, as far as the entry shows \
             what the filter asks for (it does not show its source address)."
                .into(),
        );
        let filters: BTreeSet<String> = of()
            .map(|one| one.header.filter.as_ref().map_or("none".into(), ToString::to_string))
            .collect();
        unchecked.push(format!(
            "That what is left out does not fit the filter, which the writer states to be {}.",
            filters.into_iter().collect::<Vec<_>>().join(" or ")
        ));
    }
    let opened: u64 = of().map(|one| one.opened).sum();
    checked.push(format!("{opened} personal values were checked against their commitments."));
    let unopened: u64 = of().map(|one| one.unopened).sum();
    if unopened > 0 {
        unchecked.push(format!(
            "{unopened} personal values, which were erased or are withheld; that they existed is \
             proved."
        ));
    }
    let generated: BTreeSet<String> = of().map(|one| one.header.generated_at.clone()).collect();
    unchecked.push(format!(
        "Entries recorded after the checkpoint; the bundle says that it was written at {}.",
        generated.into_iter().collect::<Vec<_>>().join(" and ")
    ));
    unchecked.push("That what people entered is true.".into());
    let part = if missing.ranges() == 0 { "all of" } else { "a part of" };
    let tenant = &one.header.tenant;
    let files =
        if bundles.len() == 1 { String::new() } else { format!(", in {} files", bundles.len()) };
    let verdict = format!("{entries} of {size} entries, {part} the audit trail of {tenant}{files}");
    Ok(Report { verdict, checked, unchecked })
}
