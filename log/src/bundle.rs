//! Evidence bundles: entries of a log with all that proves them, as a stream.
//!
//! A bundle is JSON lines (`application/jsonl`), each in RFC 8785 form. It
//! covers the tree of one checkpoint from the first leaf to the last, without
//! overlap:
//!
//! ```text
//! {"checkpoint":"<signed note>","filter":{..}|null,"format":"keystone-audit-bundle/1","generated_at":"..","tenant":".."}
//! {"entry":{..},"leaf":"<hex>","personal":{"/source_ip":{"salt":"..","value":..},..}}
//! {"subtree":{"hash":"<hex>","height":3,"last":15}}
//! {"end":{"entries":2}}
//! ```
//!
//! - An **entry** line shows a leaf: the entry in the form that was hashed, its
//!   leaf as the log stored it, and the openings of its personal values. An
//!   opening may be missing, because it was erased or is withheld.
//! - A **subtree** line stands for 2^`height` leaves, the last of which is
//!   `last`, that are not shown.
//! - The **end** line says how many entries are shown, so that a file that broke
//!   off is told from one that was tampered with.
//!
//! Whoever hashes every entry line and joins the subtrees arrives at the root
//! that the checkpoint signs, with memory for the tree's right edge only. Each
//! entry shown is held against the filter. What a bundle does not prove: that the
//! entries behind the gaps do not fit it. A bundle without filter has no gaps, and shows everything.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::entry::{CommittedEntry, Personal};
use crate::merkle::{Hash, Subtree, TreeHead, gap};
use crate::note::VerifierKey;
pub use crate::scan::ScanError;
use crate::scan::{Line, Scratch, line};
use crate::selection::Selection;

/// What the first line names as its format.
pub const FORMAT: &str = "keystone-audit-bundle/1";

/// The longest line, in bytes, without its newline. An entry has at most 65,535
/// bytes, and each personal value that it commits to at most 8 KiB.
pub const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// The tenant whose log this is.
    pub tenant: String,
    /// The signed checkpoint, a C2SP note.
    pub checkpoint: String,
    /// What the entries were chosen by; `null` for all. The writer's statement.
    pub filter: Option<Value>,
    /// When the bundle was written. The writer's statement.
    pub generated_at: String,
}

impl Header {
    /// A header of this format.
    pub fn new(
        tenant: impl Into<String>,
        checkpoint: impl Into<String>,
        filter: Option<Value>,
        generated_at: jiff::Timestamp,
    ) -> Self {
        Self {
            format: FORMAT.to_owned(),
            tenant: tenant.into(),
            checkpoint: checkpoint.into(),
            filter,
            generated_at: crate::entry::at_text(generated_at),
        }
    }
}

/// A piece of the tree, as a bundle covers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The leaf with this index, to be shown.
    Leaf(u64),
    /// Leaves that are not shown.
    Subtree(Subtree),
}

/// How a bundle that shows these leaves covers a tree of `size` leaves.
/// `indices` ascend; what does not, or is not in the tree, is left out.
pub fn cover(indices: impl IntoIterator<Item = u64>, size: u64) -> impl Iterator<Item = Piece> {
    let mut next = 0;
    let ends = indices.into_iter().map(Some).chain([None]);
    ends.flat_map(move |index| {
        let fits = index.is_none_or(|index| (next..size).contains(&index));
        let end = if fits { index.unwrap_or(size) } else { next };
        let leaf = index.filter(|_| fits);
        let pieces = gap(next, end).map(Piece::Subtree).chain(leaf.map(Piece::Leaf));
        if fits {
            next = end + u64::from(leaf.is_some());
        }
        pieces
    })
}

/// An entry line.
#[derive(Serialize)]
struct EntryLine<'a> {
    entry: &'a CommittedEntry,
    leaf: &'a Hash,
    personal: &'a Personal,
}

/// The line of an entry, with its newline; also what the `extra` of a
/// [`TlogProof`](crate::tlog_proof::TlogProof) carries. `leaf` is what the log
/// stored, so that a verifier can say which entry is not what it was.
///
/// # Errors
/// [`WriteError::Json`] for an entry that has no canonical form.
pub fn entry_line(
    entry: &CommittedEntry,
    leaf: &Hash,
    personal: &Personal,
) -> Result<Vec<u8>, WriteError> {
    canonical_line(&EntryLine { entry, leaf, personal })
}

