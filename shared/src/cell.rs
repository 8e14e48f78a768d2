//! Cells of tables for spreadsheets.

use std::borrow::Cow;

/// The cell so that no spreadsheet takes it for a formula: one that begins
/// with `=`, `+`, `-`, `@`, a tab or a line break gets an apostrophe in front
/// (OWASP, CSV injection).
pub fn harmless(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_become_text() {
        for cell in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"] {
            assert_eq!(harmless(cell), format!("'{cell}"));
        }
        for cell in ["", "a=1", "[{\"op\":\"add\"}]", " =1", "1-1"] {
            assert_eq!(harmless(cell), cell);
        }
    }
}
