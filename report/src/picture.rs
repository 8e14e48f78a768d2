//! Pictures: boxes, arrows and short texts on a page.

use krilla::color::rgb;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::paint::Stroke;
use krilla::surface::Surface;

use crate::page::{MARGIN, WIDTH, fill};
use crate::text::Fonts;

/// Where pictures may be drawn: left, top, width and height in points.
pub const AREA: (f32, f32, f32, f32) = (MARGIN, 64.0, WIDTH - 2.0 * MARGIN, 476.0);

/// Half the width and the length of an arrow's head, in points.
const HEAD: (f32, f32) = (2.2, 5.0);

/// Something drawn on a page, in points from the top left. Later ones cover
/// earlier ones.
pub enum Shape {
    /// A rectangle with a black rim.
    Area {
        /// Left, top, width, height.
        at: (f32, f32, f32, f32),
        /// What it is filled with, 0 for black.
        grey: u8,
    },
    /// A straight arrow.
    Arrow {
        /// Where it begins.
        from: (f32, f32),
        /// Where its head is.
        to: (f32, f32),
    },
    /// One line of text, cut where its room ends.
    Label {
        /// Left end of its baseline.
        at: (f32, f32),
        /// Its room.
        width: f32,
        /// Size of its letters.
        size: f32,
        /// Whether it stands out.
        bold: bool,
        /// The text.
        text: String,
    },
}

/// A picture that has a page to itself.
pub struct Picture {
    /// Stands above it.
    pub title: String,
    /// What it shows, within [`AREA`].
    pub shapes: Vec<Shape>,
}

/// Draws the picture.
pub fn draw(surface: &mut Surface<'_>, fonts: &Fonts, picture: &Picture) {
    fonts.bold.draw(surface, Point::from_xy(MARGIN, 46.0), &picture.title, 12.0);
    for shape in &picture.shapes {
        match shape {
            Shape::Area { at: (x, y, width, height), grey } => {
                let Some(area) = Rect::from_xywh(*x, *y, *width, *height) else { continue };
                fill(surface, area, *grey);
                rim(surface, area);
            }
            Shape::Arrow { from, to } => arrow(surface, *from, *to),
            Shape::Label { at: (x, y), width, size, bold, text } => {
                let face = if *bold { &fonts.bold } else { &fonts.regular };
                let lines = face.wrap(text, *size, *width);
                if let Some(line) = lines.first() {
                    face.draw(surface, Point::from_xy(*x, *y), line, *size);
                }
            }
        }
    }
}

fn rim(surface: &mut Surface<'_>, area: Rect) {
    let mut path = PathBuilder::new();
    path.push_rect(area);
    stroked(surface, path);
}

fn arrow(surface: &mut Surface<'_>, from: (f32, f32), to: (f32, f32)) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    if length < HEAD.1 {
        return;
    }
    let (dx, dy) = (dx / length, dy / length);
    let neck = (to.0 - dx * HEAD.1, to.1 - dy * HEAD.1);
    let mut line = PathBuilder::new();
    line.move_to(from.0, from.1);
    line.line_to(neck.0, neck.1);
    stroked(surface, line);
    let mut head = PathBuilder::new();
    head.move_to(to.0, to.1);
    head.line_to(neck.0 - dy * HEAD.0, neck.1 + dx * HEAD.0);
    head.line_to(neck.0 + dy * HEAD.0, neck.1 - dx * HEAD.0);
    head.close();
    stroked(surface, head);
}

fn stroked(surface: &mut Surface<'_>, path: PathBuilder) {
    let Some(path) = path.finish() else { return };
    let before = surface.get_fill().cloned();
    surface.set_fill(None);
    surface.set_stroke(Some(Stroke {
        paint: rgb::Color::new(90, 90, 90).into(),
        width: 0.6,
        ..Stroke::default()
    }));
    surface.draw_path(&path);
    surface.set_stroke(None);
    surface.set_fill(before);
}
