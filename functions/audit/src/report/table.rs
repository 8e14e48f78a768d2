//! The table of entries.

use jiff::Timestamp;
use keystone::audit::merkle::Hash;
use keystone_report::{Column, Table, time};

/// One entry of the table.
pub struct Row {
    /// Number in the trail.
    pub seq: u64,
    /// When the action took place.
    pub at: Timestamp,
    /// Who acted.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// What was acted on.
    pub resource: String,
    /// Source address.
    pub source_ip: String,
    /// Id of the request.
    pub request_id: String,
    /// The delta in words, one line per change.
    pub changes: Vec<String>,
    /// Hash of the leaf.
    pub leaf: Hash,
}

const COLUMNS: [Column; 7] = [
    Column { heading: "No.", width: 36.0 },
    Column { heading: "Time (UTC)", width: 62.0 },
    Column { heading: "Actor", width: 118.0 },
    Column { heading: "Action", width: 74.0 },
    Column { heading: "Resource", width: 118.0 },
    Column { heading: "Source IP", width: 68.0 },
    Column { heading: "Change, request and leaf hash", width: 294.0 },
];

/// The entries of a report.
pub struct Entries<'a>(pub &'a [Row]);

impl Table for Entries<'_> {
    fn title(&self) -> &'static str {
        "Entries"
    }

    fn columns(&self) -> &[Column] {
        &COLUMNS
    }

    fn rows(&self) -> usize {
        self.0.len()
    }

    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
        let Some(row) = self.0.get(index) else { return };
        cell(0, &row.seq.to_string());
        cell(1, &time(row.at));
        cell(2, &row.actor);
        cell(3, &row.action);
        cell(4, &row.resource);
        cell(5, &row.source_ip);
        for change in &row.changes {
            cell(6, change);
        }
        cell(6, &format!("request {}", row.request_id));
        cell(6, &format!("leaf {}", row.leaf));
    }
}
