//! Pages: where every line goes, then drawing them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use krilla::Document;
use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::num::NormalizedF32;
use krilla::page::{Page, PageSettings};
use krilla::paint::Fill;
use krilla::surface::Surface;

use super::text::{Fonts, Typeface};
use super::{Report, ReportError, Row};

/// A4, landscape, in points.
const WIDTH: f32 = 842.0;
const HEIGHT: f32 = 595.0;
const MARGIN: f32 = 36.0;
/// Table text.
const SIZE: f32 = 7.0;
const LEADING: f32 = 9.0;
const PADDING: f32 = 3.0;
/// Where the table's body begins and ends.
const BODY_TOP: f32 = 76.0;
const BODY_BOTTOM: f32 = HEIGHT - 44.0;

/// Columns: heading and width.
const COLUMNS: [(&str, f32); 7] = [
    ("No.", 36.0),
    ("Time (UTC)", 62.0),
    ("Actor", 118.0),
    ("Action", 74.0),
    ("Resource", 118.0),
    ("Source IP", 68.0),
    ("Change, request and leaf hash", 294.0),
];

/// Lines of one row, or of the part of it that is on one page.
pub struct Slice {
    cells: Vec<Vec<String>>,
    lines: usize,
    shaded: bool,
}

/// The table's pages. A row stays together if it fits on a page; a longer one
/// is split.
pub fn paginate(rows: &[Row], fonts: &Fonts) -> Vec<Vec<Slice>> {
    let mut pages: Vec<Vec<Slice>> = Vec::new();
    let mut room = 0;
    for (index, row) in rows.iter().enumerate() {
        let cells = cells(row, &fonts.regular);
        let lines = cells.iter().map(Vec::len).max().unwrap_or(1);
        let mut done = 0;
        while done < lines {
            let left = lines - done;
            if room == 0 || (left > room && lines <= capacity()) {
                pages.push(Vec::new());
                room = capacity();
            }
            let part = left.min(room);
            let slice = Slice {
                cells: cells
                    .iter()
                    .map(|cell| cell.iter().skip(done).take(part).cloned().collect())
                    .collect(),
                lines: part,
                shaded: index % 2 == 1,
            };
            if let Some(page) = pages.last_mut() {
                page.push(slice);
            }
            done += part;
            // The gap below a row takes the place of a line.
            room = room.saturating_sub(part + 1);
        }
    }
    pages
}

/// Lines that a page has room for.
fn capacity() -> usize {
    // Positive and far below the precision of either type.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "58 lines")]
    let lines = ((BODY_BOTTOM - BODY_TOP) / LEADING) as usize;
    lines
}

