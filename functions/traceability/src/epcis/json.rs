//! JSON whose numbers stay as they were written: 0.1 is one tenth, and a
//! sensor's 26.0 comes out as 26.0. `serde_json` would make binary floating
//! point of them.

use std::collections::HashSet;

use keystone::Problem;

/// How deep arrays and objects may be nested.
const DEPTH: usize = 64;

/// A JSON value (RFC 8259).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A string, unescaped.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object, its members in the order in which they were written, each
    /// once.
    Object(Vec<(String, Self)>),
}

impl Json {
    /// Reads a JSON text.
    ///
    /// # Errors
    /// 400 when it is not JSON, has a member twice, or is nested too deeply.
    pub fn read(text: &str) -> Result<Self, Problem> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blanks();
        if reader.at == text.len() { Ok(value) } else { Err(reader.wrong("is not valid JSON")) }
    }

    /// The member `name` of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The members of an object; none of what is not one.
    pub fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Writes the value without blanks, members and numbers as they came.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number),
            Self::Text(text) => write_text(text, out),
            Self::Array(items) => write_items(items, out),
            Self::Object(members) => write_members(members.iter(), out),
        }
    }
}

/// Writes an array of these items.
pub fn write_items(items: &[Json], out: &mut String) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        item.write(out);
    }
    out.push(']');
}

/// Writes an object of these members.
pub fn write_members<'j>(members: impl Iterator<Item = &'j (String, Json)>, out: &mut String) {
    out.push('{');
    for (index, (name, member)) in members.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(name, out);
        out.push(':');
        member.write(out);
    }
    out.push('}');
}

/// Writes a JSON string.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let code = u32::from(c);
                out.push_str("\\u00");
                out.push(char::from_digit(code / 16, 16).unwrap_or('0'));
                out.push(char::from_digit(code % 16, 16).unwrap_or('0'));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> Problem {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Problem::Malformed(format!("The body {what} (line {line}, column {column})."))
    }

    fn invalid(&self) -> Problem {
        self.wrong("is not valid JSON")
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Json, Problem> {
        if depth > DEPTH {
            return Err(self.wrong("is nested too deeply"));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            _ => Err(self.invalid()),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, Problem> {
        if self.text.as_bytes().get(self.at..self.at + word.len()) != Some(word.as_bytes()) {
            return Err(self.invalid());
        }
        self.at += word.len();
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Json, Problem> {
        self.at += 1;
        let mut members = Vec::new();
        let mut names = HashSet::new();
        self.blanks();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.blanks();
            let name = self.string()?;
            if !names.insert(name.clone()) {
                return Err(self.wrong("gives a member twice"));
            }
            self.blanks();
            if !self.take(b':') {
                return Err(self.invalid());
            }
            members.push((name, self.value(depth + 1)?));
            self.blanks();
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.take(b',') {
                return Err(self.invalid());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, Problem> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            if !self.take(b',') {
                return Err(self.invalid());
            }
        }
    }

    /// The string that begins here; its escapes are left to `serde_json`.
    fn string(&mut self) -> Result<String, Problem> {
        let start = self.at;
        if !self.take(b'"') {
            return Err(self.invalid());
        }
        let mut plain = true;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    plain = false;
                    self.at += 2;
                }
                Some(byte) if byte >= b' ' => self.at += 1,
                _ => return Err(self.invalid()),
            }
        }
        self.at += 1;
        let token = self.text.get(start..self.at).ok_or_else(|| self.invalid())?;
        if plain {
            return Ok(token[1..token.len() - 1].to_owned());
        }
        serde_json::from_str(token).map_err(|_| self.invalid())
    }

    fn number(&mut self) -> Result<Json, Problem> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') && self.digits() == 0 {
            return Err(self.invalid());
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(self.invalid());
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.take(b'-') {
                self.take(b'+');
            }
            if self.digits() == 0 {
                return Err(self.invalid());
            }
        }
        Ok(Json::Number(self.text[start..self.at].to_owned()))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(text: &str) -> String {
        let mut out = String::new();
        Json::read(text).unwrap().write(&mut out);
        out
    }

    #[test]
    fn numbers_stay_as_they_were_written() {
        let text = r#"{"a":[0.1,26.0,-0,1e400,12345678901234567890.123456789,1E+2],"b":"é\u0001"}"#;
        assert_eq!(again(text), text);
        assert_eq!(again(" { \"a\" : [ ] , \"b\" : { } } "), r#"{"a":[],"b":{}}"#);
    }

    #[test]
    fn what_is_not_json_is_refused_and_says_where() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "+1",
            "NaN",
            "-",
            "1e",
            "nul",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\u{1}\"",
            "1 2",
            "{\"a\" 1}",
            "{a:1}",
            "\u{feff}1",
        ] {
            assert!(matches!(Json::read(text), Err(Problem::Malformed(_))), "{text:?}");
        }
        assert_eq!(
            Json::read("{\n \"a\":1,\n \"a\":2}"),
            Err(Problem::Malformed("The body gives a member twice (line 3, column 5).".into()))
        );
        let deep = "[".repeat(100_000);
        assert!(matches!(Json::read(&deep), Err(Problem::Malformed(_))));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn reading_and_writing_agrees_with_serde_json(value in any_json()) {
            let read = again(&value.to_string());
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&read).unwrap(), value);
        }

        #[test]
        fn what_serde_json_refuses_is_refused(text in "[\\[\\]{}:,\"\\\\0-9.eE+a-z -]{0,24}") {
            if serde_json::from_str::<serde_json::Value>(&text).is_err() {
                // But for numbers that it cannot hold, and members given twice.
                if let Ok(read) = Json::read(&text) {
                    prop_assert!(format!("{read:?}").contains("Number"), "{}", text);
                }
            }
        }
    }
}