fn canonical_line(line: &impl Serialize) -> Result<Vec<u8>, WriteError> {
    let mut bytes = serde_json_canonicalizer::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes a bundle. Entries and subtrees come in the order of the tree;
/// anything else is refused. Does not check hashes: evidence of a tampered log
/// is evidence.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    size: u64,
    next: u64,
    entries: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a bundle over the tree of `size` leaves, that of the header's
    /// checkpoint, and writes the header.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn new(mut out: W, header: &Header, size: u64) -> Result<Self, WriteError> {
        out.write_all(&canonical_line(header)?)?;
        Ok(Self::resumed(out, size, 0, 0))
    }

    /// Goes on with a bundle of which everything below leaf `next`, and so many
    /// entries, was written.
    pub fn resumed(out: W, size: u64, next: u64, entries: u64) -> Self {
        Self { out, size, next, entries }
    }

    /// The first leaf that is not covered yet.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many entries were written.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The subtrees to write before leaf `index`, or before the end when it is
    /// the tree's size.
    pub fn gap_before(&self, index: u64) -> impl Iterator<Item = Subtree> + use<W> {
        gap(self.next, index.min(self.size))
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// [`WriteError::Order`] when it is not the next leaf.
    pub fn entry(
        &mut self,
        entry: &CommittedEntry,
        leaf: &Hash,
        personal: &Personal,
    ) -> Result<(), WriteError> {
        if entry.seq != self.next || entry.seq >= self.size {
            return Err(WriteError::Order { expected: self.next, found: entry.seq });
        }
        self.out.write_all(&entry_line(entry, leaf, personal)?)?;
        self.next += 1;
        self.entries += 1;
        Ok(())
    }

    /// Writes a subtree that holds no shown entry.
    ///
    /// # Errors
    /// [`WriteError::Order`] when it does not begin at the next leaf.
    pub fn subtree(&mut self, subtree: Subtree, hash: &Hash) -> Result<(), WriteError> {
        #[derive(Serialize)]
        struct Inner<'a> {
            last: u64,
            height: u32,
            hash: &'a Hash,
        }
        #[derive(Serialize)]
        struct SubtreeLine<'a> {
            subtree: Inner<'a>,
        }
        let Subtree { last, height } = subtree;
        let leaves = 1_u64.checked_shl(height).unwrap_or(0);
        if (last + 1).checked_sub(leaves) != Some(self.next) || last >= self.size {
            return Err(WriteError::Order { expected: self.next, found: last });
        }
        let line = SubtreeLine { subtree: Inner { last, height, hash } };
        self.out.write_all(&canonical_line(&line)?)?;
        self.next = last + 1;
        Ok(())
    }

    /// Writes the end and hands the output back.
    ///
    /// # Errors
    /// [`WriteError::Order`] when leaves are not covered.
    pub fn finish(mut self) -> Result<W, WriteError> {
        if self.next != self.size {
            return Err(WriteError::Order { expected: self.next, found: self.size });
        }
        let end = serde_json::json!({ "end": { "entries": self.entries } });
        self.out.write_all(&canonical_line(&end)?)?;
        Ok(self.out)
    }

    /// The output, to flush or empty it between lines.
    pub fn output(&mut self) -> &mut W {
        &mut self.out
    }
}

/// A bundle that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line has no canonical form.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Not the next leaf.
    #[error("leaf {expected} comes next in the bundle, not {found}")]
    Order {
        /// The next leaf.
        expected: u64,
        /// What came.
        found: u64,
    },
}

/// A verified piece of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'l> {
    /// An entry: its canonical form (RFC 8785), which gave the leaf `seq`.
    Entry {
        /// Its number.
        seq: u64,
        /// Its JSON.
        canonical: &'l str,
    },
    /// Leaves that are not shown.
    Gap(Subtree),
}