fn cells(row: &Row, face: &Typeface) -> Vec<Vec<String>> {
    let wrap = |text: &str, column: usize| face.wrap(text, SIZE, COLUMNS[column].1 - 2.0 * PADDING);
    let mut last = Vec::new();
    for change in &row.changes {
        last.extend(wrap(change, 6));
    }
    last.extend(wrap(&format!("request {}", row.request_id), 6));
    last.extend(wrap(&format!("leaf {}", row.leaf_hash), 6));
    vec![
        wrap(&row.seq.to_string(), 0),
        wrap(&time(row.at), 1),
        wrap(&row.actor, 2),
        wrap(&row.action, 3),
        wrap(&row.resource, 4),
        wrap(&row.source_ip, 5),
        last,
    ]
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// One page being drawn.
pub struct Canvas<'d, 'f> {
    page: Page<'d>,
    fonts: &'f Fonts,
    number: usize,
    pages: usize,
    footer: String,
}

impl<'d, 'f> Canvas<'d, 'f> {
    /// Starts page `number` of `pages`.
    ///
    /// # Errors
    /// [`ReportError::Geometry`] never, for the sizes of this module.
    pub fn new(
        document: &'d mut Document,
        fonts: &'f Fonts,
        number: usize,
        pages: usize,
        report: &Report<'_>,
    ) -> Result<Self, ReportError> {
        let settings = PageSettings::from_wh(WIDTH, HEIGHT).ok_or(ReportError::Geometry)?;
        let footer = format!(
            "Audit report of {} ({}), {} UTC",
            report.tenant_name,
            report.tenant_id,
            time(report.generated_at)
        );
        Ok(Self { page: document.start_page_with(settings), fonts, number, pages, footer })
    }

    /// The summary page.
    pub fn summary(mut self, report: &Report<'_>, per_action: &BTreeMap<&str, usize>) {
        let fonts = self.fonts;
        let mut surface = self.page.surface();
        let mut pen = Pen { surface: &mut surface, y: 64.0 };
        pen.line(&fonts.bold, 20.0, 28.0, "Audit report");
        pen.line(&fonts.regular, 12.0, 26.0, report.tenant_name);
        let bound = |at: Option<Timestamp>, open: &str| at.map_or_else(|| open.to_owned(), time);
        let mut facts = vec![
            ("Tenant", report.tenant_id.to_owned()),
            (
                "Period (UTC)",
                format!(
                    "{} to {}",
                    bound(report.from, "the beginning"),
                    bound(report.to, "the time of this report")
                ),
            ),
        ];
        facts.extend(report.filter.iter().map(|line| ("Filter", line.clone())));
        facts.extend([
            ("Entries", report.entries.len().to_string()),
            ("Made at (UTC)", time(report.generated_at)),
            ("Made for", report.generated_by.to_owned()),
            ("Trail", format!("{} entries in total", report.tree_size)),
            ("Merkle root", report.tree_root.to_owned()),
        ]);
        for (name, value) in &facts {
            pen.pair(fonts, name, value);
        }
        pen.space(10.0);
        pen.line(&fonts.bold, 11.0, 16.0, "Entries per action");
        let counts: Vec<String> =
            per_action.iter().map(|(action, count)| format!("{action}: {count}")).collect();
        pen.paragraph(&fonts.regular, &counts.join("   "));
        pen.space(10.0);
        pen.line(&fonts.bold, 11.0, 16.0, "How to verify this report");
        for paragraph in VERIFY {
            pen.paragraph(&fonts.regular, paragraph);
        }
        pen.space(10.0);
        pen.line(&fonts.bold, 11.0, 16.0, "Use as evidence");
        pen.paragraph(&fonts.regular, CLAUSES);
        footer(surface, fonts, &self.footer, self.number, self.pages);
    }

    /// A page of the table.
    pub fn table(mut self, slices: &[Slice]) {
        let fonts = self.fonts;
        let mut surface = self.page.surface();
        rectangle(&mut surface, BODY_TOP - 26.0, 16.0, 214);
        let mut x = MARGIN;
        for (heading, width) in COLUMNS {
            let at = Point::from_xy(x + PADDING, BODY_TOP - 15.0);
            fonts.bold.draw(&mut surface, at, heading, SIZE + 0.5);
            x += width;
        }
        let mut y = BODY_TOP;
        for slice in slices {
            #[expect(clippy::cast_precision_loss, reason = "at most 58 lines")]
            let height = slice.lines as f32 * LEADING;
            if slice.shaded {
                rectangle(&mut surface, y - LEADING + 1.0, height + 4.0, 245);
            }
            let mut x = MARGIN;
            for (cell, (_, width)) in slice.cells.iter().zip(COLUMNS) {
                let mut line_y = y;
                for line in cell {
                    let at = Point::from_xy(x + PADDING, line_y);
                    fonts.regular.draw(&mut surface, at, line, SIZE);
                    line_y += LEADING;
                }
                x += width;
            }
            y += height + LEADING;
        }
        footer(surface, fonts, &self.footer, self.number, self.pages);
    }
}

/// What the report is, and which of its pages this is.
fn footer(mut surface: Surface<'_>, fonts: &Fonts, text: &str, number: usize, pages: usize) {
    let face = &fonts.regular;
    let y = HEIGHT - 22.0;
    if let Some(line) = face.wrap(text, SIZE, 680.0).first() {
        face.draw(&mut surface, Point::from_xy(MARGIN, y), line, SIZE);
    }
    let number = format!("Page {number} of {pages}");
    face.draw(&mut surface, Point::from_xy(WIDTH - MARGIN - 62.0, y), &number, SIZE);
    surface.finish();
}

/// How the reader checks what is printed.
const VERIFY: [&str; 3] = [
    "1. Open this file in a PDF reader that checks signatures, or run pdfsig. The signature must \
     be valid and cover the whole document. It is made by a key that never leaves the key \
     management service, with the certificate that the file carries.",
    "2. Take out the attached entries.jsonl. Each line holds an entry, the hash of its leaf and \
     the values behind its commitments. The leaf is SHA-256 over a zero byte and the entry's \
     canonical JSON (RFC 8785); it must be the hash printed in the table.",
    "3. The attached tree-head.json names size and root of the Merkle tree (RFC 6962) over all \
     entries of this tenant. Two reports with the same size must show the same root.",
];

/// What an auditor may use the report for.
const CLAUSES: &str = "BRCGS Food Safety Issue 9, clause 5.4 (product authenticity, claims and \
    chain of custody): who changed which record when, from where, with the values before and \
    after. Regulation (EC) No 178/2002, Article 18: history of the traceability records.";

/// A place on the page that moves down with each line.
struct Pen<'s, 'd> {
    surface: &'s mut Surface<'d>,
    y: f32,
}

impl Pen<'_, '_> {
    fn line(&mut self, face: &Typeface, size: f32, advance: f32, text: &str) {
        for line in face.wrap(text, size, WIDTH - 2.0 * MARGIN) {
            face.draw(self.surface, Point::from_xy(MARGIN, self.y), &line, size);
            self.y += advance;
        }
    }

    fn pair(&mut self, fonts: &Fonts, name: &str, value: &str) {
        fonts.bold.draw(self.surface, Point::from_xy(MARGIN, self.y), name, 9.0);
        for line in fonts.regular.wrap(value, 9.0, WIDTH - 2.0 * MARGIN - 110.0) {
            let at = Point::from_xy(MARGIN + 110.0, self.y);
            fonts.regular.draw(self.surface, at, &line, 9.0);
            self.y += 13.0;
        }
    }

    fn paragraph(&mut self, face: &Typeface, text: &str) {
        for line in face.wrap(text, 9.0, WIDTH - 2.0 * MARGIN) {
            if self.y > BODY_BOTTOM {
                return;
            }
            face.draw(self.surface, Point::from_xy(MARGIN, self.y), &line, 9.0);
            self.y += 13.0;
        }
    }

    fn space(&mut self, points: f32) {
        self.y += points;
    }
}

/// A grey bar across the table.
fn rectangle(surface: &mut Surface<'_>, y: f32, height: f32, grey: u8) {
    let Some(area) = Rect::from_xywh(MARGIN, y, WIDTH - 2.0 * MARGIN, height) else { return };
    let mut path = PathBuilder::new();
    path.push_rect(area);
    let Some(path) = path.finish() else { return };
    let before = surface.get_fill().cloned();
    surface.set_fill(Some(Fill {
        paint: rgb::Color::new(grey, grey, grey).into(),
        opacity: NormalizedF32::ONE,
        rule: krilla::paint::FillRule::default(),
    }));
    surface.draw_path(&path);
    surface.set_fill(before);
}

#[cfg(test)]
mod tests {
    use super::super::tests::row;
    use super::*;

    #[test]
    fn every_line_of_every_row_is_on_some_page() {
        let fonts = Fonts::load().unwrap();
        let rows: Vec<Row> = (0..200)
            .map(|seq| row(seq, &"word ".repeat(usize::try_from(seq).unwrap() * 9)))
            .collect();
        let wanted: usize = rows
            .iter()
            .map(|row| cells(row, &fonts.regular).iter().map(Vec::len).sum::<usize>())
            .sum();
        let pages = paginate(&rows, &fonts);
        let placed: usize =
            pages.iter().flatten().flat_map(|slice| &slice.cells).map(Vec::len).sum();
        assert_eq!(placed, wanted);
        for page in &pages {
            let lines: usize = page.iter().map(|slice| slice.lines + 1).sum();
            assert!(lines <= capacity() + 1, "{lines} lines on a page");
        }
    }
}
