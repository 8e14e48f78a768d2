//! Pages: where every line goes, then drawing them.

use jiff::Timestamp;
use krilla::Document;
use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::num::NormalizedF32;
use krilla::page::{Page, PageSettings};
use krilla::paint::Fill;
use krilla::surface::Surface;

use super::front::Line;
use super::text::{Fonts, Typeface};
use super::{Report, ReportError, Row};

/// A4, landscape, in points.
pub const WIDTH: f32 = 842.0;
const HEIGHT: f32 = 595.0;
pub const MARGIN: f32 = 36.0;
/// Table text.
const SIZE: f32 = 7.0;
const LEADING: f32 = 9.0;
const PADDING: f32 = 3.0;
/// Where the table's body begins and ends.
const BODY_TOP: f32 = 76.0;
pub const BODY_BOTTOM: f32 = HEIGHT - 44.0;

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

/// The part of a row that is on one page: lines `from` to before `from + lines`
/// of its cells.
pub struct Slice {
    row: usize,
    from: usize,
    lines: usize,
}

/// The table's pages. A row stays together if it fits on a page; a longer one
/// is split. Only places are kept: the text is wrapped again when it is drawn,
/// which costs less than holding all of it.
pub fn paginate(rows: &[Row], fonts: &Fonts) -> Vec<Vec<Slice>> {
    let mut pages: Vec<Vec<Slice>> = Vec::new();
    let mut room = 0;
    for (index, row) in rows.iter().enumerate() {
        let lines = cells(row, &fonts.regular).iter().map(Vec::len).max().unwrap_or(1);
        let mut done = 0;
        while done < lines {
            let left = lines - done;
            if room == 0 || (left > room && lines <= capacity()) {
                pages.push(Vec::new());
                room = capacity();
            }
            let part = left.min(room);
            if let Some(page) = pages.last_mut() {
                page.push(Slice { row: index, from: done, lines: part });
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

fn cells(row: &Row, face: &Typeface) -> [Vec<String>; 7] {
    let wrap = |text: &str, column: usize| face.wrap(text, SIZE, COLUMNS[column].1 - 2.0 * PADDING);
    let mut last = Vec::new();
    for change in &row.changes {
        last.extend(wrap(change, 6));
    }
    last.extend(wrap(&format!("request {}", row.request_id), 6));
    last.extend(wrap(&format!("leaf {}", row.leaf), 6));
    [
        wrap(&row.seq.to_string(), 0),
        wrap(&time(row.at), 1),
        wrap(&row.actor, 2),
        wrap(&row.action, 3),
        wrap(&row.resource, 4),
        wrap(&row.source_ip, 5),
        last,
    ]
}

pub fn time(at: Timestamp) -> String {
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

    /// A page of text.
    pub fn text(mut self, lines: &[Line]) {
        let fonts = self.fonts;
        let mut surface = self.page.surface();
        for line in lines {
            let face = if line.bold { &fonts.bold } else { &fonts.regular };
            face.draw(&mut surface, Point::from_xy(line.x, line.y), &line.text, line.size);
        }
        footer(surface, fonts, &self.footer, self.number, self.pages);
    }

    /// A page of the table.
    pub fn table(mut self, rows: &[Row], slices: &[Slice]) {
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
            if slice.row % 2 == 1 {
                rectangle(&mut surface, y - LEADING + 1.0, height + 4.0, 245);
            }
            let Some(row) = rows.get(slice.row) else { continue };
            let mut x = MARGIN;
            for (cell, (_, width)) in cells(row, &fonts.regular).iter().zip(COLUMNS) {
                let mut line_y = y;
                for line in cell.iter().skip(slice.from).take(slice.lines) {
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
            .map(|row| cells(row, &fonts.regular).iter().map(Vec::len).max().unwrap())
            .sum();
        let pages = paginate(&rows, &fonts);
        let placed: usize = pages.iter().flatten().map(|slice| slice.lines).sum();
        assert_eq!(placed, wanted);
        for page in &pages {
            let lines: usize = page.iter().map(|slice| slice.lines + 1).sum();
            assert!(lines <= capacity() + 1, "{lines} lines on a page");
        }
    }
}