/// What a verified bundle proves.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The first line.
    pub header: Header,
    /// The checkpoint that the entries lead to.
    pub checkpoint: Checkpoint,
    /// How many entries are shown.
    pub entries: u64,
    /// How many entries of the log are not.
    pub hidden: u64,
    /// Ranges of entries that are not shown.
    pub gaps: u64,
    /// How many personal values are shown, each checked.
    pub opened: u64,
    /// How many personal values are committed to but not shown.
    pub unopened: u64,
    /// Time of the first and the last entry shown.
    pub period: Option<(String, String)>,
}

/// Verifies a bundle from its first line to its last, in memory for one line
/// and the tree's edge. `each` sees every piece in order, but what it saw is
/// proved only when this returns.
///
/// # Errors
/// [`BundleError`] names the line and what is wrong with it.
pub fn verify(
    input: impl BufRead,
    keys: &[VerifierKey],
    mut each: impl FnMut(Shown<'_>),
) -> Result<Verified, BundleError> {
    let mut lines = Lines { input, line: Vec::new(), number: 0 };
    let first = lines.next()?.ok_or(BundleError { line: 1, fault: Fault::Empty })?;
    let (header, checkpoint) =
        read_header(first, keys).map_err(|fault| BundleError { line: 1, fault })?;
    let mut state =
        State::new(&header, checkpoint).map_err(|fault| BundleError { line: 1, fault })?;
    let mut scratch = Scratch::default();
    loop {
        let number = lines.number + 1;
        let at = |fault| BundleError { line: number, fault };
        let Some(text) = lines.next()? else {
            return Err(at(Fault::BrokenOff));
        };
        match line(text, &mut scratch).map_err(|error| at(Fault::Line(error)))? {
            Line::Entry(entry) => {
                let shown = Shown::Entry { seq: entry.entry.seq, canonical: entry.entry.canonical };
                state.entry(&entry).map_err(at)?;
                each(shown);
            }
            Line::Subtree(subtree, hash) => {
                state.subtree(subtree, hash).map_err(at)?;
                each(Shown::Gap(subtree));
            }
            Line::End(entries) => {
                let verified = state.end(entries, header).map_err(at)?;
                return match lines.next()? {
                    None => Ok(verified),
                    Some(_) => Err(BundleError { line: number + 1, fault: Fault::AfterEnd }),
                };
            }
        }
    }
}

fn read_header(text: &str, keys: &[VerifierKey]) -> Result<(Header, Checkpoint), Fault> {
    let header: Header =
        serde_json::from_str(text).map_err(|error| Fault::Header(error.to_string()))?;
    let canonical = serde_json_canonicalizer::to_string(&header);
    if canonical.ok().as_deref() != Some(text) {
        return Err(Fault::Header("it is not in its canonical form (RFC 8785)".into()));
    }
    if header.format != FORMAT {
        return Err(Fault::Header(format!("its format is not {FORMAT}")));
    }
    // No signature covers it, and it is shown.
    let written = header.generated_at.parse().map(crate::entry::at_text);
    if written.ok().as_deref() != Some(header.generated_at.as_str()) {
        return Err(Fault::Header("it does not say when it was written".into()));
    }
    let checkpoint = Checkpoint::open(&header.checkpoint, keys)?;
    if checkpoint.tenant() != Some(&header.tenant) {
        return Err(Fault::Tenant { header: header.tenant, origin: checkpoint.origin });
    }
    Ok((header, checkpoint))
}

/// What is kept between two lines.
struct State {
    checkpoint: Checkpoint,
    /// The tenant's id as JSON.
    tenant: String,
    everything: bool,
    selection: Option<Selection>,
    tree: TreeHead,
    entries: u64,
    gaps: u64,
    in_gap: bool,
    opened: u64,
    commitments: u64,
    first: Option<String>,
    last: String,
}

impl State {
    fn new(header: &Header, checkpoint: Checkpoint) -> Result<Self, Fault> {
        let stated = header.filter.as_ref();
        let selection = stated.map(|filter| Selection::of(filter).ok_or(Fault::Filter));
        Ok(Self {
            selection: selection.transpose()?,
            checkpoint,
            tenant: Value::from(header.tenant.as_str()).to_string(),
            everything: header.filter.is_none(),
            tree: TreeHead::empty(),
            entries: 0,
            gaps: 0,
            in_gap: false,
            opened: 0,
            commitments: 0,
            first: None,
            last: String::new(),
        })
    }

    fn entry(&mut self, line: &crate::scan::EntryLine<'_>) -> Result<(), Fault> {
        let entry = &line.entry;
        let (seq, expected) = (entry.seq, self.tree.size());
        if seq >= self.checkpoint.size {
            return Err(Fault::Beyond { seq, size: self.checkpoint.size });
        }
        match seq {
            _ if seq > expected => {
                return Err(Fault::Missing { from: expected, to: seq - 1 });
            }
            _ if seq < expected => return Err(Fault::Repeated { seq, expected }),
            _ => {}
        }
        if entry.tenant != self.tenant {
            return Err(Fault::OtherTenant { seq, found: entry.tenant.to_owned() });
        }
        if entry.leaf != line.stated_leaf {
            return Err(Fault::Leaf { seq, stated: line.stated_leaf, found: entry.leaf });
        }
        let misfit = self.selection.as_ref().and_then(|wanted| wanted.misfit(entry.canonical));
        if let Some(member) = misfit {
            return Err(Fault::Unwanted { seq, member });
        }
        self.tree.append_subtree(0, entry.leaf).map_err(|_| Fault::Misplaced)?;
        self.entries += 1;
        self.in_gap = false;
        self.opened += line.opened;
        self.commitments += entry.commitments;
        self.first.get_or_insert_with(|| entry.at.to_owned());
        self.last.clear();
        self.last.push_str(entry.at);
        Ok(())
    }

    fn subtree(&mut self, subtree: Subtree, hash: Hash) -> Result<(), Fault> {
        let Subtree { last, height } = subtree;
        let expected = self.tree.size();
        let first = 1_u64.checked_shl(height).and_then(|leaves| (last + 1).checked_sub(leaves));
        let first = first.ok_or(Fault::Misplaced)?;
        if last >= self.checkpoint.size {
            return Err(Fault::Beyond { seq: last, size: self.checkpoint.size });
        }
        if first > expected {
            return Err(Fault::Missing { from: expected, to: first - 1 });
        }
        if first < expected {
            return Err(Fault::Repeated { seq: first, expected });
        }
        if self.everything {
            return Err(Fault::GapInAll { first, last });
        }
        self.tree.append_subtree(height, hash).map_err(|_| Fault::Misplaced)?;
        if !self.in_gap {
            self.gaps += 1;
        }
        self.in_gap = true;
        Ok(())
    }

    fn end(self, stated: u64, header: Header) -> Result<Verified, Fault> {
        let size = self.checkpoint.size;
        if self.tree.size() < size {
            return Err(Fault::Missing { from: self.tree.size(), to: size - 1 });
        }
        if stated != self.entries {
            return Err(Fault::Count { stated, found: self.entries });
        }
        if self.tree.root() != self.checkpoint.root {
            return Err(Fault::Root { signed: self.checkpoint.root, found: self.tree.root() });
        }
        Ok(Verified {
            header,
            entries: self.entries,
            hidden: size - self.entries,
            gaps: self.gaps,
            opened: self.opened,
            unopened: self.commitments - self.opened,
            period: self.first.map(|first| (first, self.last)),
            checkpoint: self.checkpoint,
        })
    }
}

/// Lines of bounded length.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its newline.
    fn next(&mut self) -> Result<Option<&str>, BundleError> {
        self.line.clear();
        self.number += 1;
        let at = |fault| BundleError { line: self.number, fault };
        let most = MAX_LINE_BYTES as u64 + 1;
        (&mut self.input)
            .take(most)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| at(Fault::Io(error)))?;
        match self.line.pop() {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) if self.line.len() as u64 + 1 >= most => return Err(at(Fault::TooLong)),
            Some(_) => return Err(at(Fault::BrokenOff)),
        }
        str::from_utf8(&self.line).map(Some).map_err(|_| at(Fault::Text))
    }
}

