//! The audit trail (SPEC §6): what an entry is, how a state change becomes a
//! delta, and the Merkle tree over all entries of a tenant.
//!
//! Entries are written by [`crate::tenant::WriteTx`] only, in the transaction
//! of the change that they record.

pub mod keys;
pub mod restores;

pub use keystone_log::{bundle, chain, checkpoint, delta, entry, merkle, note, tlog_proof};
