//! The table of entries.

use jiff::Timestamp;
use keystone::audit::entry::Outcome;
use keystone::audit::merkle::Hash;
use keystone_report::{Column, Table, time};

/// One entry of the table.
#[derive(Clone)]
pub struct Row {
    /// Number in the trail.
    pub seq: u64,
    /// When the action took place.
    pub at: Timestamp,
    /// Who acted: kind, id and role.
    pub actor: String,
    /// What was done, or tried.
    pub action: String,
    /// How it ended.
    pub outcome: Outcome,
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

/// An outcome as reports show it: one that is no success stands out, since the
/// action has the same name.
pub const fn outcome_in_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Denied => "DENIED",
        Outcome::Failed => "FAILED",
    }
}

const COLUMNS: [Column; 8] = [
    Column { heading: "No.", width: 36.0 },
    Column { heading: "Time (UTC)", width: 62.0 },
    Column { heading: "Actor", width: 118.0 },
    Column { heading: "Action", width: 74.0 },
    Column { heading: "Outcome", width: 44.0 },
    Column { heading: "Resource", width: 118.0 },
    Column { heading: "Source IP", width: 68.0 },
    Column { heading: "Change, request and leaf hash", width: 250.0 },
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
        cell(4, outcome_in_words(row.outcome));
        cell(5, &row.resource);
        cell(6, &row.source_ip);
        for change in &row.changes {
            cell(7, change);
        }
        cell(7, &format!("request {}", row.request_id));
        cell(7, &format!("leaf {}", row.leaf));
    }
}
