//! Reading the lines of a bundle in one pass, without building a document.
//!
//! Every line is RFC 8785 (JCS) JSON, so its members stand in a known order and
//! each value has one spelling. What is read here is what was hashed, byte for
//! byte; a line that says the same in another spelling is refused, since two
//! readers might see different things in it. [`entry`] accepts the bytes that
//! [`CommittedEntry::from_canonical`](crate::entry::CommittedEntry::from_canonical)
//! does (a property test holds them together), several times as fast.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use crate::entry::{MAX_ENTRY_BYTES, MAX_SEQ, commitment_of};
use crate::merkle::{Hash, Subtree, leaf_hash};

/// Values nest no deeper than this.
const MAX_DEPTH: usize = 100;

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line<'l> {
    /// An entry.
    Entry(EntryLine<'l>),
    /// A part of the tree that holds no shown entry.
    Subtree(Subtree, Hash),
    /// The end, with the number of entry lines.
    End(u64),
}

/// An entry whose openings were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryLine<'l> {
    pub(crate) entry: Entry<'l>,
    /// The leaf written beside the entry.
    pub(crate) stated_leaf: Hash,
    /// Its personal values that are shown.
    pub(crate) opened: u64,
}

/// An entry in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'l> {
    pub(crate) canonical: &'l str,
    pub(crate) leaf: Hash,
    pub(crate) seq: u64,
    pub(crate) at: &'l str,
    /// As JSON, with its quotes.
    pub(crate) tenant: &'l str,
    /// Its personal values.
    pub(crate) commitments: u64,
}

/// Where a line is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Not the JSON that belongs there.
    #[error("at byte {at}: expected {expected}")]
    Expected {
        /// Offset in the line.
        at: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// A personal value does not give its commitment.
    #[error("{0}: the personal value is not what the entry committed to")]
    Opening(String),
    /// A personal value without commitment.
    #[error("{0}: the entry commits to no personal value there")]
    Stray(String),
}

/// Reads a line, without its newline.
pub(crate) fn line<'l>(text: &'l str, scratch: &mut Scratch) -> Result<Line<'l>, ScanError> {
    let mut cursor = Cursor { text, at: 0 };
    let line = if cursor.take("{\"entry\":") {
        Line::Entry(cursor.entry_line(scratch)?)
    } else if cursor.take("{\"subtree\":{\"hash\":") {
        let hash = cursor.hash()?;
        cursor.literal(",\"height\":", "height")?;
        let height = cursor.integer()?;
        let height = u32::try_from(height).map_err(|_| cursor.expected("a height"))?;
        cursor.literal(",\"last\":", "last")?;
        let last = cursor.integer()?;
        cursor.literal("}}", "the end of the line")?;
        Line::Subtree(Subtree { last, height }, hash)
    } else if cursor.take("{\"end\":{\"entries\":") {
        let entries = cursor.integer()?;
        cursor.literal("}}", "the end of the line")?;
        Line::End(entries)
    } else {
        return Err(cursor.expected("an entry, subtree or end line"));
    };
    if cursor.at == text.len() { Ok(line) } else { Err(cursor.expected("the end of the line")) }
}

/// Reads an entry alone, in canonical form.
#[cfg(test)]
pub(crate) fn entry<'l>(text: &'l str, scratch: &mut Scratch) -> Result<Entry<'l>, ScanError> {
    let mut cursor = Cursor { text, at: 0 };
    let entry = cursor.entry(scratch)?;
    if cursor.at == text.len() { Ok(entry) } else { Err(cursor.expected("the end")) }
}

/// Memory that is used again for each line.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    commitments: Vec<(Place, Hash)>,
}

/// Where an entry holds a commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    SourceIp,
    UserAgent,
    Before(usize),
    Value(usize),
}

impl Place {
    /// The place that a JSON pointer names, if it is in its one spelling.
    fn of(pointer: &str) -> Option<Self> {
        match pointer {
            "/source_ip" => return Some(Self::SourceIp),
            "/user_agent" => return Some(Self::UserAgent),
            _ => {}
        }
        let (index, member) = pointer.strip_prefix("/delta/")?.split_once('/')?;
        let index = usize::try_from(crate::checkpoint::decimal(index)?).ok()?;
        match member {
            "before" => Some(Self::Before(index)),
            "value" => Some(Self::Value(index)),
            _ => None,
        }
    }
}

