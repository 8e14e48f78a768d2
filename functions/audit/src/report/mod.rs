//! The audit report: a PDF/A-3b with a summary page, a table of entries and
//! the machine-readable entries attached.

mod front;
mod layout;
mod text;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use keystone::audit::merkle::Hash;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::embed::{AssociationKind, EmbeddedFile, MimeType};
use krilla::metadata::{DateTime, Metadata};
use krilla::{Document, SerializeSettings};

use layout::Canvas;
use text::Fonts;

/// What a report shows. A pure description: rendering it twice gives the same
/// pages.
pub struct Report<'a> {
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

/// A file inside the PDF.
pub struct Attachment<'a> {
    /// File name.
    pub name: &'a str,
    /// Media type.
    pub mime: &'a str,
    /// What it is.
    pub description: &'a str,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Why a report cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A font of the program is unusable.
    #[error("font unusable")]
    Font,
    /// An attachment's media type is malformed.
    #[error("malformed media type")]
    MediaType,
    /// The page geometry is impossible.
    #[error("page geometry")]
    Geometry,
    /// The document does not meet PDF/A-3b, or cannot be written.
    #[error("pdf: {0}")]
    Pdf(String),
}

/// Renders `report` as PDF/A-3b (ISO 19005-3); the renderer refuses to write
/// a file that does not conform.
///
/// # Errors
/// [`ReportError`] when the report cannot be rendered.
pub fn render(mut report: Report<'_>) -> Result<Vec<u8>, ReportError> {
    let configuration = ConfigurationBuilder::new()
        .with_archival_validator(Archival::A3_B)
        .finish()
        .map_err(|error| ReportError::Pdf(format!("{error:?}")))?;
    let mut document =
        Document::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    let date = pdf_date(report.generated_at);
    document.set_metadata(
        Metadata::new()
            .title(format!("Audit report of {}", report.tenant_name))
            .language("en".into())
            .creator("Keystone".into())
            .creation_date(date),
    );
    for attachment in report.attachments.drain(..) {
        document.embed_file(EmbeddedFile {
            path: attachment.name.to_owned(),
            mime_type: Some(MimeType::new(attachment.mime).ok_or(ReportError::MediaType)?),
            description: Some(attachment.description.to_owned()),
            association_kind: AssociationKind::Data,
            data: attachment.bytes.into(),
            modification_date: Some(date),
            compress: Some(true),
            location: None,
        });
    }
    let fonts = Fonts::load()?;
    let report = &report;
    let table = layout::paginate(report.rows, &fonts);
    let front = front::pages(report, &fonts);
    let pages = front.len() + table.len();
    for (index, lines) in front.iter().enumerate() {
        Canvas::new(&mut document, &fonts, index + 1, pages, report)?.text(lines);
    }
    for (index, page) in table.iter().enumerate() {
        let number = front.len() + index + 1;
        Canvas::new(&mut document, &fonts, number, pages, report)?.table(report.rows, page);
    }
    document.finish().map_err(|error| ReportError::Pdf(format!("{error:?}")))
}

/// How many entries there are of each action, in the order of their names.
fn per_action<'a>(report: &'a Report<'_>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for row in report.rows {
        *counts.entry(row.action.as_str()).or_insert(0) += 1;
    }
    counts
}

fn pdf_date(at: Timestamp) -> DateTime {
    let at = TimeZone::UTC.to_datetime(at);
    let small = |number: i8| number.unsigned_abs();
    DateTime::new(at.year().unsigned_abs())
        .month(small(at.month()))
        .day(small(at.day()))
        .hour(small(at.hour()))
        .minute(small(at.minute()))
        .second(small(at.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages before the table.
    const FRONT: usize = 3;

    pub(super) fn row(seq: u64, change: &str) -> Row {
        Row {
            seq,
            at: Timestamp::UNIX_EPOCH,
            actor: "0199-user (admin)".into(),
            action: "batch.update".into(),
            resource: "batch 0199-batch".into(),
            source_ip: "192.0.2.1".into(),
            request_id: "request".into(),
            changes: vec![change.into()],
            leaf: Hash([0xab; 32]),
        }
    }

    fn report<'a>(rows: &'a [Row], attachments: Vec<Attachment<'a>>) -> Report<'a> {
        Report {
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
