//! Fonts, measuring and wrapping.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use krilla::geom::Point;
use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph, TextDirection};
use ttf_parser::Face;

use crate::ReportError;

/// `DejaVu` Sans Condensed: Latin, Greek, Cyrillic and more, under a licence
/// that permits embedding (`assets/DejaVu-LICENSE.txt`).
const REGULAR: &[u8] = include_bytes!("../assets/DejaVuSansCondensed.ttf");
const BOLD: &[u8] = include_bytes!("../assets/DejaVuSansCondensed-Bold.ttf");

/// The faces of a report.
pub struct Fonts {
    /// For everything but headings.
    pub regular: Typeface,
    /// For headings.
    pub bold: Typeface,
}

impl Fonts {
    /// Loads the faces that are part of the program.
    ///
    /// # Errors
    /// [`ReportError::Font`] when they cannot be read.
    pub fn load() -> Result<Self, ReportError> {
        Ok(Self { regular: Typeface::new(REGULAR)?, bold: Typeface::new(BOLD)? })
    }
}

/// Glyph and advance in em of a character; `None` for one that is not drawn
/// as it is.
type Glyph = Option<(u32, f32)>;

/// Characters below this one are looked up in a table: nearly all text is made
/// of them, and every character is measured several times.
const COMMON: u32 = 0x600;

/// One face, with the glyphs of the common characters and those it was asked
/// for.
pub struct Typeface {
    font: Font,
    face: Face<'static>,
    units: f32,
    common: Vec<Glyph>,
    others: RefCell<HashMap<char, Glyph>>,
}

impl Typeface {
    fn new(data: &'static [u8]) -> Result<Self, ReportError> {
        let face = Face::parse(data, 0).map_err(|_| ReportError::Font)?;
        let font = Font::new(data.to_vec().into(), 0).ok_or(ReportError::Font)?;
        let units = f32::from(face.units_per_em());
        let mut typeface =
            Self { font, face, units, common: Vec::new(), others: RefCell::default() };
        let common = (0..COMMON).map(|c| typeface.find(char::from_u32(c)?)).collect();
        typeface.common = common;
        Ok(typeface)
    }

    fn find(&self, c: char) -> Glyph {
        let glyph = self.face.glyph_index(c).filter(|_| !is_hidden(c))?;
        let advance = self.face.glyph_hor_advance(glyph).unwrap_or(0);
        Some((u32::from(glyph.0), f32::from(advance) / self.units))
    }

    fn glyph(&self, c: char) -> Glyph {
        match self.common.get(c as usize) {
            Some(glyph) => *glyph,
            None => *self.others.borrow_mut().entry(c).or_insert_with(|| self.find(c)),
        }
    }

    /// The text with every character that has no glyph, or that would change
    /// how others look, as a visible escape: a cell is evidence, so nothing is
    /// dropped.
    fn visible<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if text.chars().all(|c| self.glyph(c).is_some()) {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if self.glyph(c).is_some() {
                out.push(c);
            } else {
                out.extend(c.escape_unicode());
            }
        }
        Cow::Owned(out)
    }

    fn width(&self, text: &str, size: f32) -> f32 {
        text.chars().filter_map(|c| self.glyph(c)).map(|(_, advance)| advance * size).sum()
    }

    /// `text` in lines of at most `width` points at `size`: broken at blanks,
    /// and within words that are longer than a line.
    pub fn wrap(&self, text: &str, size: f32, width: f32) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = String::new();
        let mut used = 0.0;
        for word in self.visible(text).split_inclusive(' ') {
            let wide = self.width(word.trim_end(), size);
            if used + wide > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                used = 0.0;
            }
            for c in word.chars() {
                let advance = self.glyph(c).map_or(0.0, |(_, advance)| advance * size);
                if used + advance > width && !line.is_empty() && c != ' ' {
                    lines.push(std::mem::take(&mut line));
                    used = 0.0;
                }
                line.push(c);
                used += advance;
            }
        }
        if !line.is_empty() || lines.is_empty() {
            lines.push(line);
        }
        lines
    }

    /// Draws a line of wrapped text with its baseline at `at`.
    pub fn draw(&self, surface: &mut Surface<'_>, at: Point, line: &str, size: f32) {
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        if line.chars().any(needs_shaping) {
            let font = self.font.clone();
            surface.draw_text(at, font, size, line, false, TextDirection::Auto);
            return;
        }
        // Drawing glyphs is two to three times as fast as shaping each line.
        let glyphs: Vec<KrillaGlyph> = line
            .char_indices()
            .filter_map(|(start, c)| {
                let (glyph, advance) = self.glyph(c)?;
                Some(KrillaGlyph::new(
                    GlyphId::new(glyph),
                    advance,
                    0.0,
                    0.0,
                    0.0,
                    start..start + c.len_utf8(),
                    None,
                ))
            })
            .collect();
        surface.draw_glyphs(at, &glyphs, self.font.clone(), line, size, false);
    }
}

/// Characters that show nothing, or that reorder their neighbours.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fff9}'..='\u{fffb}')
}

/// Combining marks and scripts whose letters join or run from right to left.
fn needs_shaping(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{590}'..='\u{1cff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_column_and_nothing_is_lost() {
        let face = Fonts::load().unwrap().regular;
        for text in ["one two three four five six", &"x".repeat(500), "a  b", ""] {
            let lines = face.wrap(text, 7.0, 40.0);
            assert_eq!(lines.concat(), text);
            assert!(lines.iter().all(|line| face.width(line.trim_end(), 7.0) <= 40.0), "{lines:?}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        let face = Fonts::load().unwrap().regular;
        assert_eq!(face.visible("a\u{202e}b\u{0}🧀"), "a\\u{202e}b\\u{0}\\u{1f9c0}");
        assert_eq!(face.visible("Grüße → Ω"), "Grüße → Ω");
    }
}
