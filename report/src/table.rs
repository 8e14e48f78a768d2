//! Tables over many pages: where every row goes, then drawing it.

use krilla::geom::{Point, Rect};
use krilla::surface::Surface;

use crate::page::{BODY_BOTTOM, MARGIN, WIDTH, fill};
use crate::text::Fonts;

/// Table text, in points.
const SIZE: f32 = 7.0;
const LEADING: f32 = 9.0;
const PADDING: f32 = 3.0;
/// Where the table's body begins.
const BODY_TOP: f32 = 76.0;

/// A column: heading, and width in points. All of a table have 770 to share.
pub struct Column {
    /// Stands above it on every page.
    pub heading: &'static str,
    /// Its width.
    pub width: f32,
}

/// What a table shows.
pub trait Table {
    /// Stands above it on every page.
    fn title(&self) -> &str;

    /// Its columns, from the left.
    fn columns(&self) -> &[Column];

    /// How many rows there are.
    fn rows(&self) -> usize;

    /// Calls `cell` with the column and text of every paragraph of a row.
    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str));
}

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
pub fn paginate(table: &dyn Table, fonts: &Fonts) -> Vec<Vec<Slice>> {
    let mut pages: Vec<Vec<Slice>> = Vec::new();
    let mut room = 0;
    for row in 0..table.rows() {
        let lines = cells(table, row, fonts).iter().map(Vec::len).max().unwrap_or(1).max(1);
        let mut done = 0;
        while done < lines {
            let left = lines - done;
            if room == 0 || (left > room && lines <= capacity()) {
                pages.push(Vec::new());
                room = capacity();
            }
            let part = left.min(room);
            if let Some(page) = pages.last_mut() {
                page.push(Slice { row, from: done, lines: part });
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

fn cells(table: &dyn Table, row: usize, fonts: &Fonts) -> Vec<Vec<String>> {
    let columns = table.columns();
    let mut cells = vec![Vec::new(); columns.len()];
    table.row(row, &mut |column, text| {
        if let (Some(cell), Some(Column { width, .. })) =
            (cells.get_mut(column), columns.get(column))
        {
            cell.extend(fonts.regular.wrap(text, SIZE, width - 2.0 * PADDING));
        }
    });
    cells
}

/// Draws a page of the table.
pub fn draw(surface: &mut Surface<'_>, fonts: &Fonts, table: &dyn Table, slices: &[Slice]) {
    fonts.bold.draw(surface, Point::from_xy(MARGIN, BODY_TOP - 34.0), table.title(), 10.0);
    bar(surface, BODY_TOP - 26.0, 16.0, 214);
    let mut x = MARGIN;
    for Column { heading, width } in table.columns() {
        let at = Point::from_xy(x + PADDING, BODY_TOP - 15.0);
        fonts.bold.draw(surface, at, heading, SIZE + 0.5);
        x += width;
    }
    let mut y = BODY_TOP;
    for slice in slices {
        #[expect(clippy::cast_precision_loss, reason = "at most 58 lines")]
        let height = slice.lines as f32 * LEADING;
        if slice.row % 2 == 1 {
            bar(surface, y - LEADING + 1.0, height + 4.0, 245);
        }
        let mut x = MARGIN;
        for (cell, column) in cells(table, slice.row, fonts).iter().zip(table.columns()) {
            let mut line_y = y;
            for line in cell.iter().skip(slice.from).take(slice.lines) {
                fonts.regular.draw(surface, Point::from_xy(x + PADDING, line_y), line, SIZE);
                line_y += LEADING;
            }
            x += column.width;
        }
        y += height + LEADING;
    }
}

/// A grey bar across the table.
fn bar(surface: &mut Surface<'_>, y: f32, height: f32, grey: u8) {
    if let Some(area) = Rect::from_xywh(MARGIN, y, WIDTH - 2.0 * MARGIN, height) {
        fill(surface, area, grey);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of so many words.
    struct Words(Vec<usize>);

    impl Table for Words {
        fn title(&self) -> &'static str {
            "Words"
        }

        fn columns(&self) -> &[Column] {
            &[Column { heading: "No.", width: 36.0 }, Column { heading: "Words", width: 294.0 }]
        }

        fn rows(&self) -> usize {
            self.0.len()
        }

        fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
            cell(0, &index.to_string());
            cell(1, &"word ".repeat(self.0[index]));
            cell(2, "a column that is not there");
        }
    }

    #[test]
    fn every_line_of_every_row_is_on_some_page() {
        let fonts = Fonts::load().unwrap();
        let table = Words((0..200).map(|row| row * 9).collect());
        let wanted: usize = (0..table.rows())
            .map(|row| cells(&table, row, &fonts).iter().map(Vec::len).max().unwrap())
            .sum();
        let pages = paginate(&table, &fonts);
        let placed: usize = pages.iter().flatten().map(|slice| slice.lines).sum();
        assert_eq!(placed, wanted);
        for page in &pages {
            let lines: usize = page.iter().map(|slice| slice.lines + 1).sum();
            assert!(lines <= capacity() + 1, "{lines} lines on a page");
        }
    }
}
