//! Pages: text that flows down them, and drawing.

use krilla::Document;
use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::num::NormalizedF32;
use krilla::page::{Page, PageSettings};
use krilla::paint::Fill;
use krilla::surface::Surface;

use crate::ReportError;
use crate::picture::{self, Picture};
use crate::table::{Slice, Table, draw};
use crate::text::Fonts;

/// A4, landscape, in points.
pub const WIDTH: f32 = 842.0;
const HEIGHT: f32 = 595.0;
pub const MARGIN: f32 = 36.0;
/// Where what a page shows ends.
pub const BODY_BOTTOM: f32 = HEIGHT - 44.0;
/// Where a page's text begins.
const TOP: f32 = 56.0;
/// Running text.
const SIZE: f32 = 9.0;
const LEADING: f32 = 12.5;
/// Where the values of a list of facts begin.
const INDENT: f32 = 110.0;
/// The line at the foot of a page.
const FOOTER: f32 = 7.0;

/// A line of text and its place on the page, in points from the top left.
pub struct Line {
    x: f32,
    y: f32,
    size: f32,
    bold: bool,
    text: String,
}

/// A place that moves down the pages, writing wrapped text.
pub struct Pen<'f> {
    fonts: &'f Fonts,
    pages: Vec<Vec<Line>>,
    y: f32,
}

impl<'f> Pen<'f> {
    /// At the top of a first page.
    pub fn new(fonts: &'f Fonts) -> Self {
        Self { fonts, pages: vec![Vec::new()], y: TOP }
    }

    /// The pages written, at least one.
    pub fn pages(self) -> Vec<Vec<Line>> {
        self.pages
    }

    /// Goes on at the top of a new page.
    pub fn next_page(&mut self) {
        self.pages.push(Vec::new());
        self.y = TOP;
    }

    /// Writes wrapped text and moves below it, to a new page where this one
    /// ends. Sizes in points.
    pub fn write(&mut self, indent: f32, size: f32, advance: f32, bold: bool, text: &str) {
        let face = if bold { &self.fonts.bold } else { &self.fonts.regular };
        for text in face.wrap(text, size, WIDTH - 2.0 * MARGIN - indent) {
            if self.y > BODY_BOTTOM {
                self.next_page();
            }
            let line = Line { x: MARGIN + indent, y: self.y, size, bold, text };
            if let Some(page) = self.pages.last_mut() {
                page.push(line);
            }
            self.y += advance;
        }
    }

    /// A heading, with room above it.
    pub fn heading(&mut self, size: f32, advance: f32, text: &str) {
        self.y += if self.y > TOP { 7.0 } else { 0.0 };
        self.write(0.0, size, advance, true, text);
    }

    /// A paragraph of running text.
    pub fn paragraph(&mut self, text: &str) {
        self.write(0.0, SIZE, LEADING, false, text);
    }

    /// A name and its value, beside each other.
    pub fn fact(&mut self, name: &str, value: &str) {
        let y = self.y;
        self.write(0.0, SIZE, 0.0, true, name);
        // A name that went to a new page takes its value along.
        self.y = if self.y < y { self.y } else { y };
        self.write(INDENT, SIZE, LEADING, false, value);
    }
}

/// One page being drawn.
pub struct Canvas<'d, 'f> {
    page: Page<'d>,
    fonts: &'f Fonts,
    /// Which page, and of how many.
    place: (usize, usize),
    footer: &'f str,
}

impl<'d, 'f> Canvas<'d, 'f> {
    /// Starts a page.
    ///
    /// # Errors
    /// [`ReportError::Geometry`] never, for the sizes of this module.
    pub fn new(
        document: &'d mut Document,
        fonts: &'f Fonts,
        place: (usize, usize),
        footer: &'f str,
    ) -> Result<Self, ReportError> {
        let settings = PageSettings::from_wh(WIDTH, HEIGHT).ok_or(ReportError::Geometry)?;
        Ok(Self { page: document.start_page_with(settings), fonts, place, footer })
    }

    /// A page of text.
    pub fn text(self, lines: &[Line]) {
        self.drawn(|surface, fonts| {
            for line in lines {
                let face = if line.bold { &fonts.bold } else { &fonts.regular };
                face.draw(surface, Point::from_xy(line.x, line.y), &line.text, line.size);
            }
        });
    }

    /// A page of a table.
    pub fn table(self, table: &dyn Table, slices: &[Slice]) {
        self.drawn(|surface, fonts| draw(surface, fonts, table, slices));
    }

    /// A page with a picture.
    pub fn picture(self, picture: &Picture) {
        self.drawn(|surface, fonts| picture::draw(surface, fonts, picture));
    }

    /// The page, with what it is and which at its foot.
    fn drawn(mut self, body: impl FnOnce(&mut Surface<'_>, &Fonts)) {
        let mut surface = self.page.surface();
        body(&mut surface, self.fonts);
        let face = &self.fonts.regular;
        let y = HEIGHT - 22.0;
        if let Some(line) = face.wrap(self.footer, FOOTER, 680.0).first() {
            face.draw(&mut surface, Point::from_xy(MARGIN, y), line, FOOTER);
        }
        let (number, pages) = self.place;
        let number = format!("Page {number} of {pages}");
        face.draw(&mut surface, Point::from_xy(WIDTH - MARGIN - 62.0, y), &number, FOOTER);
        surface.finish();
    }
}

/// A rectangle filled with a grey, 0 for black.
pub fn fill(surface: &mut Surface<'_>, area: Rect, grey: u8) {
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
