//! Volumes as tables for spreadsheets: RFC 4180 in UTF-8, a header line, CRLF.
//! What a spreadsheet would take for a formula gets an apostrophe in front;
//! the other formats have the value as it is.

use std::borrow::Cow;

use keystone::Problem;
use keystone::audit::entry::at_text;
use keystone::cell::harmless;
use keystone::tenant::{AuditRecord, StoreError};
use serde_json::Value;

use crate::view::AuditEntryView;

/// The columns, in order.
const COLUMNS: [&str; 16] = [
    "seq",
    "id",
    "at",
    "actor_kind",
    "actor_id",
    "actor_role",
    "actor_session",
    "action",
    "resource_type",
    "resource_id",
    "outcome",
    "source_ip",
    "user_agent",
    "request_id",
    "changes",
    "leaf_hash",
];

/// A table being written.
pub struct Table(csv::Writer<Vec<u8>>);

impl Table {
    /// A table with its header.
    ///
    /// # Errors
    /// [`StoreError::Defect`] never, since memory takes everything.
    pub fn new() -> Result<Self, StoreError> {
        let mut writer =
            csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        writer.write_record(COLUMNS).map_err(StoreError::defect)?;
        Ok(Self(writer))
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`Problem::Internal`] when the stored record was tampered with.
    pub fn push(&mut self, record: &AuditRecord) -> Result<(), Problem> {
        let entry = &record.entry;
        let shown = AuditEntryView::new(record)?;
        let text = |value: &Option<Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(erased) => erased.to_string(),
            None => String::new(),
        };
        let member = |value: &Value, name: &str| match &value[name] {
            Value::String(text) => text.clone(),
            _ => String::new(),
        };
        let changes = serde_json::to_string(&shown.delta).map_err(StoreError::defect)?;
        let cells = [
            entry.seq.to_string(),
            shown.id.clone(),
            at_text(entry.at),
            member(&shown.actor, "kind"),
            member(&shown.actor, "id"),
            member(&shown.actor, "role"),
            member(&shown.actor, "session"),
            shown.action.clone(),
            member(&shown.resource, "type"),
            member(&shown.resource, "id"),
            shown.outcome.clone(),
            text(&shown.source_ip),
            text(&shown.user_agent),
            shown.request_id.clone(),
            changes,
            shown.leaf_hash.clone(),
        ];
        let harmless = cells.iter().map(|cell| harmless(cell));
        Ok(self.0.write_record(harmless.map(Cow::into_owned)).map_err(StoreError::defect)?)
    }

    /// Bytes so far, but for what is buffered.
    pub fn len(&self) -> usize {
        self.0.get_ref().len()
    }

    /// The file.
    ///
    /// # Errors
    /// As [`Table::new`].
    pub fn finish(self) -> Result<Vec<u8>, StoreError> {
        self.0.into_inner().map_err(StoreError::defect)
    }
}
