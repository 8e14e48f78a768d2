//! Signed reports: a PDF/A-3b of text pages, tables and pictures with the
//! machine-readable data attached, its `PAdES` signature by a key in KMS, and
//! the bucket from which it is fetched. What a report says is its context's.

pub mod pades;
mod page;
mod picture;
mod signing;
mod storage;
mod table;
mod text;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use krilla::configure::{Archival, ConfigurationBuilder};
use krilla::embed::{AssociationKind, EmbeddedFile, MimeType};
use krilla::metadata::{DateTime, Metadata};
use krilla::{Document, SerializeSettings};

use page::Canvas;
pub use page::{Line, Pen};
pub use picture::{AREA, Picture, Shape};
pub use signing::{SETTINGS as SIGNER_SETTINGS, Signer};
pub use storage::{KEPT, LINK_LIFE, Storage};
pub use table::{Column, Table};
pub use text::Fonts;

/// What a report shows. A pure description: rendering it twice gives the same
/// pages.
pub struct Report<'a> {
    /// Title of the document.
    pub title: String,
    /// Stands at the foot of every page.
    pub footer: String,
    /// When the report was made.
    pub made_at: Timestamp,
    /// Its pages, in order.
    pub parts: Vec<Part<'a>>,
    /// Files that travel inside the PDF.
    pub attachments: Vec<Attachment<'a>>,
}

/// Pages of one kind.
pub enum Part<'a> {
    /// Text that a [`Pen`] wrote.
    Text(Vec<Vec<Line>>),
    /// A table over as many pages as it takes; none when it has no row.
    Table(&'a dyn Table),
    /// A picture on a page of its own.
    Picture(Picture),
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
pub fn render(fonts: &Fonts, report: Report<'_>) -> Result<Vec<u8>, ReportError> {
    let configuration = ConfigurationBuilder::new()
        .with_archival_validator(Archival::A3_B)
        .finish()
        .map_err(|error| ReportError::Pdf(format!("{error:?}")))?;
    let mut document =
        Document::new_with(SerializeSettings { configuration, ..SerializeSettings::default() });
    let date = pdf_date(report.made_at);
    document.set_metadata(
        Metadata::new()
            .title(report.title)
            .language("en".into())
            .creator("Keystone".into())
            .creation_date(date),
    );
    for attachment in report.attachments {
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
    let pages: Vec<Page<'_>> =
        report.parts.iter().flat_map(|part| part_pages(part, fonts)).collect();
    for (index, page) in pages.iter().enumerate() {
        let place = (index + 1, pages.len());
        let canvas = Canvas::new(&mut document, fonts, place, &report.footer)?;
        match page {
            Page::Text(lines) => canvas.text(lines),
            Page::Table(table, slices) => canvas.table(*table, slices),
            Page::Picture(picture) => canvas.picture(picture),
        }
    }
    document.finish().map_err(|error| ReportError::Pdf(format!("{error:?}")))
}

/// One page to be drawn.
enum Page<'a> {
    Text(&'a [Line]),
    Table(&'a dyn Table, Vec<table::Slice>),
    Picture(&'a Picture),
}

fn part_pages<'a>(part: &'a Part<'_>, fonts: &Fonts) -> Vec<Page<'a>> {
    match part {
        Part::Text(pages) => pages.iter().map(|lines| Page::Text(lines)).collect(),
        Part::Picture(picture) => vec![Page::Picture(picture)],
        Part::Table(table) => {
            let pages = table::paginate(*table, fonts).into_iter();
            pages.map(|slices| Page::Table(*table, slices)).collect()
        }
    }
}

/// A time as reports show it: UTC, to the millisecond.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
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
