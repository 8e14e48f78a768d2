//! What is printed. Much of it is taken from files that somebody else may have
//! doctored, and a terminal obeys what it is sent.

use std::fmt::Write as _;
use std::io::Write;

/// The only way to standard output.
pub(crate) struct Output<W>(pub(crate) W);

impl<W: Write> Output<W> {
    /// A line, with what a terminal would obey made visible. That standard
    /// output is closed there is nowhere to tell.
    pub(crate) fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "{}", visible(text));
    }

    /// A line for each item below a title, if there is one.
    pub(crate) fn list(&mut self, title: &str, items: &[String]) {
        if !items.is_empty() {
            self.line(&format!("{title}:"));
            for item in items {
                self.line(&format!("- {item}"));
            }
        }
    }
}

/// The text with JSON's escapes in place of what moves the cursor, changes the
/// direction of writing or is not seen.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if obeyed(character) {
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// C0 and C1 controls, and the formatting characters of Unicode (UAX 9 and 14)
/// that reorder, join, break or hide what stands around them.
fn obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        let mut output = Output(Vec::new());
        output.line("a\u{1b}[2J\r\nVERIFIED\u{9b}1m \u{7f}\u{202e}\u{2066}\u{2029}z");
        output.line("größer 東京 \\n");
        output.list("Title\n", &["x\ty".into()]);
        let printed = String::from_utf8(output.0).unwrap();
        let lines: Vec<&str> = printed.split('\n').collect();
        assert_eq!(
            lines,
            [
                r"a\u001b[2J\u000d\u000aVERIFIED\u009b1m \u007f\u202e\u2066\u2029z",
                r"größer 東京 \n",
                r"Title\u000a:",
                r"- x\u0009y",
                "",
            ]
        );
    }
}