/// Why a bundle proves nothing.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct BundleError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The input failed.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// No line at all.
    #[error("the file is empty")]
    Empty,
    /// Longer than [`MAX_LINE_BYTES`].
    #[error("the line is longer than any that belongs in a bundle")]
    TooLong,
    /// Not UTF-8.
    #[error("the line is not UTF-8 text")]
    Text,
    /// No end line.
    #[error("the bundle breaks off before its end line")]
    BrokenOff,
    /// Something follows the end line.
    #[error("something follows the end of the bundle")]
    AfterEnd,
    /// The first line is no header.
    #[error("this is no header of an audit bundle: {0}")]
    Header(String),
    /// The checkpoint in the header.
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The header names another tenant than the checkpoint.
    #[error("the header names the tenant {header}, the checkpoint is of {origin}")]
    Tenant {
        /// In the header.
        header: String,
        /// In the checkpoint.
        origin: String,
    },
    /// A line that is none of a bundle, or an opening that does not fit.
    #[error("not a line of an audit bundle: {0}")]
    Line(#[from] ScanError),
    /// An entry of another tenant.
    #[error("entry {seq} is of the tenant {found}")]
    OtherTenant {
        /// Its number.
        seq: u64,
        /// Its tenant.
        found: String,
    },
    /// The entry is not what its leaf was made of.
    #[error(
        "entry {seq} was changed: it gives the leaf {found}, but the log recorded {stated} for it"
    )]
    Leaf {
        /// Its number.
        seq: u64,
        /// Beside the entry.
        stated: Hash,
        /// Recomputed.
        found: Hash,
    },
    /// Entries are missing.
    #[error("entries {from} to {to} are missing")]
    Missing {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// An entry or subtree that comes too late.
    #[error("entry {seq} stands where entry {expected} belongs")]
    Repeated {
        /// What stands there.
        seq: u64,
        /// What belongs there.
        expected: u64,
    },
    /// Beyond the checkpoint.
    #[error("entry {seq} is not covered by the checkpoint, which has {size} entries")]
    Beyond {
        /// Its number.
        seq: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// A subtree that the tree does not have.
    #[error("the tree has no such subtree here")]
    Misplaced,
    /// A bundle that says to show everything does not.
    #[error("the header names no filter, but entries {first} to {last} are not shown")]
    GapInAll {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The header's filter is none that an export can have.
    #[error("the filter that the header states is none of an audit trail")]
    Filter,
    /// An entry that the stated filter leaves out.
    #[error("entry {seq} does not fit the filter that the header states, by its {member}")]
    Unwanted {
        /// Its number.
        seq: u64,
        /// The filter's member.
        member: &'static str,
    },
    /// The end line counts otherwise.
    #[error("the end line counts {stated} entries, the bundle shows {found}")]
    Count {
        /// In the end line.
        stated: u64,
        /// Found.
        found: u64,
    },
    /// Everything hangs together, but is not what was signed.
    #[error(
        "the entries and subtrees lead to the root {found}, but the checkpoint signs {signed}: \
         at least one of them is not what the log held when it was signed"
    )]
    Root {
        /// In the checkpoint.
        signed: Hash,
        /// Recomputed.
        found: Hash,
    },
}

/// A verified entry line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEntry<'l> {
    /// The entry's number.
    pub seq: u64,
    /// Its canonical form (RFC 8785).
    pub canonical: &'l str,
    /// Its leaf.
    pub leaf: Hash,
    /// How many personal values are shown, each checked.
    pub opened: u64,
    /// How many personal values are committed to but not shown.
    pub unopened: u64,
}

/// Verifies an entry line by itself, as the `extra` of a proof carries it.
///
/// # Errors
/// [`Fault::Line`] and [`Fault::Leaf`].
pub fn verify_entry_line(text: &str) -> Result<VerifiedEntry<'_>, Fault> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let Line::Entry(found) = line(text, &mut Scratch::default())? else {
        return Err(Fault::Line(ScanError::Expected { at: 0, expected: "an entry line" }));
    };
    let entry = found.entry;
    if entry.leaf != found.stated_leaf {
        let (stated, found) = (found.stated_leaf, entry.leaf);
        return Err(Fault::Leaf { seq: entry.seq, stated, found });
    }
    Ok(VerifiedEntry {
        seq: entry.seq,
        canonical: entry.canonical,
        leaf: entry.leaf,
        opened: found.opened,
        unopened: entry.commitments - found.opened,
    })
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
