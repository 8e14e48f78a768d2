//! The audit report: a summary, how to verify it, the clauses that it can
//! serve, a table of entries, and the machine-readable entries attached.

mod front;
mod table;

use std::collections::BTreeMap;

use jiff::Timestamp;
use keystone_report::{Attachment, Fonts, Part, Pen, Report, ReportError, time};

pub use table::Row;
use table::{Entries, outcome_in_words};

/// What a report of the trail shows.
pub struct AuditReport<'a> {
    /// Registered name of the tenant.
    pub tenant_name: &'a str,
    /// Slug of the tenant.
    pub tenant_id: &'a str,
    /// Id of the export that it is a part of.
    pub export: &'a str,
    /// Number of this part, from 1.
    pub volume: usize,
    /// Not before; `None` for the beginning.
    pub from: Option<Timestamp>,
    /// Before; `None` for the present.
    pub to: Option<Timestamp>,
    /// The filter's other members, one line each.
    pub filter: &'a [String],
    /// When the report was made.
    pub generated_at: Timestamp,
    /// Who asked for it.
    pub generated_by: &'a str,
    /// The entries, in the order of the trail.
    pub rows: &'a [Row],
    /// Number of entries in the whole trail.
    pub tree_size: u64,
    /// Root of the trail's Merkle tree, hex.
    pub tree_root: &'a str,
    /// The signed checkpoint that says so.
    pub checkpoint: &'a str,
    /// The keys that verify it, as text (C2SP vkey).
    pub keys: &'a [String],
    /// Files that travel inside the PDF.
    pub attachments: Vec<Attachment<'a>>,
}

/// Renders the report of `audit` as PDF/A-3b.
///
/// # Errors
/// As [`keystone_report::render`].
pub fn render(mut audit: AuditReport<'_>) -> Result<Vec<u8>, ReportError> {
    let fonts = Fonts::load()?;
    let attachments = std::mem::take(&mut audit.attachments);
    let mut pen = Pen::new(&fonts);
    front::write(&mut pen, &audit);
    let entries = Entries(audit.rows);
    let report = Report {
        title: format!("Audit report of {}", audit.tenant_name),
        footer: format!(
            "Audit report of {} ({}), {} UTC",
            audit.tenant_name,
            audit.tenant_id,
            time(audit.generated_at)
        ),
        made_at: audit.generated_at,
        parts: vec![Part::Text(pen.pages()), Part::Table(&entries)],
        attachments,
    };
    keystone_report::render(&fonts, report)
}

/// How many entries there are of each action and outcome, in the order of their
/// names.
fn per_action<'a>(report: &'a AuditReport<'_>) -> BTreeMap<(&'a str, &'static str), usize> {
    let mut counts = BTreeMap::new();
    for row in report.rows {
        *counts.entry((row.action.as_str(), outcome_in_words(row.outcome))).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use keystone::audit::entry::Outcome;
    use keystone::audit::merkle::Hash;
    use keystone_report::Table as _;

    use super::*;

    /// Pages before the table.
    const FRONT: usize = 3;

    fn row(seq: u64, change: &str) -> Row {
        Row {
            seq,
            at: Timestamp::UNIX_EPOCH,
            actor: "user 0199-user (admin)".into(),
            action: "batch.update".into(),
            outcome: Outcome::Success,
            resource: "batch 0199-batch".into(),
            source_ip: "192.0.2.1".into(),
            request_id: "request".into(),
            changes: vec![change.into()],
            leaf: Hash([0xab; 32]),
        }
    }

    fn report<'a>(rows: &'a [Row], attachments: Vec<Attachment<'a>>) -> AuditReport<'a> {
        AuditReport {
            tenant_name: "Acme Dairy Co-operative Ltd",
            tenant_id: "acme-dairy",
            from: None,
            to: None,
            filter: &[],
            generated_at: Timestamp::UNIX_EPOCH,
            generated_by: "0199-user (admin)",
            export: "0199-export",
            volume: 1,
            rows,
            tree_size: 3,
            tree_root: "00",
            checkpoint: "keystone.example/audit/acme\n3\nAAAA\n\n— keystone.example/audit/acme BBBB\n",
            keys: &[],
            attachments,
        }
    }

    fn pages(pdf: &[u8]) -> usize {
        lopdf::Document::load_mem(pdf).unwrap().get_pages().len()
    }

    #[test]
    fn what_failed_is_not_told_like_what_was_done() {
        let signed_in = Row { action: "session.create".into(), ..row(1, "a") };
        let failed = Row { outcome: Outcome::Failed, ..signed_in.clone() };
        let denied = Row { outcome: Outcome::Denied, ..signed_in.clone() };
        let rows = [signed_in.clone(), failed, denied, signed_in];
        let mut outcomes = Vec::new();
        for index in 0..rows.len() {
            Entries(&rows).row(index, &mut |column, text| {
                if Entries(&rows).columns()[column].heading == "Outcome" {
                    outcomes.push(text.to_owned());
                }
            });
        }
        assert_eq!(outcomes, ["success", "FAILED", "DENIED", "success"]);
        let report = report(&rows, Vec::new());
        let counts: Vec<_> = per_action(&report).into_iter().collect();
        let action = "session.create";
        assert_eq!(
            counts,
            [((action, "DENIED"), 1), ((action, "FAILED"), 1), ((action, "success"), 2)]
        );
    }

    #[test]
    fn any_text_renders_and_conforms() {
        let changes = [
            "name: Grüße, καλημέρα, привет → Ω",
            "emoji 🧀, CJK 乳製品, Arabic مرحبا, Hebrew שלום",
            "controls \u{0}\u{7}\u{202e}\u{2066} and a tab\t",
            "",
        ];
        let rows: Vec<Row> = changes.iter().map(|change| row(1, change)).collect();
        let pdf = render(report(&rows, Vec::new())).unwrap();
        assert_eq!(pages(&pdf), FRONT + 1);
        assert!(pdf.starts_with(b"%PDF-1.7"));
    }

    #[test]
    fn a_row_longer_than_a_page_is_split() {
        let rows = [row(1, &"x".repeat(10_000)), row(2, "short")];
        assert!(pages(&render(report(&rows, Vec::new())).unwrap()) >= FRONT + 2);
    }

    #[test]
    fn an_empty_report_is_a_summary() {
        assert_eq!(pages(&render(report(&[], Vec::new())).unwrap()), FRONT);
    }

    #[test]
    fn attachments_can_be_taken_out_again() {
        let attachments = vec![Attachment {
            name: "entries.jsonl",
            mime: "application/jsonl",
            description: "Entries",
            bytes: b"{\"seq\":0}\n".to_vec(),
        }];
        let pdf = render(report(&[row(1, "a")], attachments)).unwrap();
        let document = lopdf::Document::load_mem(&pdf).unwrap();
        let found = document.objects.values().any(|object| {
            object.as_stream().is_ok_and(|stream| {
                stream.decompressed_content().is_ok_and(|content| content == b"{\"seq\":0}\n")
                    || stream.content == b"{\"seq\":0}\n"
            })
        });
        assert!(found);
    }
}
