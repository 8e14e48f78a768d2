//! The audit log's formats, for the server that writes them and for whoever
//! verifies them without it: no I/O of its own, no clock, no network.
//!
//! - [`entry`] and [`delta`]: what an entry is, and its leaf;
//! - [`merkle`]: the tree over all entries of a tenant, and its proofs;
//! - [`note`] and [`checkpoint`]: size and root of a tree, signed;
//! - [`tlog_proof`]: one entry's proof as a text;
//! - [`chain`]: a checkpoint with the proof that it extends the one before;
//! - [`bundle`]: any number of entries with all that proves them, as a stream.

pub mod bundle;
pub mod chain;
pub mod checkpoint;
pub mod delta;
pub mod entry;
pub mod merkle;
pub mod note;
mod scan;
mod selection;
pub mod tlog_proof;