struct Cursor<'l> {
    text: &'l str,
    at: usize,
}

impl<'l> Cursor<'l> {
    fn expected(&self, expected: &'static str) -> ScanError {
        ScanError::Expected { at: self.at, expected }
    }

    fn rest(&self) -> &'l [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// What was read since `start`. Both ends are beside ASCII characters.
    fn since(&self, start: usize) -> &'l str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn take(&mut self, literal: &str) -> bool {
        let found = self.rest().starts_with(literal.as_bytes());
        if found {
            self.at += literal.len();
        }
        found
    }

    fn literal(&mut self, literal: &str, expected: &'static str) -> Result<(), ScanError> {
        if self.take(literal) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn one_of(&mut self, words: &[&str], expected: &'static str) -> Result<(), ScanError> {
        let found = words.iter().any(|word| self.take(word));
        if found { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn entry_line(&mut self, scratch: &mut Scratch) -> Result<EntryLine<'l>, ScanError> {
        let entry = self.entry(scratch)?;
        self.literal(",\"leaf\":", "leaf")?;
        let stated_leaf = self.hash()?;
        self.literal(",\"personal\":{", "personal")?;
        let mut opened = 0;
        let mut before = None;
        while !self.take("}") {
            if before.is_some() {
                self.literal(",", "a comma")?;
            }
            let name_at = self.at;
            let name = self.string()?;
            if before.is_some_and(|before| before >= name) {
                self.at = name_at;
                return Err(self.expected("a later name"));
            }
            before = Some(name);
            self.opening(name.trim_matches('"'), scratch)?;
            opened += 1;
        }
        self.literal("}", "the end of the line")?;
        Ok(EntryLine { entry, stated_leaf, opened })
    }

    /// The opening of the commitment at `pointer`, checked.
    fn opening(&mut self, pointer: &str, scratch: &Scratch) -> Result<(), ScanError> {
        self.literal(":{\"salt\":\"", "salt")?;
        let salt: Option<[u8; 32]> = self
            .rest()
            .get(..44)
            .and_then(|salt| STANDARD.decode(salt).ok())
            .and_then(|salt| salt.try_into().ok());
        let salt = salt.ok_or_else(|| self.expected("a salt of 32 bytes in base64"))?;
        self.at += 44;
        self.literal("\",\"value\":", "value")?;
        let value = self.value(0)?;
        self.literal("}", "the end of a personal value")?;
        let found = Place::of(pointer)
            .and_then(|place| scratch.commitments.iter().find(|(at, _)| *at == place));
        match found {
            Some((_, commitment)) if *commitment == commitment_of(&salt, value.as_bytes()) => {
                Ok(())
            }
            Some(_) => Err(ScanError::Opening(pointer.to_owned())),
            None => Err(ScanError::Stray(pointer.to_owned())),
        }
    }

    fn entry(&mut self, scratch: &mut Scratch) -> Result<Entry<'l>, ScanError> {
        let start = self.at;
        scratch.commitments.clear();
        self.literal("{\"action\":", "an entry that begins with action")?;
        self.string()?;
        self.literal(",\"actor\":{\"id\":", "actor with id")?;
        self.string()?;
        self.literal(",\"kind\":", "kind")?;
        self.one_of(
            &["\"user\"", "\"job\"", "\"operator\"", "\"anonymous\""],
            "user, job, operator or anonymous",
        )?;
        if self.take(",\"role\":") {
            self.string()?;
        }
        if self.take(",\"session\":") {
            self.string()?;
        }
        self.literal("},\"at\":", "at")?;
        let at = self.time()?;
        self.literal(",\"delta\":[", "delta")?;
        let mut changes = 0;
        while !self.take("]") {
            if changes > 0 {
                self.literal(",", "a comma")?;
            }
            self.change(changes, scratch)?;
            changes += 1;
        }
        self.literal(",\"id\":", "id")?;
        self.uuid()?;
        self.literal(",\"outcome\":", "outcome")?;
        self.one_of(&["\"success\"", "\"denied\"", "\"failed\""], "success, denied or failed")?;
        self.literal(",\"request_id\":", "request_id")?;
        self.string()?;
        self.literal(",\"resource\":{\"id\":", "resource with id")?;
        self.string()?;
        self.literal(",\"type\":", "type")?;
        self.string()?;
        self.literal("},\"seq\":", "seq")?;
        let seq = self.integer()?;
        if self.take(",\"source_ip\":") {
            let commitment = self.commitment()?;
            scratch.commitments.push((Place::SourceIp, commitment));
        }
        self.literal(",\"tenant_id\":", "tenant_id")?;
        let tenant = self.string()?;
        if self.take(",\"user_agent\":") {
            let commitment = self.commitment()?;
            scratch.commitments.push((Place::UserAgent, commitment));
        }
        self.literal("}", "the end of the entry")?;
        let canonical = self.since(start);
        if seq > MAX_SEQ || canonical.len() > MAX_ENTRY_BYTES {
            self.at = start;
            return Err(self.expected("an entry of at most 65,535 bytes"));
        }
        Ok(Entry {
            canonical,
            leaf: leaf_hash(canonical.as_bytes()),
            seq,
            at,
            tenant,
            commitments: scratch.commitments.len() as u64,
        })
    }

    fn change(&mut self, index: usize, scratch: &mut Scratch) -> Result<(), ScanError> {
        self.literal("{", "an operation")?;
        let before = if self.take("\"before\":") {
            let before = Some((self.at, self.value(0)?));
            self.literal(",", "a comma")?;
            before
        } else {
            None
        };
        self.literal("\"op\":", "op")?;
        self.one_of(&["\"add\"", "\"remove\"", "\"replace\""], "add, remove or replace")?;
        self.literal(",\"path\":", "path")?;
        self.string()?;
        self.literal(",\"personal\":", "personal")?;
        let personal = self.take("true");
        if !personal {
            self.literal("false", "true or false")?;
        }
        let value = if self.take(",\"value\":") { Some((self.at, self.value(0)?)) } else { None };
        self.literal("}", "the end of the operation")?;
        if personal {
            let places = [(Place::Before(index), before), (Place::Value(index), value)];
            for (place, found) in places {
                let Some((at, text)) = found else { continue };
                let mut inner = Cursor { text, at: 0 };
                let Ok(hash) = inner.commitment() else {
                    self.at = at;
                    return Err(self.expected("a commitment, since the value is personal"));
                };
                scratch.commitments.push((place, hash));
            }
        }
        Ok(())
    }

    fn commitment(&mut self) -> Result<Hash, ScanError> {
        self.literal("{\"commitment\":", "a commitment")?;
        let hash = self.hash()?;
        self.literal("}", "the end of a commitment")?;
        Ok(hash)
    }

    /// A hash in its quotes.
    fn hash(&mut self) -> Result<Hash, ScanError> {
        self.literal("\"", "a hash")?;
        let mut hash = [0; 32];
        let digits = self.rest().get(..64).ok_or_else(|| self.expected("a hash"))?;
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(self.expected("a hash of 64 lower-case hex digits"));
            };
            *byte = high << 4 | low;
        }
        self.at += 64;
        self.literal("\"", "a hash of 64 lower-case hex digits")?;
        Ok(Hash(hash))
    }

    /// A time as `2026-01-02T03:04:05.678Z`, without its quotes.
    fn time(&mut self) -> Result<&'l str, ScanError> {
        const FORM: &[u8; 26] = b"\"dddd-dd-ddTdd:dd:dd.dddZ\"";
        let expected = "a time such as 2026-01-02T03:04:05.678Z";
        let found = self.text.get(self.at..self.at + FORM.len());
        let found = found.ok_or_else(|| self.expected(expected))?;
        let fits = found.bytes().zip(FORM).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            _ => byte == *form,
        });
        let time = found.trim_matches('"');
        // A leap second would be read as another second than it is written.
        if !fits || time.get(17..19) == Some("60") || time.parse::<Timestamp>().is_err() {
            return Err(self.expected(expected));
        }
        self.at += FORM.len();
        Ok(time)
    }

    /// A UUID in its quotes (RFC 9562 §4).
    fn uuid(&mut self) -> Result<(), ScanError> {
        let found = self.rest().get(..38).ok_or_else(|| self.expected("a UUID"))?;
        let fits = found.iter().enumerate().all(|(at, byte)| match at {
            0 | 37 => *byte == b'"',
            9 | 14 | 19 | 24 => *byte == b'-',
            _ => digit(*byte).is_some(),
        });
        if !fits {
            return Err(self.expected("a UUID in lower case"));
        }
        self.at += 38;
        Ok(())
    }

    /// A whole number that JSON carries safely.
    fn integer(&mut self) -> Result<u64, ScanError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        crate::checkpoint::decimal(self.since(start)).ok_or_else(|| {
            self.at = start;
            self.expected("a whole number")
        })
    }

    /// Any value in its canonical form.
    fn value(&mut self, depth: usize) -> Result<&'l str, ScanError> {
        let start = self.at;
        if depth == MAX_DEPTH {
            return Err(self.expected("a value nested less deep"));
        }
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{') => self.object(depth)?,
            Some(b'[') => {
                self.at += 1;
                let mut first = true;
                while !self.take("]") {
                    if !first {
                        self.literal(",", "a comma")?;
                    }
                    first = false;
                    self.value(depth + 1)?;
                }
            }
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.one_of(&["true", "false", "null"], "a value")?,
        }
        Ok(self.since(start))
    }

    fn object(&mut self, depth: usize) -> Result<(), ScanError> {
        self.at += 1;
        let mut before = None;
        while !self.take("}") {
            if before.is_some() {
                self.literal(",", "a comma")?;
            }
            let name_at = self.at;
            let name = self.string()?;
            if before.is_some_and(|before| !precedes(before, name)) {
                self.at = name_at;
                return Err(self.expected("a member name in order"));
            }
            before = Some(name);
            self.literal(":", "a colon")?;
            self.value(depth + 1)?;
        }
        Ok(())
    }

    /// A string in the spelling of RFC 8785 §3.2.2.2, with its quotes.
    fn string(&mut self) -> Result<&'l str, ScanError> {
        let start = self.at;
        self.literal("\"", "a string")?;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(self.since(start));
                }
                Some(b'\\') => {
                    let escape = bytes.get(self.at + 1..).unwrap_or_default();
                    self.at += match escape {
                        [b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => 2,
                        [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => 6,
                        [b'u', b'0', b'0', b'1', low, ..] if digit(*low).is_some() => 6,
                        _ => return Err(self.expected("the canonical spelling of a string")),
                    };
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(self.expected("the rest of a string")),
            }
        }
    }

    fn number(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        let part = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
        while self.peek().is_some_and(part) {
            self.at += 1;
        }
        let text = self.since(start);
        let digits = text.strip_prefix('-').unwrap_or(text);
        // Whole numbers of 15 digits have one spelling; others are spelled anew.
        let plain = digits.len() <= 15
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (!digits.starts_with('0') || text == "0");
        let canonical = || {
            let number: serde_json::Value = serde_json::from_str(text).ok()?;
            serde_json_canonicalizer::to_string(&number).ok()
        };
        if plain || canonical().as_deref() == Some(text) {
            return Ok(());
        }
        self.at = start;
        Err(self.expected("the canonical spelling of a number"))
    }
}

/// Whether RFC 8785 §3.2.3 puts the member `a` before `b`, both in quotes: in
/// the order of UTF-16 code units.
fn precedes(a: &str, b: &str) -> bool {
    let plain = |name: &str| name.is_ascii() && !name.contains('\\');
    if plain(a) && plain(b) {
        return a.trim_matches('"') < b.trim_matches('"');
    }
    let name = |quoted| serde_json::from_str::<String>(quoted).unwrap_or_default();
    name(a).encode_utf16().lt(name(b).encode_utf16())
}

/// A lower-case hex digit.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::entry::CommittedEntry;
    use crate::entry::tests::{GOLDEN_CANONICAL, GOLDEN_LEAF};

    fn canonical_value(text: &str) -> bool {
        let mut cursor = Cursor { text, at: 0 };
        cursor.value(0).is_ok() && cursor.at == text.len()
    }

    #[test]
    fn golden_entry() {
        let mut scratch = Scratch::default();
        let found = entry(GOLDEN_CANONICAL, &mut scratch).unwrap();
        assert_eq!(found.leaf.to_string(), GOLDEN_LEAF);
        assert_eq!((found.seq, found.tenant, found.commitments), (7, "\"acme\"", 4));
        assert_eq!(found.at, "2026-01-02T03:04:05.678Z");
    }

    #[test]
    fn one_spelling_of_each_value() {
        for text in [
            "0",
            "-1",
            "1.5",
            "1e+21",
            "1e-7",
            "9007199254740991",
            "[]",
            "{}",
            "[1,[2]]",
            r#"{"a":1,"b":{"c":null}}"#,
            r#""\u0000\u001f\b\t\n\f\r\"\\/é€""#,
            "{\"\u{20ac}\":1,\"\u{1f600}\":2,\"\u{fb33}\":3}",
            r#"{"":1,"a":2,"a!":3}"#,
            r#"{"\r":1,"1":2}"#,
        ] {
            assert!(canonical_value(text), "{text}");
        }
        for text in [
            "",
            "01",
            "-0",
            "1.0",
            "1E5",
            "1e5",
            "+1",
            "10000000000000000000000",
            "[1,]",
            "[,1]",
            "[1 ,2]",
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,}"#,
            r"{a:1}",
            r#""\/""#,
            r#""\u0041""#,
            r#""\u000a""#,
            r#""\u001F""#,
            r#""\u0008""#,
            "\"\n\"",
            "\"",
            "tru",
            "nulll",
            "{\"\u{fb33}\":1,\"\u{1f600}\":2}",
            "NaN",
            r#"{"a!":1,"a":2}"#,
        ] {
            assert!(!canonical_value(text), "{text}");
        }
        let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(canonical_value(&deep(MAX_DEPTH)));
        assert!(!canonical_value(&deep(MAX_DEPTH + 1)));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| json!(n)),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_canonicalizer_writes_is_canonical(value in values()) {
            let text = serde_json_canonicalizer::to_string(&value).unwrap();
            prop_assert!(canonical_value(&text), "{}", text);
        }

        /// Whatever is accepted is its own canonical form.
        #[test]
        fn nothing_else_is(value in values(), at in any::<usize>(), to in any::<char>()) {
            let text = serde_json_canonicalizer::to_string(&value).unwrap();
            let changed = change_char(&text, at, to);
            if canonical_value(&changed) {
                let value: Value = serde_json::from_str(&changed).unwrap();
                prop_assert_eq!(serde_json_canonicalizer::to_string(&value).unwrap(), changed);
            }
        }

        /// The two readers of an entry agree on every text.
        #[test]
        fn the_readers_agree(at in any::<usize>(), to in prop_oneof![any::<char>(), "[0-9a-f\"{}:,.Z-]".prop_map(|s| s.chars().next().unwrap())]) {
            let changed = change_char(GOLDEN_CANONICAL, at, to);
            let scanned = entry(&changed, &mut Scratch::default());
            let read = CommittedEntry::from_canonical(changed.as_bytes());
            if let Ok(found) = &scanned {
                let read = read.unwrap();
                prop_assert_eq!(found.leaf, read.leaf_hash().unwrap());
                prop_assert_eq!(found.seq, read.seq);
            } else if let Ok(read) = read {
                // Only an entry whose personal values are none is refused here alone.
                prop_assert!(read.open(&crate::entry::Personal::new()).is_err());
            }
        }

        #[test]
        fn no_text_breaks_it(text in any::<String>()) {
            let _ = line(&text, &mut Scratch::default());
            let _ = canonical_value(&text);
        }
    }

    fn change_char(text: &str, at: usize, to: char) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        let at = at % chars.len();
        chars[at] = to;
        chars.into_iter().collect()
    }
}
